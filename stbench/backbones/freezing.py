"""Parts of a network that a training leaves as they are (`train.freeze`).

What is frozen needs no gradient, no moments of the optimizer and no average of its own; gradients pass through it to
what lies before, as far as anything there is trained.
"""

from __future__ import annotations

import re

from torch import nn

from stbench.errors import StbenchError


def freeze(backbone: nn.Module, pattern: str | None) -> nn.Module:
    """Freeze the parameters whose names a pattern matches.

    Args:
        backbone: changed in place.
        pattern: a regular expression that is looked for anywhere in the name of each parameter; None freezes nothing
            besides what the network freezes itself.

    Returns:
        The same backbone.

    Raises:
        StbenchError: the pattern is no regular expression, matches no name, or leaves nothing to train.
    """
    if pattern is None:
        return backbone
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise StbenchError(f"train.freeze={pattern}: no regular expression: {error}") from error
    matched = [parameter for name, parameter in backbone.named_parameters() if expression.search(name)]
    if not matched:
        parts = dict.fromkeys(name.partition(".")[0] for name, _ in backbone.named_parameters())
        raise StbenchError(f"train.freeze={pattern} matches no parameter: their names begin with {', '.join(parts)}")
    for parameter in matched:
        parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        raise StbenchError(f"train.freeze={pattern} freezes every parameter, so that nothing can be trained")
    return backbone
