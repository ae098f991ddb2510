"""A claim while its run goes on: signs of life, and the right to publish."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from streamsvd.errors import ConflictError, SpecError
from streamsvd.pipelines.claims import LEASE_S, ClaimLog, ClaimRecord

BEAT_S = 15.0
"""Seconds between two signs of life of a run."""


def open_claim(log: ClaimLog, number: int) -> Claim:
    """A claim whose run begins.

    Raises
    ------
    SpecError
        If there is none of that number.
    ConflictError
        If it has ended, or was given up.
    """
    record = log.entry(number)
    if record is None or not record.is_run:
        raise SpecError(
            f"claim={number} is not in {log.name}. It is made by streamsvd serve, or by run with cron; leave it out."
        )
    if log.has_ended(record):
        raise ConflictError(
            f"claim {number} has ended: its time was run, or given up. Run without it."
        )
    return Claim(log, record)


class Claim:
    """A claim while its run goes on.

    Attributes
    ----------
    record, status
        Its entry, and how its run ended; until that is known, as if it were interrupted.
    """

    def __init__(self, log: ClaimLog, record: ClaimRecord) -> None:
        self._log, self.record = log, record
        self.status = "interrupted"
        self._ending = threading.Event()

    @property
    def tick(self) -> str:
        """The time that is run, as ISO 8601."""
        return datetime.fromtimestamp(self.record.tick, UTC).isoformat(timespec="seconds")

    def check_right(self) -> None:
        """Take the right to publish.

        Raises
        ------
        ConflictError
            If the claim was given up meanwhile.
        """
        if not self._log.take_fence(self.record.number):
            raise ConflictError(
                f"claim {self.record.number} on {self.tick} was given up: its run gave no sign of life for {LEASE_S:g} seconds, and "
                "another may be going on. Nothing is published. Run again."
            )

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life until the end of the block, which ends the claim."""
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(1.0)  # a store that does not answer holds up nobody
            with contextlib.suppress(OSError):  # it is given up after a while
                self._log.end(self.record.number, self.status)

    def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            with contextlib.suppress(
                OSError
            ):  # what is not seen is given up, and then publishes nothing
                self._log.beat(self.record.number, f"{os.getpid()} {count}".encode())
            if self._ending.wait(BEAT_S):
                return
