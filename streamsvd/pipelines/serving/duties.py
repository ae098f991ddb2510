"""A pipeline while it is served: its times, its claims, and the run that goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from streamsvd.pipelines.claims import ClaimLog
from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.serving.children import Child
from streamsvd.pipelines.serving.folder import Offer


@dataclass(slots=True, eq=False)
class Duty:
    """One pipeline while it is served.

    Attributes
    ----------
    offer, claims
        What is run, and the log of its claims.
    passed_over
        Times that are not run: others have, or they were before it was served.
    child, claim
        The run that goes on, and the number of its claim.
    due
        When the newest time may be claimed, by the clock that never goes back; None while none has come.
    trouble
        What was said last of why it cannot be run.
    """

    offer: Offer
    claims: ClaimLog
    passed_over: set[int] = field(default_factory=set)
    child: Child | None = None
    claim: int = 0
    due: float | None = None
    trouble: str = ""
    is_known: bool = False
    _span: tuple[float, float] = (0.0, 0.0)
    _newest: int | None = None

    def newest(self, now: datetime) -> int | None:
        """The last time that has come, in seconds; looked for only where the clock has left the span from it to the next."""
        seconds = now.timestamp()
        if not self._span[0] <= seconds < self._span[1]:
            found = self.offer.timetable.newest(now)
            after = self.offer.timetable.following(now)
            self._newest = None if found is None else int(found.timestamp())
            begin = seconds if found is None else found.timestamp()
            self._span = (begin, seconds + 1.0 if after is None else after.timestamp())
        return self._newest


@dataclass(frozen=True, slots=True)
class DutyState:
    """What is to be seen of a pipeline that is served."""

    pipeline: Pipeline
    following: datetime | None
    is_running: bool
    trouble: str
