"""What a factorisation will cost, decided before the first byte is read: passes, bytes, memory, time.

Alternatives are enumerated as values (which axis to stream, Gram matrix or Krylov space, how many spans at
once, with or without read-ahead, panels or tiles), each with its projected memory and time; the fastest
that fits is the plan, and the others stay in it with the reason they lost.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field, replace
from functools import partial

from streamsvd.engine.budget import allowed_bytes, worker_share
from streamsvd.engine.cluster_plan import ClusterPlan
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.layout import Layout, matrix_bytes
from streamsvd.engine.machines import machines_in_force
from streamsvd.engine.memory import parse_bytes, show_bytes
from streamsvd.engine.run_plan import CACHE_NOTE
from streamsvd.errors import BudgetError
from streamsvd.factor.candidates import (
    USUAL_THREADS,
    PlanCandidate,
    Speeds,
    bytes_passed_by,
    bytes_read_by,
    cache_variant,
    kept_sum_bytes,
    pass_seconds,
    plan_candidates,
    routes_and_axes,
    seconds_of,
    thread_variants,
)
from streamsvd.factor.options import Route, SVDOptions
from streamsvd.factor.plan_load import cluster_plan, dense_remedy, worker_bytes
from streamsvd.factor.plan_options import missing_value_notes
from streamsvd.factor.problem import MatrixOptions
from streamsvd.numerics.blocks import Axis
from streamsvd.protocols import Source


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to do it, the seconds that it would take on two threads, and what is said of it."""

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
    options
        What was asked, with the bytes and the tolerance that were left open: a run takes every option from here.
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
        Decoded bytes that they ask of the store.
    projected_bytes, budget_bytes
        Peak memory of a process above its imports, and what is allowed.
    seconds
        Time expected by the cost model.
    alternatives
        Every way considered, the chosen one first.
    pins
        Leading vectors of the first look that every later basis holds beside its own columns.
    fallback
        The Gram matrix of the narrow side, where it fits and nothing else was asked: the run goes over to it when the
        passes still expected cost more. Its memory is its own ``projected_bytes``.
    gram_passes
        What that costs, in passes of the loop; None without a fallback.
    task_bytes
        Of the projected bytes, those that a worker of a cluster needs.
    is_cached
        Whether the first pass leaves the matrix in memory, so that the others ask nothing of the store.
    cluster
        What a pass costs on the cluster that it was planned for; None where passes run in this process.
    """

    shape: tuple[int, int]
    dtype: str
    nbytes: int
    name: str
    options: SVDOptions = field(hash=False)
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
    pins: int = 0
    fallback: Plan | None = None
    gram_passes: float | None = None
    task_bytes: int = 0
    is_cached: bool = False
    cluster: ClusterPlan | None = field(default=None, compare=False)

    @property
    def rank(self) -> int:
        """Triplets wanted; where the rank is searched, the most that are tried."""
        return self.options.rank_limit(self.shape)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the number of passes beside it, a sentence each."""
        return missing_value_notes(self.options, self.layout.axis, self.route, self.dtype)

    @property
    def tasks(self) -> int:
        """Tasks of one pass: spans and merges."""
        return 2 * len(self.layout.spans) - 1

    def explain(self) -> str:
        """The plan for people: what will happen, what it costs, what else was considered."""
        lay, asked = self.layout, self.options
        what = f"rank at most {self.rank}" if asked.searches_rank else f"rank {self.rank}"
        panel = f"{lay.panel:,} {lay.axis}"
        if lay.tile is not None:
            panel += f" in tiles of {lay.tile:,} columns, each read twice"
        lines = [
            f"{self.name}: {self.shape[0]:,} x {self.shape[1]:,} {self.dtype}, {show_bytes(self.nbytes)}",
            f"  asked      {what}, every singular value to a relative {asked.width_tol:g}"
            f"{', certified' if asked.wants_bounds else ', estimated'}{', with U' if asked.u else ''}",
            f"  route      {'Gram matrix' if self.route == 'gram' else 'sample start, block Krylov'} "
            f"along {lay.axis}"
            + ("" if self.route == "gram" else f", block {self.block}, probes {self.probes}"),
            f"  passes     {self.passes:.3g} expected, {show_bytes(self.bytes_read)} read"
            + ("" if self.route == "gram" else f"; at most {asked.max_passes} until certified"),
            f"  panels     {panel} ({show_bytes(self._panel_bytes)}), blocks of {lay.unit:,}"
            f"{'' if lay.stored is None else ', without their zeros'}",
            f"  tasks      {len(lay.spans)} spans a pass, {self.workers} at once on {self.device}, "
            f"read-ahead {'on' if self.prefetch else 'off'}",
            f"  memory     {show_bytes(self.projected_bytes)} projected, {show_bytes(self.budget_bytes)} allowed",
            *([f"  cache      {CACHE_NOTE}"] if self.is_cached else []),
            *self._otherwise(),
            *(f"  note       {note}" for note in self.notes),
            f"  time       about {self.seconds:.3g} s",
            *(f"  {line}" for line in ([] if self.cluster is None else self.cluster.explain())),
            "  considered, with seconds on two threads",
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
    def _panel_bytes(self) -> int:
        """Bytes of a panel, on average."""
        lay = self.layout
        return self.nbytes * lay.panel * (lay.tile or lay.width) // (lay.length * lay.width)

    def __str__(self) -> str:
        return self.explain()


def make_plan(
    source: Source,
    options: SVDOptions,
    matrix: MatrixOptions,
    *,
    axis: Axis | None = None,
    rates: Speeds | None = None,
) -> Plan:
    """The fastest arrangement that fits the budget; reads nothing.

    Parameters
    ----------
    source
        The matrix.
    options, matrix
        What is asked, and of it what is done to the matrix, fit to its columns.
    axis
        Restricts the choice.
    rates
        Speeds for the cost model; typical ones if left out.

    Raises
    ------
    BudgetError
        If nothing fits; it names the smallest budget that does.
    """
    rates = rates or Speeds()
    threads = concurrency()
    # Of this process; what its tasks take on a cluster is held against the limit of a worker, below.
    budget = int(allowed_bytes(None)) if options.memory is None else parse_bytes(options.memory)
    options = replace(options, memory=budget, tol=options.width_tol)
    rank = options.rank_limit(source.shape)
    machines = machines_in_force()
    limit, beyond = worker_share(), list[int]()

    def realised(shape: PlanCandidate, kept: int = 0) -> PlanCandidate | None:
        """It on the threads there are, beside so many bytes; None where that does not fit."""
        shapes = thread_variants(source, options, shape, threads=threads[1], budget=budget)
        fit = [found for found in shapes if found.projected_bytes + kept <= budget]
        if limit is not None:
            needs = [worker_bytes(found, threads[1]) for found in fit]
            beyond.extend(needs)
            fit = [found for found, need in zip(fit, needs, strict=True) if need <= limit]
        return min(fit, key=lambda s: seconds_of(source, options, s, rates, *threads), default=None)

    fitting: list[tuple[float, PlanCandidate, PlanCandidate]] = []
    smallest: int | None = None
    at_home = math.inf
    lost: list[Alternative] = []
    grams: list[tuple[float, PlanCandidate]] = []
    for way, along in routes_and_axes(source, axis, options.route):
        timed = [
            (seconds_of(source, options, shape, rates, *USUAL_THREADS), shape)
            for shape in plan_candidates(source, options, matrix, way, along, budget=budget)
        ]
        timed.sort(key=lambda pair: pair[0])
        if way == "gram":
            grams += timed
        within = (
            (s, shape, realised(shape)) for s, shape in timed if shape.projected_bytes <= budget
        )
        first = next(((s, shape, real) for s, shape, real in within if real is not None), None)
        if first is not None:
            fitting.append(first)
            continue
        seconds, frugal = min(timed, key=lambda pair: pair[1].projected_bytes)
        fewest = 1 if machines is None else threads[1]  # threads of a worker are what they are
        frugals = list(thread_variants(source, options, frugal, threads=fewest, budget=budget))
        needs = [worker_bytes(shape, fewest) for shape in frugals]
        beyond.extend(needs)
        pairs = zip(frugals, needs, strict=True)
        least = min(max(shape.projected_bytes, need) for shape, need in pairs)
        smallest = least if smallest is None else min(smallest, least)
        verdict = f"does not fit, needs {show_bytes(least)}"
        at_home = min(at_home, min(shape.home for _, shape in timed))
        lost.append(Alternative(way, along, seconds, least, verdict))
    if not fitting:
        assert smallest is not None
        what = f"factorising {source.name} ({source.shape[0]:,} x {source.shape[1]:,} {source.dtype}) at rank {rank}"
        if limit is not None and min(beyond) > limit:
            raise BudgetError(
                f"{what}, on all threads of a worker at once,", min(beyond), limit, ""
            )
        raise BudgetError(
            what,
            smallest,
            budget,
            f"The smallest budget that works is memory={smallest}.{dense_remedy(at_home, budget)}",
        )
    fitting.sort(key=lambda pair: pair[0])
    fastest, usual, best = fitting[0]
    shown = [Alternative(best.route, best.layout.axis, fastest, best.projected_bytes, "chosen")]
    for slower, _, shape in fitting[1:]:
        shown.append(
            Alternative(
                shape.route,
                shape.layout.axis,
                slower,
                shape.projected_bytes,
                f"{slower / fastest:.2g} times slower",
            )
        )
    made = partial(_plan, source, options, rates=rates, budget=budget, threads=threads)
    alternatives = (*shown, *lost)
    cached = cache_variant(source, options, best, budget=budget)
    plan = made(cached or best, alternatives=alternatives)
    cluster = cluster_plan(source, options, best, rates, passes=plan.passes)
    if cluster is not None:
        plan = replace(plan, cluster=cluster, seconds=plan.passes * cluster.pass_seconds)
    if best.route == "gram":
        return plan
    # The vectors of the last look stay until the Gram matrix has better ones.
    kept = 2 * best.layout.width * min(rank, best.sizes.basis) * best.sizes.wide
    kept += kept_sum_bytes("krylov", best.layout, best.sizes, options)
    grams.sort(key=lambda pair: pair[0])
    beside = ((s, realised(s, kept)) for _, s in grams if s.projected_bytes + kept <= budget)
    other, gram = next(((s, real) for s, real in beside if real is not None), (None, None))
    if other is None or gram is None:
        return plan
    costs = [
        pass_seconds(source, options, shape, rates, *USUAL_THREADS) for shape in (other, usual)
    ]
    gram = cache_variant(source, options, gram, budget=budget - kept) or gram
    fallback = made(replace(gram, projected_bytes=gram.projected_bytes + kept), alternatives=())
    return replace(plan, fallback=fallback, gram_passes=costs[0] / costs[1])


def _plan(
    source: Source,
    options: SVDOptions,
    shape: PlanCandidate,
    *,
    rates: Speeds,
    budget: int,
    threads: tuple[int, int],
    alternatives: tuple[Alternative, ...],
) -> Plan:
    """An arrangement as a plan; ``threads`` in all and in one process."""
    total, per_process = threads
    return Plan(
        shape=source.shape,
        dtype=str(source.dtype),
        nbytes=matrix_bytes(source, shape.layout),
        name=source.name,
        options=options,
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
        device=options.device,
        passes=bytes_passed_by(source, options, shape) / matrix_bytes(source, shape.layout),
        bytes_read=bytes_read_by(source, options, shape),
        projected_bytes=shape.projected_bytes,
        budget_bytes=budget,
        seconds=seconds_of(source, options, shape, rates, *threads),
        alternatives=alternatives,
        pins=shape.sizes.pinned_vectors,
        task_bytes=shape.tasks,
        is_cached=shape.is_cached,
    )
