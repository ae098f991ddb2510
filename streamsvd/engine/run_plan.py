"""What a verb will cost, said before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamsvd.engine.memory import show_bytes
from streamsvd.engine.schedule import Schedule

CACHE_NOTE = "the matrix fits: it is read once and stays in memory for the other passes"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run of a verb will read and need.

    Attributes
    ----------
    verb, source
        What is to be done, and with what.
    options
        The record of what was asked.
    passes
        Reads of the matrix, at most; None where the data decide.
    pass_bytes
        Decoded bytes of one of them.
    workers, spans
        Tasks that run at once in this process, and all tasks of a pass.
    projected_bytes, budget_bytes
        Upper bound of the memory, and what is allowed.
    is_cached
        Whether the first pass leaves what it reads in memory, so that the others ask nothing of the store.
    notes
        What decides the number of passes, and what else is to be known, a sentence each.
    """

    verb: str
    source: str
    options: Any
    passes: int | None
    pass_bytes: int
    workers: int
    spans: int
    projected_bytes: int
    budget_bytes: int
    notes: tuple[str, ...] = ()
    is_cached: bool = False

    @property
    def bytes_read(self) -> int | None:
        """Decoded bytes that all passes ask of the store; None where the data decide how many there are."""
        if self.is_cached:
            return self.pass_bytes
        return None if self.passes is None else self.passes * self.pass_bytes

    @classmethod
    def of(
        cls,
        verb: str,
        schedule: Schedule,
        options: Any,
        budget: int,
        *,
        passes: int | None,
        notes: tuple[str, ...] = (),
    ) -> RunPlan:
        """Of a scheduled matrix."""
        return cls(
            verb, schedule.source.name, options, passes, schedule.pass_bytes, schedule.workers,
            len(schedule.reader.spans), schedule.projected_bytes, budget, notes, schedule.is_cached,
        )  # fmt: skip

    def explain(self) -> str:
        """The plan in a few lines."""
        count = "as many passes as the data ask for" if self.passes is None else (
            f"{self.passes} pass{'es' if self.passes > 1 else ''}"
        )  # fmt: skip
        lines = [
            f"{self.verb} of {self.source}: {count} of {show_bytes(self.pass_bytes)}",
            f"{self.spans} task{'s' if self.spans > 1 else ''} a pass, {self.workers} at once",
            f"memory {show_bytes(self.projected_bytes)} of {show_bytes(self.budget_bytes)} allowed",
            *([CACHE_NOTE] if self.is_cached else []),
            *self.notes,
        ]
        return "\n".join(lines)
