"""One run on one source by one plan: what it reads, how long it takes, what it was asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from streamsvd.engine.columns import View
from streamsvd.engine.events import (
    Callback,
    CertificateUpdated,
    Event,
    PassDone,
    RouteChanged,
    ignore_event,
    send_remarks,
)
from streamsvd.engine.execute import Runner
from streamsvd.engine.meter import MemoryMark, mark_memory, peak_since
from streamsvd.engine.span import Sink, stop_run
from streamsvd.factor.plan import Plan
from streamsvd.factor.problem import MatrixOptions
from streamsvd.factor.terms import Terms
from streamsvd.numerics.certificate import EXCESS_TOL, Certificate, Kind
from streamsvd.numerics.passes import Fold, PassSums
from streamsvd.numerics.support import degrees_of_freedom
from streamsvd.protocols import Source
from streamsvd.result import Info, Status

Target = Literal["auto", "values", "error"]


@dataclass(frozen=True, slots=True, eq=False)
class RunGoal:
    """How far to go.

    Attributes
    ----------
    rank, energy
        Triplets wanted; where ``energy`` is given, the smallest rank that holds it, at most ``rank``.
    tol
        Relative width asked of every interval.
    delta, kind
        Failure probability of the certificate, and whether it is one of bounds.
    max_passes, seed
        Most passes of the loop; seed of the random blocks.
    target, excess_tol
        ``"values"``: every interval within ``tol``. ``"error"``: an excess of at most ``excess_tol``. ``"auto"``: the
        first where it can be reached, else the second.
    """

    rank: int
    energy: float | None
    tol: float
    delta: float
    kind: Kind
    max_passes: int
    seed: int
    target: Target = "auto"
    excess_tol: float = EXCESS_TOL


@dataclass(slots=True, eq=False)
class Session:
    """The parts that last for the run, and its counters."""

    source: Source
    plan: Plan
    options: MatrixOptions
    settings: RunGoal
    notify: Callback = ignore_event
    sampled_bytes: int = 0
    view: View | None = None
    widths: list[float] = field(default_factory=list)
    runner: Runner = field(init=False)
    projected_bytes: int = field(init=False)
    route: str = field(init=False)
    start_time: float = field(default_factory=time.perf_counter)
    memory: MemoryMark = field(default_factory=mark_memory)

    def __post_init__(self) -> None:
        send_remarks(self.source, self.notify)
        plan = self.plan
        self.projected_bytes, self.route = plan.projected_bytes, plan.route
        self.runner = Runner(
            self.source, plan.workers, plan.prefetch, plan.device, self._notify_with_width
        )
        self.runner.needs = plan.task_bytes

    @property
    def complex_(self) -> bool:
        """Whether the matrix is complex."""
        return bool(self.source.dtype.kind == "c")

    def read(self, fold: Fold, purpose: str, sink: Sink | None = None) -> PassSums:
        """One pass."""
        return self.runner(self.plan.layout, fold, purpose, sink)

    def halt(self) -> None:
        """Wait for what is left of a pass that was cut short: after that nothing is read or written."""
        stop_run(self.runner.run)

    def record_certificate(self, c: Certificate) -> None:
        """Keep and tell what is proved after a look."""
        self.widths.append(c.relative_width)
        self.notify(
            CertificateUpdated(self.runner.passes, c.relative_width, c.excess, c.resolved_count)
        )

    def switch_to_gram(self, reason: str) -> None:
        """Take the plan's other way from here on, the Gram matrix, and say so."""
        before, plan = self.plan, self.plan.fallback
        assert plan is not None
        if self.widths:
            self.route = f"{before.route}, then {plan.route}"
        else:
            self.route = plan.route
        self.plan, self.projected_bytes = plan, max(self.projected_bytes, plan.projected_bytes)
        self.runner.workers, self.runner.prefetch = plan.workers, plan.prefetch
        self.runner.needs = plan.task_bytes
        self.notify(RouteChanged(before.route, plan.route, plan.layout.axis, reason))

    def _notify_with_width(self, event: Event) -> None:
        if isinstance(event, PassDone) and self.widths:
            event = replace(event, width_before=self.widths[-1])
        self.notify(event)

    def info(self, status: Status, terms: Terms, criterion: str = "") -> Info:
        """The record of the run."""
        read = self.runner.bytes_read + self.sampled_bytes
        dropped = self.options.support.excluded_columns
        if terms.stats is not None and terms.prep.axis == "rows":
            dropped = tuple(int(j) for j in np.flatnonzero(terms.stats.frame.d == 0))
        missing, columns = terms.missing, None if self.view is None else self.view.columns
        if columns is not None:
            dropped = columns.all_dropped_indices(dropped)
            rows = self.options.support.rows
            missing += columns.n_empty * (
                self.source.shape[0] if rows is None else int(np.count_nonzero(rows))
            )
        return Info(
            status=status,
            passes=read / self.source.nbytes,
            bytes_read=read,
            peak_bytes=peak_since(self.memory),
            projected_bytes=self.projected_bytes,
            elapsed_s=time.perf_counter() - self.start_time,
            n_rows=self.source.shape[0],
            route=self.route,
            axis=self.plan.layout.axis,
            precision="single" if terms.prep.single else "double",
            missing=missing,
            dropped_columns=dropped,
            widths=tuple(self.widths),
            seed=self.settings.seed,
            freedom=degrees_of_freedom(self.source.shape[0], self.options.row_weights),
            criterion=criterion,
        )
