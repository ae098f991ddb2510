"""Progress on stderr: a live bar for each pass where someone is looking, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import click
import numpy as np

from streamsvd.engine.events import (
    CertificateUpdated,
    ColumnsLeftOut,
    Event,
    PassDone,
    PassStarted,
    ResultWritten,
    RouteChanged,
    SourceRemarked,
    SpanDone,
)
from streamsvd.numerics.sentences import percent
from streamsvd.options import TOL

LINE_SECONDS = 10.0
"""Least time between two plain lines of one pass."""

WIDE = 110
"""Columns of a terminal that has room for what a pass is for."""


@dataclass(slots=True)
class Tally:
    """What the events so far amount to.

    Attributes
    ----------
    expected_bytes
        Bytes of all passes that the plan expects, from the store or from memory; the loop may need more. Passes that prepare what is
        read are not among them.
    result_path
        Where a result was written, once one was.
    n_written
        Results, or versions of a model, that were written.
    expected_passes
        How many there will be, where that is known; else it is guessed from their bytes.
    is_preparing
        Whether this pass stands before those that the plan expects.
    """

    expected_bytes: int
    number: int = 0
    purpose: str = ""
    pass_bytes: int = 0
    share: float = 0.0
    earlier_bytes: int = 0
    width: float | None = None
    result_path: str | None = None
    n_written: int = 0
    began: float = field(default_factory=time.monotonic)
    pass_began: float = field(default_factory=time.monotonic)
    expected_passes: int | None = None
    is_preparing: bool = False

    def take(self, event: Event) -> None:
        """Absorb an event."""
        if isinstance(event, PassStarted):
            self.number, self.purpose = event.number, event.purpose
            self.pass_bytes = event.bytes_read + event.cached_bytes
            self.share, self.pass_began = 0.0, time.monotonic()
            self.is_preparing = event.is_preparing
        elif isinstance(event, SpanDone):
            self.share = event.n_finished / event.spans
        elif isinstance(event, PassDone):
            self.earlier_bytes += 0 if self.is_preparing else self.pass_bytes
            self.pass_bytes, self.share = 0, 0.0
        elif isinstance(event, CertificateUpdated):
            self.width = event.width
        elif isinstance(event, RouteChanged):
            self.expected_bytes = 0  # one more pass, whatever was planned
        elif isinstance(event, ResultWritten):
            self.result_path = event.path
            self.n_written += 1

    @property
    def passes(self) -> int:
        """Whole passes expected, this one at least; the sample is the fraction left out."""
        if self.expected_passes is not None:
            return max(self.number, self.expected_passes)
        left = self.expected_bytes - self.earlier_bytes - self.pass_bytes
        return self.number + max(0, left // max(self.pass_bytes, 1))

    @property
    def ordinal(self) -> str:
        """The number of this pass and of how many it is, as far as that is known: a pass that prepares is none of those."""
        return f"{self.number}" if self.is_preparing else f"{self.number} of about {self.passes}"

    @property
    def rate(self) -> float:
        """Bytes of the matrix a second, in this pass; 0 before its first span."""
        return self.share * self.pass_bytes / max(time.monotonic() - self.pass_began, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of this pass, to the end of the plan; None before anything is known."""
        if self.rate <= 0:
            return None
        if self.is_preparing:
            return ((1 - self.share) * self.pass_bytes + self.expected_bytes) / self.rate
        return (self.passes - self.number + 1 - self.share) * self.pass_bytes / self.rate


class Lines(AbstractContextManager["Lines"]):
    """One line when a pass begins, one when it ends, and one every so often between."""

    def __init__(self, expected_bytes: int) -> None:
        self.tally = Tally(expected_bytes)
        self._spoke = time.monotonic()

    def __call__(self, event: Event) -> None:
        self.tally.take(event)
        if isinstance(event, SourceRemarked):
            say(event.text)
            return
        text = self._line(event)
        if text:
            self._spoke = time.monotonic()
            click.echo(f"streamsvd: {text}", err=True)

    def __exit__(self, *_: object) -> None:
        return None

    def _line(self, event: Event) -> str | None:
        t = self.tally
        match event:
            case PassStarted(_, purpose, size, cached):
                begun = f"pass {t.ordinal}: {purpose}, {(size + cached) / 1e9:.3g} GB"
                return begun + " from memory" if cached > size else begun
            case SpanDone(number, done, spans):
                if time.monotonic() - self._spoke < LINE_SECONDS or done == spans:
                    return None
                left = "" if t.seconds_left is None else f", about {t.seconds_left:.0f} s left"
                return f"pass {number}: {done / spans:.0%}, {t.rate / 1e9:.2f} GB/s{left}"
            case PassDone(number, _, elapsed):
                return f"pass {number} took {elapsed:.3g} s"
            case CertificateUpdated(number, width, excess, resolved):
                return f"after pass {number} {proved_so_far(width, excess, resolved)}"
            case RouteChanged():
                return route_line(event)
            case ResultWritten(path):
                return f"written to {path}"
            case ColumnsLeftOut(description=description):
                return description
            case SourceRemarked(text):
                return text


def say(text: str) -> None:
    """A remark on stderr, once in a run: what follows its first colon may change while a run watches."""
    context = click.get_current_context(silent=True)
    said: set[str] = set() if context is None else context.meta.setdefault("streamsvd.said", set())
    about = text.partition(": ")[0]
    if about not in said:
        said.add(about)
        click.echo(f"streamsvd: {text}", err=True)


def proved_so_far(width: float, excess: float, resolved: int) -> str:
    """What a look has proved, in a few words."""
    text = f"every interval is within {width:.2g}"
    if width > TOL and np.isfinite(excess):
        values = "1 value is" if resolved == 1 else f"{resolved} values are"
        text += f", {values} resolved, the error is at most {percent(excess)} above the best"
    return text


def route_line(event: RouteChanged) -> str:
    """Why a run goes on by another way, in one line."""
    names = {"gram": "the Gram matrix", "krylov": "the Krylov space"}
    return f"going over to {names[event.after]} along {event.axis}: {event.reason}"


class Silence(AbstractContextManager["Silence"]):
    """Keeps count and says nothing of progress."""

    def __init__(self, expected_bytes: int) -> None:
        self.tally = Tally(expected_bytes)

    def __call__(self, event: Event) -> None:
        self.tally.take(event)
        if isinstance(event, SourceRemarked):
            say(event.text)

    def __exit__(self, *_: object) -> None:
        return None


class Bars(AbstractContextManager["Bars"]):
    """A bar for each pass, drawn by rich: GB/s, time left, widest interval so far."""

    def __init__(self, expected_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self.tally = Tally(expected_bytes)
        console = Console(stderr=True)
        purpose = [TextColumn("{task.description}", style="dim")] if console.width >= WIDE else []
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.fields[name]}"),
            *purpose,
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]}", style="cyan"),
            TextColumn("{task.fields[time]}"),
            TextColumn("{task.fields[width]}", style="magenta"),
            console=console,
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._progress.start()
        self._begin("start", "reading a sample")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end()
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        self.tally.take(event)
        t = self.tally
        if isinstance(event, PassStarted):
            self._end()
            self._begin(f"pass {t.ordinal.replace(' of about ', '/')}", t.purpose)
        elif isinstance(event, SpanDone):
            left = "" if t.seconds_left is None else f"{t.seconds_left:.0f} s left"
            self._progress.update(
                self._task,
                total=event.spans,
                completed=min(event.n_finished, event.spans - 1),  # the sums are still to be merged
                rate=f"{t.rate / 1e9:.2f} GB/s",
                time=left,
            )
        elif isinstance(event, PassDone):
            self._progress.update(self._task, time=f"{event.elapsed_s:.1f} s")
            self._end()
            self._begin("look", "extracting and certifying")
        elif isinstance(event, RouteChanged):
            self._progress.console.print(f"streamsvd: {route_line(event)}", highlight=False)
        elif isinstance(event, ColumnsLeftOut):
            self._progress.console.print(f"streamsvd: {event.description}", highlight=False)
        elif isinstance(event, SourceRemarked):
            say(event.text)

    def _begin(self, name: str, purpose: str) -> None:
        width = "" if self.tally.width is None else f"within {self.tally.width:.1e}"
        self._task = self._progress.add_task(
            purpose, total=None, name=name, rate="", time="", width=width
        )

    def _end(self) -> None:
        """Close the line; one that was no pass disappears."""
        task = self._progress.tasks[self._progress.task_ids.index(self._task)]
        if task.fields["name"].startswith("pass"):
            self._progress.update(self._task, total=1, completed=1)
        else:
            self._progress.remove_task(self._task)


Watch = Lines | Silence | Bars


def watching(expected_bytes: int, *, quiet: bool, passes: int | None = None) -> Watch:
    """What will show the events of a run: nothing, bars on a terminal, or lines.

    Parameters
    ----------
    expected_bytes
        Decoded bytes of all passes.
    quiet
        Whether nothing is shown.
    passes
        How many there will be, where they are of unequal size; else that is guessed from their bytes.
    """
    watch: Watch
    if quiet:
        watch = Silence(expected_bytes)
    elif sys.stderr.isatty() and find_spec("rich") is not None:
        watch = Bars(expected_bytes)
    else:
        watch = Lines(expected_bytes)
    watch.tally.expected_passes = passes
    return watch
