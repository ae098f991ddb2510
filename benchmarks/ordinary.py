"""T12: ordinary data at the defaults: is what was asked proved, is every statement true, and in how many reads?

``python -m benchmarks.ordinary quick`` runs 14 kinds of data in three shapes, with the least memory that works, twice
that and plenty, and prints a table of one line for each kind; ``full`` takes more and larger sizes, and 1e-6 too. Every
run is held against the truth: that of the construction where it is exact, else LAPACK's of the Gram matrix of the narrow
side in float64. Beside it stand the same runs by one route alone. ``--json FILE`` keeps a line for each run.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import streamsvd
from benchmarks.ordinary_data import DATA, EPS, LARGE, LARGE_SHAPES, SHAPES, Held, Size, hold
from benchmarks.statements import violated
from benchmarks.tables import Row, Table, judged
from benchmarks.tables import Size as RunSize
from streamsvd.engine.events import CertificateUpdated, Event, RouteChanged
from streamsvd.engine.memory import parse_bytes
from streamsvd.errors import BudgetError, NotConverged
from streamsvd.factor.plan import Plan
from streamsvd.numerics.intervals import ZERO_LEVEL
from streamsvd.options import EXCESS_TOL

MEMORY: dict[Size, tuple[str, ...]] = {
    "tiny": ("plenty",),
    "short": ("least",),
    "quick": ("least", "twice", "plenty"),
    "full": ("least", "twice", "plenty"),
}
TOLERANCES: dict[Size, tuple[float, ...]] = {
    "tiny": (1e-3,),
    "short": (1e-3,),
    "quick": (1e-3,),
    "full": (1e-3, 1e-6),
}
LARGE_MEMORY = {"large": ("least", "plenty"), "largest": ("plenty",)}
"""By shape; these are run at 1e-3 only."""

PLENTY = "1GiB"
READS = 4.2
RATIO = 1.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, as asked, as planned, as measured, and what of it is not true.

    Attributes
    ----------
    status
        ``"converged"``, ``"not converged"``, ``"refused"`` (nothing fits the memory) or ``"crashed"``.
    criterion
        ``"values"`` or ``"error"``: what of that which was asked is proved.
    asked_route
        The one route allowed; empty at the defaults.
    gram_fits
        Whether the Gram matrix of the narrow side fits memory and rounding.
    widths, excesses
        After each look.
    why
        Why the run went over to another route, where it did.
    violations
        Statements that the truth contradicts.
    """

    data: str
    shape: str
    m: int
    n: int
    rank: int
    dtype: str
    memory: str
    budget_bytes: int
    tol: float
    asked_route: str
    status: str
    gram_fits: bool = False
    criterion: str = ""
    route: str = ""
    axis: str = ""
    planned_route: str = ""
    planned_reads: float = float("nan")
    reads: float = float("nan")
    wall_s: float = float("nan")
    cpu_s: float = float("nan")
    peak_bytes: int = 0
    projected_bytes: int = 0
    widths: tuple[float, ...] = ()
    excesses: tuple[float, ...] = ()
    why: str = ""
    resolved: int = 0
    excess: float = float("nan")
    violations: tuple[str, ...] = ()
    message: str = ""

    @property
    def converged(self) -> bool:
        """Whether what was asked is proved."""
        return self.status == "converged"

    @property
    def where(self) -> str:
        """What was run, in words."""
        route = f", {self.asked_route} alone" if self.asked_route else ""
        return (
            f"{self.data}, {self.m} x {self.n}, k = {self.rank}, tol {self.tol:g}, "
            f"{self.memory} memory ({self.budget_bytes / 2**20:.1f} MiB){route}"
        )


def run(held: Held, memory: str, tol: float, route: str | None = None, **options: Any) -> Outcome:
    """One factorisation through the public functions, held against the truth.

    Parameters
    ----------
    held
        The matrix.
    memory
        ``"least"`` that works, ``"twice"`` that, ``"plenty"``, or as in `streamsvd.svd`.
    tol, route, options
        As in `streamsvd.svd`.
    """
    k, pca = held.data.rank, held.data.pca
    given = {"tol": tol, **held.options, **options}
    planned = {name: value for name, value in given.items() if name not in ("delta", "seed")}
    budget = budget_of(held, memory, planned)
    asked: dict[str, Any] = {
        "data": held.data.name,
        "shape": held.shape.name,
        "m": held.shape.m,
        "n": held.shape.n,
        "rank": k,
        "dtype": str(held.dtype),
        "memory": memory,
        "budget_bytes": budget,
        "tol": tol,
        "asked_route": route or "",
    }
    verb = streamsvd.pca if pca else streamsvd.svd
    try:
        plan = streamsvd.plan_svd(held.path, k, memory=budget, center=pca, route=route, **planned)
    except BudgetError as error:
        return Outcome(**asked, status="refused", message=str(error))
    asked |= {
        "gram_fits": gram_fits(held, plan, tol),
        "planned_route": plan.route,
        "planned_reads": plan.passes,
    }
    status, message = "converged", ""
    looks: list[CertificateUpdated] = []
    changes: list[RouteChanged] = []

    def keep(event: Event) -> None:
        if isinstance(event, CertificateUpdated):
            looks.append(event)
        elif isinstance(event, RouteChanged):
            changes.append(event)

    _let_go()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result: Any = verb(held.path, k, memory=budget, route=route, callback=keep, **given)
    except NotConverged as error:
        status, message, result = "not converged", error.message, error.result
    except Exception as error:  # the sweep goes on, and counts it
        return Outcome(**asked, status="crashed", message=f"{type(error).__name__}: {error}")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = result.svd if pca else result
    info, c = result.info, result.certificate
    return Outcome(
        **asked,
        status=status,
        criterion=info.criterion,
        route=info.route,
        axis=info.axis,
        reads=info.passes,
        wall_s=wall,
        cpu_s=cpu,
        peak_bytes=info.peak_bytes,
        projected_bytes=info.projected_bytes,
        widths=tuple(info.widths),
        excesses=tuple(look.excess for look in looks),
        why="; ".join(change.reason for change in changes),
        resolved=int(c.resolved.sum()),
        excess=c.excess,
        violations=(*violated(held, result, tol), *_broken(result, status, budget)),
        message=message,
    )


def _let_go() -> None:
    """Memory that earlier runs left with malloc goes back, so that the peak of the next one is its own."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another malloc keeps less
        return


def _broken(result: Any, status: str, budget: int) -> list[str]:
    """What a result says of itself that it does not keep."""
    info, c, wrong = result.info, result.certificate, []
    if status == "converged":
        kept = {
            "values": bool(c.resolved.all()),
            "error": c.excess <= EXCESS_TOL or c.error_vanishes,
        }.get(info.criterion, False)
        if not kept:
            wrong.append(
                f"criterion: {info.criterion!r} with {c.resolved.sum()} resolved, excess {c.excess:.3g}"
            )
    elif info.criterion:
        wrong.append(f"criterion: {info.criterion!r}, but not converged")
    if not info.peak_bytes <= info.projected_bytes <= budget:
        wrong.append(
            f"memory: {info.peak_bytes} measured, {info.projected_bytes} projected, {budget} allowed"
        )
    return wrong


def budget_of(held: Held, memory: str, given: dict[str, Any]) -> int:
    """Bytes of ``"least"``, ``"twice"``, ``"plenty"``, or of anything that `streamsvd.svd` takes."""
    times = {"least": 1, "twice": 2}.get(memory)
    if times is None:
        return parse_bytes(PLENTY if memory == "plenty" else memory)
    try:
        streamsvd.plan_svd(held.path, held.data.rank, memory=1, center=held.data.pca, **given)
    except BudgetError as error:
        return times * error.needs
    raise AssertionError("a plan fits one byte")


def gram_fits(held: Held, plan: Plan, tol: float) -> bool:
    """Whether a Gram pass along the long side fits the memory and tells the values apart to ``tol``."""
    m, n = held.shape.m, held.shape.n
    s = held.truth.s[: held.data.rank]
    alive = s[s > ZERO_LEVEL * s[0]]
    if 8 * EPS / 2 * np.sqrt(max(m, n)) * held.truth.energy > tol * alive[-1] ** 2:
        return False
    along = "rows" if m >= n else "columns"
    return any(
        (way.route, way.axis) == ("gram", along) and way.projected_bytes <= plan.budget_bytes
        for way in plan.alternatives
    )


def sweep(
    size: Size,
    *,
    only: Sequence[str] = (),
    routes: bool = True,
    shapes: Sequence[str] = (),
    memory: Sequence[str] = (),
    tolerances: Sequence[float] = (),
    large: bool | None = None,
) -> Iterator[Outcome]:
    """All runs of a size, or those whose data have one of the words in ``only`` in their name.

    Parameters
    ----------
    size
        One of `SHAPES`.
    only, shapes, memory, tolerances
        Restrict the runs.
    routes
        Whether each is run by one route alone as well.
    large
        Whether `LARGE_SHAPES` are run; by default in a full sweep.
    """
    cases = [(data, shape) for data in DATA for shape in SHAPES[size]]
    if large if large is not None else size == "full":
        cases += [(data, shape) for shape in LARGE_SHAPES for data in LARGE]
    for data, shape in cases:
        if only and not any(word in data.name for word in only):
            continue
        if shapes and shape.name not in shapes:
            continue
        usual = LARGE_MEMORY.get(shape.name, MEMORY[size])
        budgets = [budget for budget in usual if not memory or budget in memory]
        asked = (1e-3,) if shape.name in LARGE_MEMORY else TOLERANCES[size]
        with tempfile.TemporaryDirectory() as folder:
            held = hold(data, shape, Path(folder))
            for budget, tol in itertools.product(budgets, tolerances or asked):
                yield run(held, budget, tol)
                for route in ("krylov", "gram") if routes else ():
                    yield run(held, budget, tol, route)


@dataclass(frozen=True, slots=True)
class Line:
    """What a sweep found of one kind of data."""

    data: str
    runs: int
    converged: int
    owed: int
    """Runs that did not converge though the Gram matrix of the narrow side fits."""
    values: int
    error: int
    reads: float
    most_reads: float
    single_reads: float
    """Of the best single route, on average; nan where none was run."""
    cpu_ratio: float
    """CPU over that of the best single route: the median, and the most."""
    most_cpu_ratio: float
    violations: int
    crashes: int
    memory: tuple[float, float]
    """Least and most of the peak over its projection."""


def summary(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line for each kind of data, in the order of the sweep."""
    names = dict.fromkeys(o.data for o in outcomes)
    return [_line(name, [o for o in outcomes if o.data == name]) for name in names]


def _line(name: str, outcomes: Sequence[Outcome]) -> Line:
    own = [o for o in outcomes if not o.asked_route and o.status != "refused"]
    ran = [o for o in own if o.status != "crashed"]
    pairs = [(o, best) for o in ran if (best := _best(o, outcomes)) is not None]
    ratios = [o.cpu_s / min(b.cpu_s for b in best) for o, best in pairs]
    single = [min(b.reads for b in best) for _, best in pairs]
    peaks = [o.peak_bytes / o.projected_bytes for o in ran]
    nan = float("nan")
    return Line(
        data=name,
        runs=len(own),
        converged=sum(o.converged for o in own),
        owed=sum(o.gram_fits and not o.converged for o in own),
        values=sum(o.criterion == "values" for o in own),
        error=sum(o.criterion == "error" for o in own),
        reads=statistics.fmean(o.reads for o in ran) if ran else nan,
        most_reads=max((o.reads for o in ran), default=nan),
        single_reads=statistics.fmean(single) if single else nan,
        cpu_ratio=statistics.median(ratios) if ratios else nan,
        most_cpu_ratio=max(ratios, default=nan),
        violations=sum(len(o.violations) for o in outcomes),
        crashes=sum(o.status == "crashed" for o in outcomes),
        memory=(min(peaks, default=nan), max(peaks, default=nan)),
    )


def _best(one: Outcome, outcomes: Sequence[Outcome]) -> list[Outcome] | None:
    """The runs of the same job by one route alone that proved as much."""
    same = [
        o
        for o in outcomes
        if (o.shape, o.memory, o.tol, o.rank, o.dtype)
        == (one.shape, one.memory, one.tol, one.rank, one.dtype)
        and o.asked_route
        and o.converged
        and (o.criterion == "values" or one.criterion != "values")
    ]
    return same or None


def markdown(lines: Sequence[Line]) -> str:
    """The table for people."""
    out = [
        "| data | converged | values / error | reads: mean, most | best single route: reads | CPU over it: median, most "
        "| peak / projected | violated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        owed = f" ({line.owed} with a Gram matrix that fits)" if line.owed else ""
        crashed = f", {line.crashes} CRASHED" if line.crashes else ""
        out.append(
            f"| {line.data} | {line.converged} of {line.runs}{owed}{crashed} | {line.values} / {line.error} "
            f"| {line.reads:.2f}, {line.most_reads:.2f} | {line.single_reads:.2f} "
            f"| {line.cpu_ratio:.2f}, {line.most_cpu_ratio:.2f} "
            f"| {line.memory[0]:.2f} to {line.memory[1]:.2f} | {line.violations} |"
        )
    return "\n".join(out)


def mean_reads(outcomes: Sequence[Outcome], tol: float = 1e-3, memory: str = "") -> float:
    """Reads on average at a tolerance, at the defaults; with one of the budgets alone where it is named."""
    ran = [o for o in outcomes if o.tol == tol and not o.asked_route and np.isfinite(o.reads)]
    return statistics.fmean(o.reads for o in ran if memory in ("", o.memory))


def complaints(outcomes: Sequence[Outcome]) -> list[str]:
    """Everything that should not be: statements that are not true, crashes, runs that should have converged."""
    out = []
    for o in outcomes:
        out += [f"{o.where}: {violation}" for violation in o.violations]
        if o.status == "crashed":
            out.append(f"{o.where}: {o.message}")
        if not o.asked_route and not o.converged and o.gram_fits:
            widths = " ".join(f"{width:.2g}" for width in o.widths)
            out.append(f"{o.where}: {o.status} by {o.route} after {o.reads:.2f} reads ({widths})")
    return out


def table(
    size: RunSize = "full", rounds: int = 1, cases: Sequence[str] = (), of: Size | None = None
) -> Table:
    """What the sweep found, judged; ``cases`` are names of data, ``of`` another size of the sweep."""
    del rounds
    chosen: Size = of or ("full" if size == "full" else "quick")
    outcomes = list(sweep(chosen, only=cases))
    lines, rows = summary(outcomes), []
    for line in lines:
        rows.append(
            Row(
                line.data,
                "converged where the Gram matrix of the narrow side fits; every statement true",
                f"{line.converged} of {line.runs}, {line.owed} owed, {line.violations} statements violated; "
                f"by values {line.values}, by error {line.error}",
                judged(not (line.owed or line.violations or line.crashes)),
            )
        )
        rows.append(
            Row(
                line.data,
                f"cost <= {RATIO} of the best single route",
                f"CPU {line.cpu_ratio:.2f} in the median, {line.most_cpu_ratio:.2f} at most; reads {line.reads:.2f} "
                f"(at most {line.most_reads:.2f}), single {line.single_reads:.2f}",
                judged(line.cpu_ratio <= RATIO, size=size),
            )
        )
    reads = mean_reads(outcomes)
    rows.append(
        Row("all, tol 1e-3", f"<= {READS} reads on average", f"{reads:.2f}", judged(reads <= READS))
    )
    return Table(
        "T12", "ordinary data", rows, complaints(outcomes), {o.where: asdict(o) for o in outcomes}
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the sweep and print a line for each kind of data."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ordinary", description=main.__doc__)
    parser.add_argument("size", nargs="?", choices=tuple(SHAPES), default="quick")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="data with these words in their names"
    )
    parser.add_argument("--shape", nargs="+", default=(), metavar="SHAPE")
    parser.add_argument("--memory", nargs="+", default=(), metavar="BUDGET")
    parser.add_argument("--tol", nargs="+", type=float, default=())
    parser.add_argument("--no-routes", action="store_true", help="leave single routes out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append a line for every run")
    options = parser.parse_args(arguments)
    outcomes: list[Outcome] = []
    for outcome in sweep(
        options.size,
        only=options.only,
        routes=not options.no_routes,
        shapes=options.shape,
        memory=options.memory,
        tolerances=options.tol,
    ):
        outcomes.append(outcome)
        print(_said(outcome), file=sys.stderr, flush=True)
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(json.dumps(asdict(outcome), default=str) + "\n")
    print(markdown(summary(outcomes)))
    for tol in dict.fromkeys(o.tol for o in outcomes):
        each = ", ".join(
            f"{mean_reads(outcomes, tol, memory):.2f} with {memory} memory"
            for memory in dict.fromkeys(o.memory for o in outcomes)
        )
        print(f"\n{mean_reads(outcomes, tol):.2f} reads on average at {tol:g}: {each}")
    wrong = complaints(outcomes)
    if wrong:
        print("\n" + "\n".join(f"- {line}" for line in wrong))
    sys.exit(bool(wrong))


def _said(o: Outcome) -> str:
    return (
        f"{o.where}: {o.status} {o.criterion} by {o.route or '-'} (planned {o.planned_route or '-'}), "
        f"{o.reads:.2f} reads ({o.planned_reads:.2f} planned), {o.cpu_s:.2f} s CPU"
        + (f"; {len(o.violations)} VIOLATED" if o.violations else "")
    )


if __name__ == "__main__":
    main()
