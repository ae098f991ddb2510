"""One run on one source by one plan: what it reads, how long it takes, what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

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
from streamsvd.engine.layout import matrix_bytes
from streamsvd.engine.panel_cache import PanelCache, new_cache
from streamsvd.engine.passes import Pass, Sink
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run
from streamsvd.errors import ScaleError
from streamsvd.factor.options import SVDOptions
from streamsvd.factor.passes import PassSums
from streamsvd.factor.plan import Plan
from streamsvd.factor.problem import MatrixOptions
from streamsvd.factor.result import SVD
from streamsvd.factor.sample import Pilot, StartBlock
from streamsvd.factor.terms import Terms
from streamsvd.info import Info, Status
from streamsvd.numerics.blocks import Moments
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.support import degrees_of_freedom
from streamsvd.protocols import Source


@dataclass(frozen=True, slots=True, eq=False)
class Oversize:
    """What a pass ended with that met an entry too large to square: a run that goes on knows it without reading."""

    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """What the sample said: it is not drawn again by a run that goes on."""

    pilot: Pilot
    start: StartBlock | None
    bytes_read: int


SAVED_KINDS = (PassSums, Moments, Oversize, Beginning, Pilot, StartBlock)
"""Records among what is saved."""


@dataclass(slots=True, eq=False)
class Session:
    """The parts that last for the run, and its counters.

    Attributes
    ----------
    source, plan
        What is factorised, and how.
    matrix, options
        What is done to it, and all that was asked.
    form
        The class of the result.
    notify
        Receives events.
    sampled_bytes, sampled_before
        Bytes read beside passes; and by a run that was killed, from whose saves this one went on.
    view
        Which columns of the whole matrix these are.
    widths
        Largest relative width of the intervals after each look.
    passes
        Passes that the run rests on, saved ones too.
    cache
        Where panels stay, if the plan says so.
    """

    source: Source
    plan: Plan
    matrix: MatrixOptions
    options: SVDOptions
    notify: Callback = ignore_event
    sampled_bytes: int = 0
    view: View | None = None
    form: type[SVD] = SVD
    sampled_before: int = 0
    passes: int = 0
    cache: PanelCache | None = None
    widths: list[float] = field(default_factory=list)
    run: Run = field(init=False)
    route: str = field(init=False)

    def __post_init__(self) -> None:
        send_remarks(self.source, self.notify)
        plan = self.plan
        self.route, self.cache = plan.route, new_cache(plan.is_cached)
        self.run = Run(
            self.reader, plan.workers, plan.device, plan.projected_bytes, plan.task_bytes,
            self._notify_with_width, seed=self.options.seed,
        )  # fmt: skip

    @property
    def complex_(self) -> bool:
        """Whether the matrix is complex."""
        return bool(self.source.dtype.kind == "c")

    @property
    def reader(self) -> MatrixReader:
        """How the plan reads the matrix; its passes look for what is missing themselves."""
        return MatrixReader(self.source, self.plan.layout, self.plan.prefetch, cache=self.cache)

    def read(self, pass_: Pass[Any, PassSums], purpose: str) -> PassSums:
        """One pass; what it finds is saved under its number.

        Raises
        ------
        ScaleError
            If squares of an entry leave the range; it is saved too.
        """
        self.passes += 1
        name, run = f"pass {self.passes}", self.run
        if run.saves is None:
            return run(pass_, purpose)
        saved: Any = run.saved_value(name, None)
        if isinstance(saved, Oversize):
            raise ScaleError(saved.size)
        try:
            found: PassSums = run.once(name, pass_, purpose)
        except ScaleError as error:
            run.keep(name, Oversize(error.size))
            raise
        # what is saved stays as it is, whatever is done to these sums
        return replace(found, products=tuple(x.copy(order="K") for x in found.products))

    def read_rows(
        self, pass_: Pass[Any, PassSums], purpose: str, sink: Sink | None = None
    ) -> PassSums:
        """A pass that hands over rows: it is as large as a factor, and not saved."""
        self.passes += 1
        return self.run(pass_, purpose, sink=sink, is_saved=False)

    def begin(self, find: Callable[[], Beginning]) -> Beginning:
        """What the sample says, found once; there is one before each first pass."""
        name = f"sample before pass {self.passes + 1}"
        found: Beginning | None = self.run.saved_value(name, None)
        if found is not None:
            self.sampled_before += found.bytes_read
            return found
        found = find()
        self.sampled_bytes += found.bytes_read
        self.run.keep(name, found)
        return found

    def record_certificate(self, c: Certificate) -> None:
        """Keep and tell what is proved after a look."""
        self.widths.append(c.relative_width)
        self.notify(CertificateUpdated(self.passes, c.relative_width, c.excess, c.resolved_count))

    def switch_to_gram(self, reason: str) -> None:
        """Take the plan's other way from here on, the Gram matrix, and say so."""
        before, plan = self.plan, self.plan.fallback
        assert plan is not None
        if self.widths:
            self.route = f"{before.route}, then {plan.route}"
        else:
            self.route = plan.route
        self.plan, run = plan, self.run
        self.release_cache()  # its panels are of another cut
        self.cache = new_cache(plan.is_cached)
        run.reader, run.workers, run.needs = self.reader, plan.workers, plan.task_bytes
        run.projected_bytes = max(run.projected_bytes, plan.projected_bytes)
        self.notify(RouteChanged(before.route, plan.route, plan.layout.axis, reason))

    def release_cache(self) -> None:
        """Give back what passes left in memory."""
        if self.cache is not None:
            self.cache.clear()

    def _notify_with_width(self, event: Event) -> None:
        if isinstance(event, PassDone) and self.widths:
            event = replace(event, width_before=self.widths[-1])
        self.notify(event)

    def info(self, status: Status, terms: Terms, criterion: str = "") -> Info:
        """The record of the run."""
        read = self.run.bytes_read + self.sampled_bytes
        rests_on = read + self.run.cached_bytes + self.run.saved_bytes + self.sampled_before
        dropped = self.matrix.support.excluded_columns
        if terms.stats is not None:
            along_rows = terms.prep.axis == "rows"
            gone = terms.stats.frame.d == 0 if along_rows else terms.dropped_columns
            dropped = tuple(int(j) for j in np.flatnonzero(gone))
        missing, columns = terms.missing, None if self.view is None else self.view.columns
        if columns is not None:
            dropped = columns.all_dropped_indices(dropped)
            rows = self.matrix.support.rows
            missing += columns.n_empty * (
                self.source.shape[0] if rows is None else int(np.count_nonzero(rows))
            )
        return self.run.info(
            status,
            passes=rests_on / matrix_bytes(self.source, self.plan.layout),
            bytes_read=read,
            route=self.route,
            axis=self.plan.layout.axis,
            precision="single" if terms.prep.single else "double",
            nonfinite=self.matrix.nonfinite,
            missing=missing,
            dropped_columns=dropped,
            widths=tuple(self.widths),
            freedom=degrees_of_freedom(self.source.shape[0], self.matrix.row_weights),
            criterion=criterion,
        )
