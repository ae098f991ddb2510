"""What a factorisation will cost, decided before the first byte is read: passes, bytes, memory, time.

Alternatives are enumerated as values (which axis to stream, Gram matrix or Krylov space, how many spans at
once, with or without read-ahead, panels or tiles), each with its projected memory and time; the fastest
that fits is the plan, and the others stay in it with the reason they lost.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from functools import partial

import psutil

from streamsvd.blocks import Axis
from streamsvd.engine.arrangements import (
    Arrangement,
    Rates,
    Request,
    Route,
    arrangements,
    bytes_read_by,
    pass_seconds,
    seconds_of,
    ways,
)
from streamsvd.engine.asked import Asked
from streamsvd.engine.execute import concurrency
from streamsvd.engine.layout import Layout
from streamsvd.engine.memory import show_bytes
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to do it, and what is said of it."""

    route: Route
    axis: Axis
    seconds: float
    projected_bytes: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A factorisation, before it is run.

    Attributes
    ----------
    shape, dtype, nbytes
        Of the matrix.
    request
        What was asked.
    route, layout
        The algorithm and the cut of the matrix.
    block, probes, basis
        Columns of the start block, of the probes, and the most columns of the basis.
    sample_rows, sample_readers
        Rows (or columns, along columns) read for the start, and the threads that read them.
    workers, at_once, prefetch, device
        Spans that run at once in all, and in one process; read-ahead; where they compute.
    passes
        Passes expected, the sample as a fraction; the loop stops when the certificate does.
    bytes_read
        Decoded bytes of those passes.
    projected_bytes, budget_bytes
        Peak memory of a process above its imports, and what is allowed.
    seconds
        Time expected by the cost model.
    alternatives
        Every way considered, the chosen one first.
    route_asked
        The route, where the caller restricted the choice to it.
    pinned
        Leading vectors of the first look that every later basis holds beside its own columns.
    fallback
        The Gram matrix of the narrow side, where it fits and nothing else was asked: the run goes over to it when the
        passes still expected cost more. Its memory is its own ``projected_bytes``.
    gram_passes
        What that costs, in passes of the loop; None without a fallback.
    asked
        Every option that it was made for: a run takes them from here.
    """

    shape: tuple[int, int]
    dtype: str
    nbytes: int
    name: str
    request: Request
    route: Route
    layout: Layout
    block: int
    probes: int
    basis: int
    sample_rows: int
    sample_readers: int
    workers: int
    at_once: int
    prefetch: bool
    device: str
    passes: float
    bytes_read: int
    projected_bytes: int
    budget_bytes: int
    seconds: float
    alternatives: tuple[Alternative, ...]
    route_asked: Route | None = None
    pinned: int = 0
    fallback: Plan | None = None
    gram_passes: float | None = None
    asked: Asked | None = field(default=None, compare=False, repr=False)

    @property
    def tasks(self) -> int:
        """Tasks of one pass: spans and merges."""
        return 2 * len(self.layout.spans) - 1

    def explain(self) -> str:
        """The plan for people: what will happen, what it costs, what else was considered."""
        lay, req = self.layout, self.request
        what = f"rank {req.rank}" if not req.searching else f"rank at most {req.rank}"
        panel = f"{lay.panel:,} {lay.axis}"
        if lay.tile is not None:
            panel += f" in tiles of {lay.tile:,} columns, each read twice"
        lines = [
            f"{self.name}: {self.shape[0]:,} x {self.shape[1]:,} {self.dtype}, {show_bytes(self.nbytes)}",
            f"  asked      {what}, every singular value to a relative {req.tol:g}"
            f"{', certified' if req.bounds else ', estimated'}{', with U' if req.u else ''}",
            f"  route      {'Gram matrix' if self.route == 'gram' else 'sample start, block Krylov'} "
            f"along {lay.axis}"
            + ("" if self.route == "gram" else f", block {self.block}, probes {self.probes}"),
            f"  passes     {self.passes:.3g} expected, {show_bytes(self.bytes_read)} read"
            + ("" if self.route == "gram" else f"; at most {req.max_passes} until certified"),
            f"  panels     {panel} ({show_bytes(lay.panel * (lay.tile or lay.width) * self._item)}), "
            f"blocks of {lay.unit:,}",
            f"  tasks      {len(lay.spans)} spans a pass, {self.workers} at once on {self.device}, "
            f"read-ahead {'on' if self.prefetch else 'off'}",
            f"  memory     {show_bytes(self.projected_bytes)} projected, {show_bytes(self.budget_bytes)} allowed",
            *self._otherwise(),
            f"  time       about {self.seconds:.3g} s",
            "  considered",
        ]
        for alt in self.alternatives:
            text = (
                f"{alt.route} along {alt.axis}: {alt.seconds:.3g} s, {show_bytes(alt.projected_bytes)}; "
                f"{alt.verdict}"
            )
            lines += textwrap.wrap(text, 96, initial_indent="    ", subsequent_indent="      ")
        return "\n".join(lines)

    def _otherwise(self) -> list[str]:
        """What the run may go over to."""
        other, cost = self.fallback, self.gram_passes
        if other is None or cost is None:
            return []
        return [
            f"  otherwise  Gram matrix along {other.layout.axis} ({show_bytes(other.projected_bytes)}, as much as "
            f"{cost:.2g} passes), where more passes than that are expected"
        ]

    @property
    def _item(self) -> int:
        return self.nbytes // (self.shape[0] * self.shape[1])

    def __str__(self) -> str:
        return self.explain()


def default_budget() -> int:
    """Half of the memory that is free now."""
    return int(psutil.virtual_memory().available // 2)


def make_plan(
    source: Source,
    request: Request,
    *,
    budget: int,
    device: str = "cpu",
    rates: Rates | None = None,
    axis: Axis | None = None,
    route: Route | None = None,
    asked: Asked | None = None,
) -> Plan:
    """The fastest arrangement that fits the budget; reads nothing.

    Parameters
    ----------
    source
        The matrix.
    request
        What is asked.
    budget
        Bytes that a process may use above its imports.
    device
        ``"cpu"`` or ``"cuda"``.
    rates
        Speeds for the cost model; typical ones if left out.
    axis, route
        Restrict the choice.
    asked
        The options of the caller, for the plan to keep.

    Raises
    ------
    BudgetError
        If nothing fits; it names the smallest budget that does.
    """
    rates = rates or Rates()
    total, per_process = concurrency()
    fitting: list[tuple[float, Arrangement]] = []
    smallest: Arrangement | None = None
    lost: list[Alternative] = []
    grams: list[tuple[float, Arrangement]] = []
    for way, along in ways(source, request, axis, route):
        timed = [
            (seconds_of(source, request, shape, rates, total, per_process), shape)
            for shape in arrangements(
                source,
                request,
                way,
                along,
                threads=(total, per_process),
                budget=budget,
                device=device,
            )
        ]
        if way == "gram":
            grams += timed
        within = [pair for pair in timed if pair[1].projected <= budget]
        if within:
            fitting.append(min(within, key=lambda pair: pair[0]))
            continue
        seconds, frugal = min(timed, key=lambda pair: pair[1].projected)
        if smallest is None or frugal.projected < smallest.projected:
            smallest = frugal
        verdict = f"does not fit, needs {show_bytes(frugal.projected)}"
        lost.append(Alternative(way, along, seconds, frugal.projected, verdict))
    if not fitting:
        assert smallest is not None
        raise BudgetError(
            f"factorising {source.name} ({source.shape[0]:,} x {source.shape[1]:,} {source.dtype}) at rank {request.rank}",
            smallest.projected,
            budget,
            f"The smallest budget that works is memory={smallest.projected}.",
        )
    fitting.sort(key=lambda pair: pair[0])
    seconds, best = fitting[0]
    shown = [Alternative(best.route, best.layout.axis, seconds, best.projected, "chosen")]
    for slower, shape in fitting[1:]:
        shown.append(
            Alternative(
                shape.route,
                shape.layout.axis,
                slower,
                shape.projected,
                f"{slower / seconds:.2g} times slower",
            )
        )
    made = partial(
        _plan,
        source,
        request,
        budget=budget,
        device=device,
        threads=(total, per_process),
        route_asked=route,
        asked=asked,
    )
    plan = made(best, seconds=seconds, alternatives=(*shown, *lost))
    if best.route == "gram":
        return plan
    # The vectors of the last look stay until the Gram matrix has better ones.
    kept = 2 * best.layout.width * min(request.rank, best.sizes.basis) * best.sizes.wide
    grams = [pair for pair in grams if pair[1].projected + kept <= budget]
    if not grams:
        return plan
    after, gram = min(grams, key=lambda pair: pair[0])
    costs = [
        pass_seconds(source, request, shape, rates, total, per_process) for shape in (gram, best)
    ]
    fallback = made(replace(gram, projected=gram.projected + kept), seconds=after, alternatives=())
    return replace(plan, fallback=fallback, gram_passes=costs[0] / costs[1])


def _plan(
    source: Source,
    request: Request,
    shape: Arrangement,
    *,
    budget: int,
    device: str,
    threads: tuple[int, int],
    route_asked: Route | None,
    asked: Asked | None,
    seconds: float,
    alternatives: tuple[Alternative, ...],
) -> Plan:
    """An arrangement as a plan; ``threads`` in all and in one process."""
    total, per_process = threads
    read = bytes_read_by(source, request, shape)
    return Plan(
        shape=source.shape,
        dtype=str(source.dtype),
        nbytes=source.nbytes,
        name=source.name,
        request=request,
        route=shape.route,
        layout=shape.layout,
        block=shape.sizes.block,
        probes=shape.sizes.probes,
        basis=shape.sizes.basis,
        sample_rows=shape.sample_rows,
        sample_readers=shape.sample_readers,
        workers=min(total, shape.at_once * max(1, total // per_process)),
        at_once=shape.at_once,
        prefetch=shape.prefetch,
        device=device,
        passes=read / source.nbytes,
        bytes_read=read,
        projected_bytes=shape.projected,
        budget_bytes=budget,
        seconds=seconds,
        alternatives=alternatives,
        route_asked=route_asked,
        pinned=shape.sizes.pinned,
        asked=asked,
    )
