"""Scaled dot-product attention behind one name: softmax(q k^T / sqrt(d)) v (arXiv 1706.03762, equation 1).

Every backbone attends through an `Attend` module, so that the computation can be switched in one place
(`set_attention_backend`) and every backend is tested against the plain formula (`math`), forward and backward.
"""

from __future__ import annotations

from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.runtime.attention.backends import AUTO, BACKENDS, BACKENDS_WITH_BIAS, check_backend_name
from stbench.runtime.attention.choice import AttentionChoices


class Attend(nn.Module):
    """Attention without parameters; its `backend` is one of `BACKENDS`, or `AUTO`, which asks the `choices`."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = "math"
        self.choices = AttentionChoices()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend from q to k and v.

        Args:
            q: (..., heads, N, E)
            k: (..., heads, M, E)
            v: (..., heads, M, E)
            bias: (heads, N, M), added to the scaled products (relative positions).

        Returns:
            (..., heads, N, E)

        Raises:
            StbenchError: for a bias under a backend that has none.
        """
        inputs = (q, k, v) if bias is None else (q, k, v, bias.to(q.dtype))
        backend = self.choices.fastest_backend(inputs) if self.backend == AUTO else self.backend
        if bias is not None and backend not in BACKENDS_WITH_BIAS:
            known = " or ".join(BACKENDS_WITH_BIAS)
            raise StbenchError(f"attention={backend} takes no position bias, which this backbone adds: try {known}")
        return BACKENDS[backend](*inputs)

    def extra_repr(self) -> str:
        """Name the backend in the printed module tree."""
        return f"backend={self.backend}"


def set_attention_backend(backbone: nn.Module, backend: str, choices: AttentionChoices | None = None) -> int:
    """Make every `Attend` inside `backbone` use one backend.

    Args:
        backbone: changed in place.
        backend: a name of `BACKENDS`, or `AUTO`.
        choices: what `AUTO` has chosen so far, and adds to: those of the run; by default new ones.

    Returns:
        How many there are: attention that a network computes without `Attend` takes no notice.

    Raises:
        StbenchError: for an unknown backend.
    """
    check_backend_name(backend)
    choices = AttentionChoices() if choices is None else choices
    reached = [module for module in backbone.modules() if isinstance(module, Attend)]
    for module in reached:
        module.backend, module.choices = backend, choices
    return len(reached)
