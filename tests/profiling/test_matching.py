"""The width for a wanted number of parameters, against a formula that can be solved by hand."""

from __future__ import annotations

import pytest

from stbench.errors import StbenchError
from stbench.profiling.matching import match_parameters


def parameters_of_heads_of_8(width: int) -> int:
    """Of two square matrices; a width that heads of 8 do not divide cannot be built."""
    if width % 8:
        raise StbenchError("not a multiple of 8")
    return 2 * width**2


@pytest.mark.parametrize("width", [8, 200, 208, 16384])
def test_the_width_of_a_network_is_found_again(width: int) -> None:
    assert match_parameters(2 * width**2, parameters_of_heads_of_8) == (width, 2 * width**2)


def test_the_nearest_width_on_either_side_is_taken() -> None:
    assert match_parameters(2 * 800**2 + 3000, parameters_of_heads_of_8)[0] == 800
    assert match_parameters(2 * 800**2 - 3000, parameters_of_heads_of_8)[0] == 800


def test_what_no_width_comes_near_is_refused_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match=r"within 1% of 384 parameters: 8 has 128, and 16 512$"):
        match_parameters(384, parameters_of_heads_of_8)


def test_a_network_that_cannot_be_built_at_all_says_why() -> None:
    def never(width: int) -> int:
        raise StbenchError("no such network")

    with pytest.raises(StbenchError, match="no such network"):
        match_parameters(10, never)
