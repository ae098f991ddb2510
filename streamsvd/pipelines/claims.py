"""Who runs which time of a pipeline: a log of claims, each created exclusively, so that no time is run twice.

Entry N + 1 of the log is created exclusively, by whoever found that entry N has ended. So claims follow one another whatever
machines and clocks they come from: two runs do not overlap, and since an entry lists the times that were claimed before it, no
time is claimed twice. The number of an entry fences: the right to publish, and the right to take a claim for given up, are
one object that either may create first, and only one of them can.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from streamsvd.errors import StoreError
from streamsvd.store.objects import Objects

MOST_TICKS = 2000
"""Times that an entry remembers; one that is older than all of them counts as claimed."""
MOST_ENTRIES = 50
"""Entries that stay in the log."""
LEASE_S = 120.0
"""Seconds without a sign of life, as the watcher's own clock counts them, after which a claim is given up."""
RUN = b"the run publishes"

GIVEN_UP = b"given up"
MOST_ATTEMPTS = 3
"""Runs of one time, where those before were cut off with their servers."""

Refusal = Literal["claimed", "running", "busy"]
"""Why a time is not to be run now: somebody has claimed it, and may still run it; or the claim before it has not ended."""


class ClaimRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the log.

    Attributes
    ----------
    number
        From 1, one after another.
    tick
        The time that is claimed: as the schedule says it, in seconds of UTC.
    holder, at
        Who claimed it, and when by its clock: for people; nothing is decided from them.
    is_run, attempt
        Whether it is to be run; the first entry of a log only says from when on times count. And how often that was begun.
    ticks
        The newest times that were claimed, this one among them.
    mark
        What no other entry has: whose writer lost the answer of a store knows its own by it.
    """

    number: int
    tick: int
    holder: str
    at: str
    is_run: bool = True
    attempt: int = 1
    ticks: tuple[int, ...] = ()
    mark: str = ""

    def covers(self, tick: int) -> bool:
        """Whether a time was claimed, here or before; one that is older than all that is remembered was."""
        return tick in self.ticks or (len(self.ticks) == MOST_TICKS and tick < min(self.ticks))


class ClaimLog:
    """The claims of one pipeline.

    Parameters
    ----------
    objects, folder
        Where they are kept.
    now, monotonic
        Clocks: the time for people, and the seconds by which a claim is watched.
    """

    def __init__(
        self,
        objects: Objects,
        folder: str = "claims",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objects, self.folder = objects, folder
        self._now, self._monotonic = now, monotonic
        self._newest: ClaimRecord | None = None
        self._sign: tuple[int, bytes] = (0, b"")
        self._since = 0.0

    def newest(self) -> ClaimRecord | None:
        """The last entry; None before the first.

        Raises
        ------
        StoreError
            If the log cannot be read, or is damaged.
        """
        if self._newest is not None and self._read(self._newest.number) is None:
            self._newest = None  # it was taken away: the log has gone on
        if self._newest is None:
            number = self._last_number()
            self._newest = self._read(number) if number else None
        while True:  # a listing may be older than what is there
            after = self._read(self._newest.number + 1 if self._newest else 1)
            if after is None:
                return self._newest
            self._newest = after

    def _last_number(self) -> int:
        """Of the entries that a listing shows; 0 where there are none."""
        names = (name.partition(".") for name in self.objects.names(self.folder))
        return max((int(n) for n, _, rest in names if rest == "json" and n.isdigit()), default=0)

    def mark_first(self, tick: int) -> bool:
        """Of a log without entries, say from when on times count: a new pipeline does not run at once. Whether a time was claimed."""
        if self.newest() is None:
            self._create(None, tick, is_run=False)
        newest = self.newest()
        if newest is None or not newest.covers(tick):
            return False
        return newest.tick != tick or not newest.is_run  # else it may have been cut off

    def take(self, tick: int) -> int | Refusal:
        """Claim a time: the number of the claim, or why it is none of ours."""
        before = self.newest()
        if before is None:
            return self._create(None, tick) or "busy"
        is_same = before.tick == tick and before.is_run
        if before.covers(tick) and not is_same:
            return "claimed"
        if not self.has_ended(before):
            if not self._is_given_up(before):
                return "running" if is_same else "busy"
            self._supersede(before)
        if not is_same:
            return self._create(before, tick) or "busy"
        if before.attempt >= MOST_ATTEMPTS or not self._was_cut_off(before):
            return "claimed"
        return self._create(before, tick, attempt=before.attempt + 1) or "running"

    def _was_cut_off(self, record: ClaimRecord) -> bool:
        """Whether a run ended with its server, before it had the right to publish: another is to go on with it."""
        name = f"{record.number:06d}"
        if self._content(f"{name}.fence") == RUN:
            return False
        how = self._content(f"{name}.end")
        was_stopped = self._exists(f"{name}.left") and how.startswith(
            (b"interrupted", b"exit code -")
        )
        return was_stopped or how == GIVEN_UP

    def leave(self, number: int) -> None:
        """Say that a server stops, and its run with it: the next server is to go on."""
        self.objects.create(self._key(f"{number:06d}.left"), b"the server stops")

    def has_ended(self, record: ClaimRecord) -> bool:
        """Whether a claim needs no more waiting for."""
        return not record.is_run or self._exists(f"{record.number:06d}.end")

    def end(self, number: int, how: str) -> None:
        """Say that a claim has ended; who says it first is believed."""
        self.objects.create(self._key(f"{number:06d}.end"), how.encode())

    def entry(self, number: int) -> ClaimRecord | None:
        """An entry by its number; None where there is none."""
        return self._read(number)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.objects.name}/{self.folder}"

    def _create(
        self, before: ClaimRecord | None, tick: int, *, is_run: bool = True, attempt: int = 1
    ) -> int:
        """The number of a new entry; 0 where another was quicker."""
        number = 1 if before is None else before.number + 1
        earlier = () if before is None else before.ticks
        ticks = earlier if attempt > 1 else (*earlier, tick)[-MOST_TICKS:]
        record = ClaimRecord(
            number=number, tick=tick, holder=f"process {os.getpid()} on {socket.gethostname()}",
            at=self._now().isoformat(timespec="seconds"), is_run=is_run, attempt=attempt, ticks=ticks,
            mark=os.urandom(8).hex(),
        )  # fmt: skip
        key = self._key(f"{number:06d}.json")
        if not self.objects.create(key, msgspec.json.encode(record)):
            return 0
        if (
            self._last_number() > number
        ):  # it was there once, and has been taken away since we looked
            self.objects.remove([key])
            self._newest = None
            return 0
        self._newest = record
        self._remove_old(number - MOST_ENTRIES)
        return number

    def _remove_old(self, last: int) -> None:
        """Take away entries up to a number: each before what says of it that it has ended."""
        if last < 1 or last % 10:
            return
        names = self.objects.names(self.folder)
        old = [
            n for n in names if n.partition(".")[0].isdigit() and int(n.partition(".")[0]) <= last
        ]
        for entries in (True, False):
            self.objects.remove(self._key(n) for n in old if n.endswith(".json") == entries)

    def _is_given_up(self, record: ClaimRecord) -> bool:
        """Whether a run has given no sign of life for as long as it was watched."""
        sign = (record.number, self._content(f"{record.number:06d}.beat"))
        if sign != self._sign:
            self._sign, self._since = sign, self._monotonic()
        return self._monotonic() - self._since >= LEASE_S

    def _supersede(self, record: ClaimRecord) -> None:
        """Take the right to publish from a run that gives no sign of life, and end its claim."""
        self.objects.create(self._key(f"{record.number:06d}.fence"), GIVEN_UP)
        self.end(record.number, GIVEN_UP.decode())

    def take_fence(self, number: int) -> bool:
        """Whether a run may publish: it takes the right that may be taken from it, unless that was done."""
        key = self._key(f"{number:06d}.fence")
        is_ours = self.objects.create(key, RUN) or self.objects.read(key) == RUN
        return (
            is_ours and self._read(number) is not None
        )  # what is old was taken away with its fence

    def beat(self, number: int, sign: bytes) -> None:
        """A sign of life of a run."""
        self.objects.replace(self._key(f"{number:06d}.beat"), sign)

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _content(self, name: str) -> bytes:
        """What an object holds; nothing where there is none."""
        try:
            return self.objects.read(self._key(name))
        except FileNotFoundError:
            return b""

    def _exists(self, name: str) -> bool:
        try:
            self.objects.read(self._key(name))
        except FileNotFoundError:
            return False
        return True

    def _read(self, number: int) -> ClaimRecord | None:
        """An entry; None where there is none."""
        key = self._key(f"{number:06d}.json")
        try:
            found = self.objects.read(key)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(found, type=ClaimRecord)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise StoreError(
                f"{self.objects.name}/{key} is no claim: {error}. Stop all servers of it and take the folder away: times count anew."
            ) from error
