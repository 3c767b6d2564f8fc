"""What figures were measured under, in one line: it stands at every table and plot that compares configurations."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from stbench.records.budgets import describe_budgets
from stbench.records.schema import Record


def context_of(records: Sequence[Record]) -> str:
    """Return budget, protocol and machine of these runs; what they do not share is counted."""
    budget = describe_budgets([record for record in records if record.finished])
    protocols = (record.quality.protocol_hash[:8] for record in records if record.quality)
    machines = ((record.machine.gpu or record.machine.cpu) for record in records if record.machine)
    said = [f"Compared {budget}", _shared("protocol", protocols), _shared("machine", machines)]
    return "; ".join(filter(None, said)) + "."


def _shared(what: str, values: Iterable[Hashable]) -> str:
    """The one value that all share, or how many there are."""
    found = list(dict.fromkeys(values))
    return f"{what} {found[0]}" if len(found) == 1 else f"{len(found)} {what}s" if found else ""
