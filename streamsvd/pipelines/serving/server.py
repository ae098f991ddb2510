"""The server: at each time of each pipeline one run, whoever else serves it, and whatever the clock does.

The clock only says which time is the newest that has come. Whether it is run is decided by claims: a time that somebody has
claimed is not run again, so that a clock that is put back, or a server that comes late, doubles nothing; times that were
missed are one run, of the newest of them; and a time that was claimed too early, by a clock that was ahead, takes none of those before it away.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamsvd.errors import StoreError
from streamsvd.pipelines.journal import Journal, JournalEntry, Level
from streamsvd.pipelines.lock import lock_holder
from streamsvd.pipelines.metrics import RunCounts, write_metrics
from streamsvd.pipelines.serving.children import Starter
from streamsvd.pipelines.serving.claiming import CLOCK, Clock, claims_of, claims_place
from streamsvd.pipelines.serving.duties import Duty, DutyState
from streamsvd.pipelines.serving.folder import Look, Offer, Offers

BUSY_S = 2.0
"""Seconds after which a claim that has not ended is looked at again."""
MOST_PASSED = 100
"""Times that are remembered as none of ours; claims know of the others."""
LOOK_S = 1.0
"""Most seconds between two looks at clock, files and processes."""


class Server:
    """Runs pipelines at their times.

    Parameters
    ----------
    offers
        Which.
    start
        Starts a run under a claim.
    journal
        Is told of what happens; runs tell of themselves.
    metrics
        A file that is written after every run; None for none.
    clock, draw
        The clock, and random numbers between 0 and 1 for delays.
    """

    def __init__(
        self,
        offers: Offers,
        start: Starter,
        journal: Journal,
        *,
        metrics: Path | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._offers, self._start, self._journal = offers, start, journal
        self._metrics, self._clock, self._draw = metrics, clock or CLOCK, draw
        self._duties: dict[Path, Duty] = {}
        self._leaving: list[Duty] = []
        self._refused: dict[Path, Offer] = {}
        self._counts: dict[Path, RunCounts] = {}
        self._files_trouble = ""
        self._has_begun = False

    def look(self) -> None:
        """One round: files that changed, runs that ended, times that have come."""
        if not self._has_begun:
            self._has_begun = True
            self._tell_faults(self._offers.first())
        self._look_at_files()
        for duty in [*self._duties.values(), *self._leaving]:
            self._reap(duty)
        self._leaving = [duty for duty in self._leaving if duty.child is not None]
        for duty in self._duties.values():
            try:
                self._consider(duty)
            except (StoreError, OSError) as error:
                self._report(duty, " ".join(str(error).split()))

    def serve(self, wait: Callable[[float], bool]) -> None:
        """Look again and again.

        Parameters
        ----------
        wait
            Waits so many seconds, or until it is asked to stop; whether it is.
        """
        self.look()
        self.write_metrics()
        while not wait(LOOK_S):
            self.look()

    def stop(self, has_patience: Callable[[float], bool]) -> None:
        """Hand the stop on to runs that go on, and wait for them; without patience they are killed.

        Parameters
        ----------
        has_patience
            Waits so many seconds; False once it is asked to stop again.
        """
        running = [d for d in [*self._duties.values(), *self._leaving] if d.child is not None]
        for duty in running:
            name = duty.offer.pipeline.name
            self._tell("stop", name, "its run is asked to stop, and waited for", claim=duty.claim)
            with suppress(StoreError, OSError):  # then its time is not gone on with
                duty.claims.leave(duty.claim)
        children = [duty.child for duty in running if duty.child is not None]
        for child in children:
            child.stop()
        while any(child.poll() is None for child in children):
            if not has_patience(0.05):
                self._tell("stop", "", "asked again: runs are killed", "warning")
                for child in children:
                    child.kill()
                    child.wait()
        for duty in running:
            self._reap(duty)

    def states(self) -> list[DutyState]:
        """What is to be seen of every pipeline, by name."""
        now = self._clock.now()
        found = [
            DutyState(
                d.offer.pipeline, d.offer.timetable.following(now), d.child is not None, d.trouble
            )
            for d in list(self._duties.values())
        ]
        return sorted(found, key=lambda state: state.pipeline.name)

    def write_metrics(self) -> None:
        """Write the metrics of all pipelines that are served; what fails there ends nothing."""
        if self._metrics is None:
            return
        for duty in self._duties.values():
            pipeline = duty.offer.pipeline
            known = self._counts.get(pipeline.path)
            if known is None or (known.pipeline, known.state) != (pipeline.name, pipeline.state):
                self._counts[pipeline.path] = RunCounts(pipeline.name, pipeline.state)
        served = {duty.offer.pipeline.path for duty in self._duties.values()}
        try:
            write_metrics(self._metrics, [c for p, c in self._counts.items() if p in served])
        except (StoreError, OSError) as error:
            self._tell("metrics", "", f"metrics were not written: {error}", "warning")

    def _look_at_files(self) -> None:
        """Take up files that came or changed, and leave those that went."""
        try:
            found = self._offers.look()
        except StoreError as error:
            if str(error) != self._files_trouble:
                self._files_trouble = str(error)
                self._tell("fault", "", f"{error} What is served goes on.", "error")
            return
        self._files_trouble = ""
        self._tell_faults(found)
        self._take_up(found.offers)

    def _tell_faults(self, found: Look) -> None:
        for file, fault in found.faults.items():
            self._tell("fault", "", f"{file.name} is not served: {fault}", "error", file=str(file))

    def _take_up(self, offers: dict[Path, Offer]) -> None:
        for file in [file for file in self._duties if file not in offers]:
            duty = self._duties.pop(file)
            self._leaving.append(duty)
            self._tell("leave", duty.offer.pipeline.name, "is served no more")
        for file, offer in offers.items():
            before = self._duties.get(file)
            if self._refused.get(file) is offer or (before is not None and before.offer is offer):
                continue
            try:
                self._duties[file] = self._duty(offer, before)
            except StoreError as error:
                self._refused[file] = offer
                self._tell_faults(Look(faults={file: str(error)}))
                continue
            timing = offer.pipeline.timing
            following = offer.timetable.following(self._clock.now())
            text = f"is served: {timing.schedule} ({timing.timezone}), next {_time_text(following)}"
            facts: dict[str, Any] = {
                "file": str(file),
                "schedule": timing.schedule,
                "next": _time_text(following),
            }
            self._tell("serve", offer.pipeline.name, text, **facts)

    def _duty(self, offer: Offer, before: Duty | None) -> Duty:
        """A pipeline that is served from now on; before, it may have been by an earlier version of its file."""
        duty = Duty(offer, claims_of(offer.pipeline, self._clock))
        if before is None:
            return duty
        now = self._clock.now()
        newest = duty.newest(now)
        if before.newest(now) == newest:
            duty.passed_over = before.passed_over
        elif newest is not None:  # the new line has it, the old one had not: it was never to be run
            duty.passed_over = {newest}
        if claims_place(before.offer.pipeline) == claims_place(offer.pipeline):
            duty.child, duty.claim = before.child, before.claim
        elif before.child is not None:
            self._leaving.append(before)
        return duty

    def _consider(self, duty: Duty) -> None:
        """Claim and start the newest time that has come, if it is nobody's yet."""
        tick = None if duty.child is not None else self._due_tick(duty)
        if tick is None:
            return
        if holder := lock_holder(duty.offer.pipeline.state):
            self._report(duty, f"{_tick_text(tick)} waits: a run goes on ({holder})", "info")
            return
        claim = duty.claims.take(tick)
        if claim == "busy":
            text = f"{_tick_text(tick)} waits: the claim before it has not ended"
            self._report(duty, text, "info")
        if claim in ("busy", "running"):
            duty.due = self._clock.monotonic() + BUSY_S
            return
        duty.due, duty.trouble = None, ""
        duty.passed_over = {*sorted(duty.passed_over)[-MOST_PASSED:], tick}
        if isinstance(claim, int):
            self._begin(duty, tick, claim)

    def _due_tick(self, duty: Duty) -> int | None:
        """The newest time that has come, and its delay has gone by; None where it is not to be run."""
        tick = duty.newest(self._clock.now())
        if tick is None:
            return None
        if not duty.is_known:
            if duty.claims.mark_first(tick):
                duty.passed_over.add(tick)
            duty.is_known = True
        if tick in duty.passed_over:
            duty.due = None
            return None
        if duty.due is None:
            delay = self._draw() * duty.offer.pipeline.timing.jitter
            duty.due = self._clock.monotonic() + delay
        return tick if self._clock.monotonic() >= duty.due else None

    def _begin(self, duty: Duty, tick: int, claim: int) -> None:
        name = duty.offer.pipeline.name
        try:
            duty.child = self._start(duty.offer, claim)
        except OSError as error:
            duty.claims.end(claim, "not started")
            self._report(
                duty, f"{_tick_text(tick)} could not be started: {error.strerror or error}"
            )
            return
        duty.claim = claim
        facts: dict[str, Any] = {
            "tick": _tick_text(tick),
            "claim": claim,
            "process": duty.child.pid,
        }
        self._tell("tick", name, f"{_tick_text(tick)}: process {duty.child.pid} runs it", **facts)

    def _reap(self, duty: Duty) -> None:
        """See whether its run has ended; a claim that a killed run left open is ended."""
        if duty.child is None or (code := duty.child.poll()) is None:
            return
        claim, duty.child = duty.claim, None
        name = duty.offer.pipeline.name
        try:
            duty.claims.end(claim, f"exit code {code}")
        except (StoreError, OSError) as error:
            self._report(duty, " ".join(str(error).split()))
        how = f"was killed by signal {-code}" if code < 0 else f"left with exit code {code}"
        level: Level = "info" if code == 0 else "warning" if code == 130 else "error"
        self._tell("exit", name, f"its run {how}", level, claim=claim, exit_code=code)
        self.write_metrics()

    def _report(self, duty: Duty, text: str, level: Level = "error") -> None:
        """Say what stands in the way, once."""
        if duty.trouble != text:
            duty.trouble = text
            self._tell(
                "fault" if level == "error" else "wait", duty.offer.pipeline.name, text, level
            )

    def _tell(
        self, event: str, name: str, text: str, level: Level = "info", **facts: object
    ) -> None:
        with suppress(OSError):  # a reader of the log that went away ends no server
            self._journal(JournalEntry(event, name, text, facts, level))


def _tick_text(tick: int) -> str:
    return _time_text(datetime.fromtimestamp(tick, UTC))


def _time_text(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
