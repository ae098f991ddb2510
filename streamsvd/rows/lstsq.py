"""The verb ``lstsq``: least squares with a tall matrix, by its triangle in one pass or by a sketch and a few more."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from streamsvd.checks.foreign import check_object
from streamsvd.checks.masks import as_array
from streamsvd.checks.real import check_real
from streamsvd.checks.sizes import check_size
from streamsvd.engine.columns import (
    View,
    over_columns_with_values,
    plan_over_columns,
    with_columns,
)
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, running
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, open_saves, try_saves
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.engine.triangle_pass import TrianglePass
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.info import Info
from streamsvd.info import Status as RunStatus
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.triangle import (
    Triangle,
    block_height,
    join_triangles,
    reduce_block,
    tower_bytes,
)
from streamsvd.protocols import Source
from streamsvd.rows.mathematics import (
    MOST_ITERATIONS,
    NONZEROS,
    DescentSums,
    LeastSquaresDescent,
    SparseSignSketch,
    TriangleSolution,
    least_singular,
    solve_triangle,
)
from streamsvd.rows.options import LeastSquaresOptions, Method
from streamsvd.rows.passes import DescentPass, SparseSignPass
from streamsvd.store.results.saving import LabelledResult
from streamsvd.typing import Matrix, Real

Outcome = Literal["solved", "stagnated", "tolerance", "sketched", "capped"]
MOST_TRIANGLES, MOST_SKETCHES = 16, 4
"""Tasks of a pass: what they found waits to be joined, and a sketch is eight times as large as a triangle."""
TRIANGLE_COLUMNS = 2000
"""Columns up to which the triangle of all rows is affordable: one pass, and backward stable."""


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquaresResult(LabelledResult):
    """What minimises ``||A x - b||^2 + ridge ||x||^2``, for each right-hand side.

    Attributes
    ----------
    x
        ``(n,)``, or ``(n, q)`` as b came; of least norm where A has not full rank.
    residual_norm
        Square root of what was minimised, ``(q,)``; an estimate after ``"sketch"``.
    forward_error
        ``||x - x*||_2`` from the exact minimiser, ``(q,)``: an upper bound where `proved`, else an estimate; infinite where the
        rank is not full.
    is_proved
        Whether the forward error is a bound: after ``"qr"``. It takes rounding as eight times the largest observed.
    outcome
        ``"solved"`` by the triangle; iterated until it ``"stagnated"`` in rounding or met the ``"tolerance"``; ``"sketched"``;
        ``"capped"`` after as many iterations as are allowed.
    iterations
        Passes of the iteration; 0 without one.
    rank
        Numerical rank of A, ridge included.
    gradients
        ``||W* A* r||`` of each right-hand side after each pass of the iteration, W the preconditioner; empty without one.
    options, info
        What was asked, the method that was chosen in place of ``"auto"``, and how it came about.
    labels
        What the matrix says of its columns: dimensions, coordinates, names, units.
    """

    x: Matrix
    residual_norm: Real
    forward_error: Real
    is_proved: bool
    outcome: Outcome
    iterations: int
    rank: int
    gradients: tuple[tuple[float, ...], ...]
    options: LeastSquaresOptions
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        error, what = float(np.max(self.forward_error)), "<=" if self.is_proved else "about"
        return f"<LeastSquaresResult: {self.x.shape[0]:,} unknowns, {self.outcome}, error of x {what} {error:.3g}, {self.info.cost}>"


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """A problem on its way: what is read, and how."""

    run: Run
    n: int
    b: Matrix
    options: LeastSquaresOptions

    def with_ridge(self, triangle: Triangle) -> Triangle:
        """With the rows of the ridge."""
        ridge = self.options.ridge
        if not ridge:
            return triangle
        rows = np.zeros((self.n, self.n + self.b.shape[1]))
        np.fill_diagonal(rows, np.sqrt(ridge))
        return join_triangles(triangle, reduce_block(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What a method found."""

    x: Matrix
    residual: Real
    error: Real
    is_proved: bool
    outcome: Outcome
    rank: int
    passes: int
    gradients: tuple[tuple[float, ...], ...] = ()


def _put_back(found: LeastSquaresResult, view: View) -> LeastSquaresResult:
    return replace(found, x=view.spread(found.x, axis=0), info=with_columns(found.info, view))


@over_columns_with_values(_put_back)
def lstsq(
    A: Any,
    b: Any,
    *,
    method: Method = "auto",
    ridge: float = 0.0,
    tol: float = 0.0,
    mask: Any = None,
    nonfinite: str = "raise",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> LeastSquaresResult:
    """Least squares with a matrix that does not fit in memory, and how far the solution may be from the exact one.

    Parameters
    ----------
    A
        A matrix as `svd` takes it.
    b
        Right-hand sides in memory, ``(rows,)`` or ``(rows, q)``.
    method
        ``"qr"``: the triangle of ``[A b]`` in one pass, backward stable. ``"precondition"``: a sketch in one pass, then conjugate
        gradients from its solution, one pass an iteration. ``"sketch"``: the solution of the sketched problem alone, whose
        residual is some 7 % larger. ``"auto"``: the triangle up to 2000 columns, and where the sketch would be no smaller than A.
    ridge
        Of ``||A x - b||^2 + ridge ||x||^2``.
    tol
        The iteration ends where ``||W* A* r|| <= tol ||b||``, W the preconditioner: ``A x`` is then that near, about.
        At 0 it goes on until rounding stops it. The other methods have no use for it.
    mask
        Columns to keep, as in `streamsvd.svd`; the others are not looked at, and NaN in x.
    nonfinite
        What a NaN is: ``"raise"``, an error that names it; ``"zero"``; ``"mean"`` of its column, or ``"drop_columns"``, which leaves
        out the columns that have any; these two take one more pass, before the others. Inf is always an error.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sketch.
    checkpoint, save_seconds
        Folder, or URL of an object store, where finished parts are saved now and then, at least so many seconds apart, so that a
        run that was killed goes on from there, to the same bits. It is removed at the end.
    callback
        Receives events.

    Raises
    ------
    ShapeError
        If b has another number of rows than A.
    SpecError
        If an option cannot be meant, or A or b is not of real numbers that float64 holds.
    NonFiniteError
        If an entry of A is NaN or Inf; it names row and column.
    BudgetError
        If it does not fit in the memory; it names the smallest that works.
    NotConverged
        If 40 iterations were not enough; it carries the solution so far.

    Notes
    -----
    Cost: ``"qr"``, one pass and ``4 m n^2`` flops; ``"precondition"``, one pass and one for each iteration, each of which
    gains a factor of about three: 20 to 35 until rounding stops it, 18 for ``tol=1e-8``, whatever the condition number; ``16 m n`` flops for the sketch and ``8 m n q`` for each; ``"sketch"``, one pass. Memory:
    ``8 n^2 log2(m / 2n)`` bytes for triangles, or ``64 n^2`` for the sketch, and b.

    References
    ----------
    Demmel, Grigori, Hoemmen, Langou (2012), TSQR; Avron, Maymounkov, Toledo (2010), Blendenpik; Epperly (2024), stability.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> A, x = rng.standard_normal((4000, 6)), np.arange(6.0)
    >>> found = streamsvd.lstsq(A, A @ x)
    >>> bool(abs(found.x - x).max() <= found.forward_error[0] < 1e-10), found.outcome
    (True, 'solved')
    """
    del mask, nonfinite  # A has the columns that are kept, and no NaN
    source, budget = as_source(A), allowed_bytes(memory)
    options = LeastSquaresOptions(method=method, ridge=ridge, tol=tol, seed=seed)
    targets, flat = _right_hand_sides(b, source)
    try_saves(checkpoint, source, b)
    options, schedule = _schedule(
        source, targets.shape[1], options, budget, saves=checkpoint is not None
    )
    saves = open_saves(
        checkpoint, "lstsq", schedule, options, seconds=save_seconds,
        kinds=(Triangle, SparseSignSketch, DescentSums, LeastSquaresDescent), b=targets,
    )  # fmt: skip
    with (
        running(schedule, notify=callback, saves=saves, seed=seed) as run,
        np.errstate(under="ignore", over="ignore", invalid="ignore"),
    ):
        found = _METHODS[options.method](_Problem(run, source.shape[1], targets, options))
        if not np.isfinite(found.x).all() or np.isnan(found.residual).any():
            raise SpecError(
                f"the sizes of {source.name} and of b are so far apart that the solution is beyond float64. Multiply one of them by "
                "a power of two."
            )
    capped = found.outcome == "capped"
    result = LeastSquaresResult(
        x=found.x[:, 0] if flat else found.x,
        residual_norm=found.residual,
        forward_error=found.error,
        is_proved=found.is_proved,
        outcome=found.outcome,
        iterations=len(found.gradients),
        rank=found.rank,
        gradients=found.gradients,
        options=options,
        info=run.info(
            RunStatus.NOT_CONVERGED if capped else RunStatus.CONVERGED,
            passes=float(found.passes), warnings=_warnings(source, found),
        ),
    )  # fmt: skip
    if capped:
        raise NotConverged(
            f"{MOST_ITERATIONS} iterations left a gradient of {max(found.gradients[-1]):.3g}: the sketch is no good "
            'preconditioner. Pass another seed, a tol, or method="qr".',
            result,
        )
    return result


@plan_over_columns
def plan_lstsq(
    A: Any,
    b: Any,
    *,
    method: Method = "auto",
    ridge: float = 0.0,
    tol: float = 0.0,
    mask: Any = None,
    nonfinite: str = "raise",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `lstsq` will read and need, from shapes alone.

    Parameters
    ----------
    A, b, method, ridge, tol, mask, nonfinite, memory, seed, checkpoint
        As of `lstsq`; nothing is written.

    Raises
    ------
    ShapeError, SpecError, BudgetError
        As `lstsq`, before anything is read.
    """
    del mask, nonfinite  # A is as the run will be given it
    source, budget = as_source(A), allowed_bytes(memory)
    options = LeastSquaresOptions(method=method, ridge=ridge, tol=tol, seed=seed)
    targets, _ = _right_hand_sides(b, source)
    check_saves(checkpoint, source, b)
    options, schedule = _schedule(
        source, targets.shape[1], options, budget, saves=checkpoint is not None
    )
    iterates = options.method == "precondition"
    notes = (
        (
            f"One pass for the sketch, and one for each iteration, {MOST_ITERATIONS} at most; 20 to 35 are usual, 18 for tol=1e-8.",
        )
        if iterates
        else ()
    )
    return RunPlan.of(
        "lstsq",
        schedule,
        options,
        budget,
        passes=_passes(options),
        notes=notes,
    )


def _passes(options: LeastSquaresOptions) -> int:
    """Reads of the matrix, at most."""
    return 1 + MOST_ITERATIONS if options.method == "precondition" else 1


def _schedule(
    source: Source, q: int, options: LeastSquaresOptions, budget: int, *, saves: bool
) -> tuple[LeastSquaresOptions, Schedule]:
    """The options with the method that is chosen, and how the rows are read."""
    check_real(source)
    options = replace(options, method=_pick_method(options.method, source))
    m, n = source.shape
    height = block_height(n + q)
    needs = _memory_needs(options.method, m, n, q, height)
    schedule = schedule_rows(
        source, height, budget, work=lambda _: needs.task_bytes, partial=needs.result_bytes, shared=needs.resident_bytes,
        saved=needs.result_bytes if saves else 0, passes=_passes(options),
        most=MOST_TRIANGLES if options.method == "qr" else MOST_SKETCHES,
        what=f"least squares by method={options.method!r} with {n:,} columns and {q:,} right-hand sides",
        remedy="" if options.method == "qr" else ', or method="qr"',
    )  # fmt: skip
    return options, schedule


def _pick_method(method: Method, source: Source) -> Method:
    m, n = source.shape
    if method != "auto":
        return method
    return "qr" if n <= TRIANGLE_COLUMNS or m <= NONZEROS * n else "precondition"


def _right_hand_sides(b: Any, source: Source) -> tuple[Matrix, bool]:
    """In float64 as ``(rows, q)``, and whether it came as one vector."""
    try:
        values, m = as_array(b), source.shape[0]
    except TypeError:  # what numpy makes no array of
        check_object(b, "b")
        raise
    if values.ndim not in (1, 2) or values.shape[0] != m or values.size == 0:
        raise ShapeError(
            f"b has shape {values.shape}, and {source.name} has {m:,} rows. Pass one right-hand side, ({m},), or several, ({m}, q)."
        )
    if values.dtype.kind not in "fiub":
        raise SpecError(f"b is of type {values.dtype}: right-hand sides are real numbers.")
    wide = values.astype(np.float64, copy=False).reshape(m, -1)
    bad = ~np.isfinite(wide)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise SpecError(
            f"b is {wide[i, j]} at row {int(i)}, column {int(j)}. Mend or leave out the row."
        )
    check_size(wide, "b")
    return wide, values.ndim == 1


@dataclass(frozen=True, slots=True)
class _Needs:
    """Bytes: of a task, of what it finds, and of what there is once."""

    task_bytes: int
    result_bytes: int
    resident_bytes: int


def _memory_needs(method: Method, m: int, n: int, q: int, height: int) -> _Needs:
    """Upper bounds of the memory beside the rows being read: b, the space, and the triangles or the sketch."""
    w, tall = n + q, min(height, m)
    held = 9 * m * q + 64 * n * n
    blocks = 8 * w * 4 * tall
    if method == "qr":
        return _Needs(blocks + tower_bytes(w, height, m), 8 * w * w, held)
    sketch = 8 * n * w * NONZEROS
    task = blocks + sketch + 16 * NONZEROS * height * 8 + 8 * q * (16 * n + 4 * height)
    return _Needs(task, sketch, held + 8 * n * w + tower_bytes(w, n, NONZEROS * n))


def _by_triangle(problem: _Problem) -> _Answer:
    triangle = problem.run.once("triangle", TrianglePass(problem.b))
    found = solve_triangle(problem.with_ridge(triangle), problem.n)
    return _Answer(found.x, found.residual, found.error, True, "solved", found.space.rank, 1)


def _solve_sketch(problem: _Problem) -> TriangleSolution:
    """The solution of the sketched problem."""
    pass_ = SparseSignPass(problem.n, problem.b, problem.options.seed)
    sketch = problem.run.once("sketch", pass_)
    return solve_triangle(problem.with_ridge(sketch.triangle()), problem.n)


def _by_sketch(problem: _Problem) -> _Answer:
    found = _solve_sketch(problem)
    share = found.space.rank / (
        NONZEROS * problem.n
    )  # what follows holds for Gaussian sketches, in expectation
    residual = found.residual / (1 - share)
    excess = found.residual * np.sqrt(share) / (1 - share)
    alpha = least_singular(found.space.rank, NONZEROS * problem.n)
    error = found.error + np.linalg.norm(found.space.W) * excess / alpha
    return _Answer(found.x, residual, error, False, "sketched", found.space.rank, 1)


def _by_iteration(problem: _Problem) -> _Answer:
    begun = _solve_sketch(problem)
    space, b, options, run = begun.space, problem.b, problem.options, problem.run
    norms = np.linalg.norm(b, axis=0)
    gradients: list[tuple[float, ...]]
    state, gradients = run.saved_value("descent", (LeastSquaresDescent.start(begun.x), []))
    while not state.is_over and state.passes <= MOST_ITERATIONS:
        sums = run(DescentPass(b, state), f"iteration {state.passes + 1}")
        state = state.advance(space, sums.with_ridge(state, options.ridge), norms, options.tol)
        gradients = [*gradients, tuple(state.gradient.tolist())]
        run.keep("descent", (state, gradients))
    alpha = least_singular(space.rank, NONZEROS * problem.n)
    met = bool(np.all(state.gradient <= options.tol * norms))
    outcome: Outcome = (
        "capped" if not state.is_over else "tolerance" if met and options.tol else "stagnated"
    )
    return _Answer(
        space.least_norm(state.best), state.residual, state.error(space, alpha, norms), False, outcome, space.rank,
        1 + state.passes, tuple(tuple(g) for g in gradients),
    )  # fmt: skip


_METHODS: dict[str, Callable[[_Problem], _Answer]] = {
    "qr": _by_triangle,
    "precondition": _by_iteration,
    "sketch": _by_sketch,
}


def _warnings(source: Source, found: _Answer) -> tuple[str, ...]:
    said = []
    if found.rank < source.shape[1]:
        said.append(
            f"{source.name} has numerical rank {found.rank} of {source.shape[1]} columns: x is the solution of least norm, and a "
            "small change of the data may change it by anything. Pass ridge=, or leave columns out."
        )
    if found.outcome == "sketched":
        said.append(
            "the sketched problem was solved, not this one: residual and error are estimates."
        )
    return tuple(said)
