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
"""By which two readings of the start of one process may differ, where they go by the clock."""

_AT_WORK: set[str] = set()
"""Tokens of what this process has signed and not laid down: what it has laid down, or failed at, is nobody's."""


class Owner(msgspec.Struct, frozen=True):
    """A process, as it signs what it writes.

    Attributes
    ----------
    machine, system, number, start
        Name of the machine; its boot and space of process numbers; the number, and when it began, in ticks since the boot or in
        seconds of the clock.
    token
        Of one signature.
    """

    machine: str
    system: str
    number: int
    start: float
    token: str

    @property
    def is_gone(self) -> bool:
        """Whether this process knows that it has ended."""
        if not self.machine or (self.machine, self.system) != (platform.node(), _system()):
            return False
        number = os.getpid()
        if self.number == number and abs(self.start - _start(number)) <= START_TOLERANCE:
            return self.token not in _AT_WORK
        try:
            ended = psutil.Process(self.number).status() == psutil.STATUS_ZOMBIE
            return ended or abs(_start(self.number) - self.start) > START_TOLERANCE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.number} on {self.machine or 'an unknown machine'}"


def current_owner() -> Owner:
    """The process that asks, with a token of its own; it is at work until that is laid down."""
    number, token = os.getpid(), uuid.uuid4().hex
    _AT_WORK.add(token)
    return Owner(platform.node(), _system(), number, _start(number), token)


def lay_down(owner: Owner) -> None:
    """What was signed so is nobody's from now on."""
    _AT_WORK.discard(owner.token)


def _start(number: int) -> float:
    """When a process began: by ticks, which no setting of the clock moves, where the system tells them."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        return float(text.rpartition(")")[2].split()[19])
    return float(psutil.Process(number).create_time())


def _system() -> str:
    """Tells one start of a machine, and one space of process numbers on it, from another."""
    boot = f"{psutil.boot_time():.0f}"
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    numbers = ""
    with contextlib.suppress(OSError):
        numbers = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{boot} {numbers}".strip()
