"""The size, a width or a depth, at which a network has a wanted number of parameters."""

from __future__ import annotations

from collections.abc import Callable

from stbench.errors import StbenchError

TOLERANCE = 0.01  # of the wanted number
LARGEST = 2**14
TRIES = 128  # sizes in a row that may be impossible, such as those that heads do not divide


def match_parameters(wanted: int, parameters_at: Callable[[int], int]) -> tuple[int, int]:
    """Find the size whose number of parameters is nearest to the wanted one.

    Args:
        wanted: number of parameters.
        parameters_at: their number at a size, which rises with it; raises StbenchError where it cannot be built.

    Returns:
        The size, and its number of parameters.

    Raises:
        StbenchError: no size comes within `TOLERANCE`.
    """

    def possible_from(size: int) -> tuple[int, int]:
        """The first size from this one on that can be built, and its number of parameters."""
        for each in range(size, size + TRIES):
            try:
                return each, parameters_at(each)
            except StbenchError as error:
                reason = error
        raise reason

    below, above = possible_from(1), possible_from(LARGEST)
    low, high = 1, LARGEST  # all below `low` have fewer parameters than wanted, all from `high` on at least as many
    while low < high:
        middle = (low + high) // 2
        found = possible_from(middle)
        if found[1] < wanted:
            below, low = found, found[0] + 1
        else:
            above, high = found, middle
    nearest = min(below, above, key=lambda found: abs(found[1] - wanted))
    if abs(nearest[1] - wanted) > TOLERANCE * wanted:
        raise StbenchError(
            f"no size comes within {TOLERANCE:.0%} of {wanted:,} parameters: "
            f"{below[0]} has {below[1]:,}, and {above[0]} {above[1]:,}"
        )
    return nearest
