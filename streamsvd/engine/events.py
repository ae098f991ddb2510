"""What a run tells those who watch it: small values, handed to a callback in the caller's process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PassStarted:
    """A pass begins: its number from 1, what it does, the bytes it will ask of the store, and those it takes from memory.

    One that prepares what is read stands before the run that was planned, whose passes are counted from 1 again.
    """

    number: int
    purpose: str
    bytes_read: int
    cached_bytes: int = 0
    is_preparing: bool = False


@dataclass(frozen=True, slots=True)
class SpanDone:
    """One task of a pass is finished."""

    number: int
    n_finished: int
    spans: int


@dataclass(frozen=True, slots=True)
class PassDone:
    """A pass ended: its wall seconds, and the widest interval known before it (None before the first look).

    What the pass itself has taught is known after a `CertificateUpdated`.
    """

    number: int
    purpose: str
    elapsed_s: float
    width_before: float | None


@dataclass(frozen=True, slots=True)
class CertificateUpdated:
    """What is proved after a pass of that number.

    The largest relative width of the intervals; the excess of the error over the best of the rank; how many leading
    values are resolved.
    """

    number: int
    width: float
    excess: float = float("inf")
    n_resolved: int = 0


@dataclass(frozen=True, slots=True)
class RouteChanged:
    """The run goes on by another way than planned: from and to, the axis of the new way, and why."""

    before: str
    after: str
    axis: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResultWritten:
    """A result was written."""

    path: str


@dataclass(frozen=True, slots=True)
class ColumnsLeftOut:
    """Columns do not take part: how many of how many, and why, in a sentence."""

    left_out: int
    columns: int
    description: str


@dataclass(frozen=True, slots=True)
class SourceRemarked:
    """Something about what is read that does not change the answer, and is to be known."""

    text: str


Event: TypeAlias = (
    PassStarted
    | SpanDone
    | PassDone
    | CertificateUpdated
    | RouteChanged
    | ResultWritten
    | ColumnsLeftOut
    | SourceRemarked
)
Callback: TypeAlias = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """The callback of those who do not watch."""
    del event


def send_remarks(source: object, notify: Callback) -> None:
    """Tell what is to be known about a source or a collection that is about to be read."""
    for text in getattr(source, "remarks", ()):
        notify(SourceRemarked(text))
