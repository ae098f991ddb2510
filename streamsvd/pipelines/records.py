"""What runs leave behind: one record each, numbered, whole or not there; a run that was killed is known by its beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from streamsvd.errors import StoreError
from streamsvd.pipelines.lineage import Lineage
from streamsvd.store.objects import objects_at

FOLDER = "runs"
Status = Literal["done", "unchanged", "refused", "failed", "interrupted", "killed", "running"]
"""How a run, or a step, ended. ``"refused"``: a check did not pass, and nothing was published; ``"running"``: it has not ended."""


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a step did.

    Attributes
    ----------
    name, verb, status
        Its own, its verb's, and how it ended; ``"unchanged"`` where its result was there.
    key
        Digest of what was asked and of what was read.
    place
        Where its result is; of an update, that of the newest version; empty where it has none.
    seconds, passes, bytes_read, peak_bytes, projected_bytes, n_rows
        What it cost; 0 where it was unchanged.
    warnings
        What a careful user should know.
    error
        Why it failed, or why it has no result yet.
    """

    name: str
    verb: str
    status: Status
    key: str = ""
    place: str = ""
    seconds: float = 0.0
    passes: float = 0.0
    bytes_read: int = 0
    peak_bytes: int = 0
    projected_bytes: int = 0
    n_rows: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""


class CheckRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found: the value, what was asked of it, and whether it is so."""

    step: str
    quantity: str
    value: float | None
    asked: str
    passed: bool


class SharedReadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A read of one source for several steps at once.

    Attributes
    ----------
    source, steps
        What was read, and by which steps.
    bytes_read, asked_bytes
        Decoded bytes that were asked of the store; and that the steps asked, all together.
    peak_bytes, projected_bytes
        Memory of all of them together: measured, and its upper bound as planned.
    """

    source: str
    steps: tuple[str, ...]
    bytes_read: int
    asked_bytes: int
    peak_bytes: int
    projected_bytes: int


class PipelineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a pipeline.

    Attributes
    ----------
    pipeline, number, status
        Its name, the run's number from 1, and how it ended.
    started, ended
        In UTC, as ISO 8601.
    streamsvd
        The release.
    steps, checks
        What they did and found.
    published
        Links that lead to a new result, by place.
    reads
        Reads that several steps shared.
    error
        Why it failed, in a sentence.
    tick, claim
        Of a run by a schedule: the time that it is of, in UTC, and the number of the claim on it; 0 of another.
    lineage
        What it read and wrote.
    """

    pipeline: str
    number: int
    status: Status
    started: str
    ended: str = ""
    streamsvd: str = ""
    steps: tuple[StepRecord, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    published: tuple[str, ...] = ()
    reads: tuple[SharedReadRecord, ...] = ()
    error: str = ""
    tick: str = ""
    claim: int = 0
    lineage: Lineage | None = None


class RunLog:
    """Records of the runs of one pipeline, in its state.

    Parameters
    ----------
    state
        Its folder.
    """

    def __init__(self, state: Path) -> None:
        self._objects = objects_at(state)

    def begin(self, pipeline: str, started: str, release: str) -> int:
        """The number of a run that begins: nobody else has it."""
        while True:
            number = max(self._numbers(), default=0) + 1
            begun = PipelineRecord(
                pipeline=pipeline,
                number=number,
                status="killed",
                started=started,
                streamsvd=release,
            )
            if self._objects.create(
                f"{FOLDER}/{number:06d}.begun.json", msgspec.json.encode(begun)
            ):
                return number

    def end(self, record: PipelineRecord) -> None:
        """Write down how it ended."""
        self._objects.create(f"{FOLDER}/{record.number:06d}.json", msgspec.json.encode(record))

    def records(self, last: int | None = None) -> list[PipelineRecord]:
        """All runs, or the newest of them, the oldest first; of one without an end, its beginning.

        Raises
        ------
        StoreError
            If a record is damaged; it names it.
        """
        numbers = self._numbers()
        return [self._record(number) for number in (numbers[-last:] if last else numbers)]

    def numbers(self) -> list[int]:
        """Numbers of all runs, in their order."""
        return self._numbers()

    def record(self, number: int) -> PipelineRecord:
        """The record of one run.

        Raises
        ------
        StoreError
            If it is damaged, or is not there.
        """
        return self._record(number)

    def _numbers(self) -> list[int]:
        names = (name.partition(".")[0] for name in self._objects.names(FOLDER))
        return sorted({int(name) for name in names if name.isdigit()})

    def _record(self, number: int) -> PipelineRecord:
        for key in (f"{FOLDER}/{number:06d}.json", f"{FOLDER}/{number:06d}.begun.json"):
            try:
                found: Any = self._objects.read(key)
            except FileNotFoundError:
                continue
            try:
                return msgspec.json.decode(found, type=PipelineRecord)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise StoreError(
                    f"{self._objects.name}/{key} is no record of a run: {error}. Take it away: results do not depend on it."
                ) from error
        raise StoreError(f"run {number} went away while it was read. Read again.")
