"""Golden values: outputs of the authors' networks, measured on weights and inputs that are formulas.

`tests/golden/golden.json` states the rule in its README and holds, for each network, figures of its output. What the
README leaves open was found by reproducing `latte_v1`, `mav` and `prior`: only trainable tensors are counted by the
index i of the rule (frozen tables are not filled, and counted in `prior` alone), and `std` is the sample standard
deviation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

FormulaInput = Callable[..., Tensor]
FormulaFill = Callable[..., None]
AssertGolden = Callable[[Tensor, dict[str, Any]], None]


@pytest.fixture(scope="session")
def golden(repository: Path) -> dict[str, Any]:
    """All golden entries by name."""
    return json.loads((repository / "tests" / "golden" / "golden.json").read_text())


@pytest.fixture(scope="session")
def formula_input() -> FormulaInput:
    """X(shape, a) = 1.5 sin(0.013 k + 0.0007 k^2 + a), k counting the elements in row-major order."""

    def build(shape: Sequence[int], a: float = 0.0) -> Tensor:
        k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        return (1.5 * torch.sin(0.013 * k + 0.0007 * k * k + a)).float().reshape(*shape)

    return build


@pytest.fixture(scope="session")
def formula_fill() -> FormulaFill:
    """Fill a module's trainable parameters by the rule, in the order of the authors' names.

    The filler takes the module, `authors_name`, which turns a parameter's name here into the authors', and `frozen`,
    the authors' names of tables that are counted without being filled.
    """

    def fill(module: nn.Module, authors_name: Callable[[str], str] = str, frozen: Sequence[str] = ()) -> None:
        named = {authors_name(name): p for name, p in module.named_parameters() if p.requires_grad}
        for index, name in enumerate(sorted([*named, *frozen])):
            if name not in frozen:
                named[name].data.copy_(_formula_weight(name, named[name].shape, index))

    return fill


def _formula_weight(name: str, shape: torch.Size, index: int) -> Tensor:
    k = torch.arange(shape.numel(), dtype=torch.float64)
    wave = torch.sin(0.7 * k + 0.003 * k * k + 0.31 * index).reshape(shape)
    if len(shape) > 1 and not name.endswith("gamma"):
        fan_in = shape[1:].numel()
        return wave * 1.2 / fan_in**0.5
    return 0.1 * wave if name.endswith("bias") else 1 + 0.1 * wave


@pytest.fixture(scope="session")
def assert_golden() -> AssertGolden:
    """Compare an output, in the authors' order of dimensions, with the figures of a golden entry, to 1e-4."""

    def check(output: Tensor, entry: dict[str, Any]) -> None:
        assert list(output.shape) == entry["shape"]
        flat, n = output.detach().flatten(), output.numel()
        probe = flat[[0, 1, n // 3, n // 2, 2 * n // 3, n - 1]]
        measured = [*probe, flat.mean(), flat.std(), flat.abs().max()]
        expected = [*entry["probe"], entry["mean"], entry["std"], entry["absmax"]]
        torch.testing.assert_close(torch.stack(measured), torch.tensor(expected), rtol=0, atol=1e-4)

    return check
