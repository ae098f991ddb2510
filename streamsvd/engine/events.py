"""What a run tells those who watch it: small values, handed to a callback in the caller's process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PassStarted:
    """A pass begins: its number from 1, what it does, and the bytes it will ask of the store."""

    number: int
    purpose: str
    bytes_read: int


@dataclass(frozen=True, slots=True)
class SpanDone:
    """One task of a pass is finished."""

    number: int
    done: int
    spans: int


@dataclass(frozen=True, slots=True)
class PassDone:
    """A pass ended: its wall seconds, and the widest interval known before it (None before the first look).

    What the pass itself has taught is known after a `Looked`.
    """

    number: int
    purpose: str
    elapsed_s: float
    width_before: float | None


@dataclass(frozen=True, slots=True)
class Looked:
    """The intervals after a pass of that number: the largest relative width."""

    number: int
    width: float


@dataclass(frozen=True, slots=True)
class Committed:
    """A result was written."""

    path: str


Event: TypeAlias = PassStarted | SpanDone | PassDone | Looked | Committed
Callback: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of those who do not watch."""
    del event
