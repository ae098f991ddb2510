"""Which process wrote something that it alone may go on with, and whether it is known to be gone.

An object store keeps no locks. What a process leaves there says on which machine it ran, and by which number and start the
system knew it; on that machine, in the same boot and the same space of numbers, others see whether it lives. Of a process on
another machine nothing is known, and what it wrote is left alone.
"""

from __future__ import annotations

import contextlib
import os
import platform
import uuid
from pathlib import Path

import msgspec
import psutil

START_TOLERANCE = 2.0
"""Seconds by which two readings of the start of one process may differ."""


class Owner(msgspec.Struct, frozen=True):
    """A process, as it signs what it writes.

    Attributes
    ----------
    machine, system, number, start
        Name of the machine; its boot and space of process numbers; the number, and when it began, in seconds.
    token
        Of one signature.
    work
        What it writes, as the name of a folder.
    """

    machine: str
    system: str
    number: int
    start: float
    token: str
    work: str = ""

    def encode(self) -> bytes:
        """As an object."""
        return msgspec.json.encode(self)

    @property
    def is_gone(self) -> bool:
        """Whether this process knows that it has ended."""
        mine = current_owner()
        if not self.machine or (self.machine, self.system) != (mine.machine, mine.system):
            return False
        if self.number == mine.number:
            return abs(self.start - mine.start) > START_TOLERANCE
        try:
            found = psutil.Process(self.number)
            ended = found.status() == psutil.STATUS_ZOMBIE
            return ended or abs(found.create_time() - self.start) > START_TOLERANCE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.number} on {self.machine or 'an unknown machine'}"


def current_owner(work: str = "") -> Owner:
    """This process."""
    number = os.getpid()
    start = psutil.Process(number).create_time()
    return Owner(platform.node(), _system(), number, start, uuid.uuid4().hex, work)


def decode_owner(data: bytes) -> Owner | None:
    """Who signed; None where that cannot be read."""
    try:
        return msgspec.json.decode(data, type=Owner)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _system() -> str:
    """Tells one start of a machine, and one space of process numbers on it, from another."""
    boot = f"{psutil.boot_time():.0f}"
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    numbers = ""
    with contextlib.suppress(OSError):
        numbers = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{boot} {numbers}".strip()
