"""The verb ``lstsq``: least squares with a tall matrix, by its triangle in one pass or by a sketch and a few more."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from streamsvd.checks.foreign import check_object
from streamsvd.checks.masks import as_array
from streamsvd.checks.numbers import check_numbers, check_seed
from streamsvd.checks.sizes import check_size
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.columns import View, over_columns_with_values, with_columns
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.opening import as_source
from streamsvd.engine.runs import Passes, RowStream, RunInfo, allowed_bytes, plan_row_schedule
from streamsvd.engine.runs.checks import check_real
from streamsvd.engine.runs.triangles import TrianglePass
from streamsvd.errors import NotConverged, ShapeError, SpecError
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
    LeastSquaresDescent,
    TriangleSolution,
    least_singular,
    solve_triangle,
)
from streamsvd.rows.passes import DescentPass, SparseSignPass
from streamsvd.typing import Matrix, Real

Method = Literal["auto", "qr", "precondition", "sketch"]
Status = Literal["solved", "stagnated", "tolerance", "sketched", "capped"]
MOST_TRIANGLES, MOST_SKETCHES = 16, 4
"""Tasks of a pass: what they found waits to be joined, and a sketch is eight times as large as a triangle."""
TRIANGLE_COLUMNS = 2000
"""Columns up to which the triangle of all rows is affordable: one pass, and backward stable."""


@dataclass(frozen=True, slots=True)
class LeastSquaresInfo(RunInfo):
    """How a solution came about.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes, seed, warnings
        As of every verb of rows.
    method
        ``"qr"``, ``"precondition"`` or ``"sketch"``: that asked for, or the one that was chosen.
    ridge
        As asked.
    gradients
        ``||W* A* r||`` of each right-hand side after each pass of the iteration, W the preconditioner; empty without one.
    """

    method: str
    ridge: float
    gradients: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquaresResult:
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
    status
        ``"solved"`` by the triangle; iterated until it ``"stagnated"`` in rounding or met the ``"tolerance"``; ``"sketched"``;
        ``"capped"`` after as many iterations as are allowed.
    iterations
        Passes of the iteration; 0 without one.
    rank
        Numerical rank of A, ridge included.
    info
        How it came about.
    """

    x: Matrix
    residual_norm: Real
    forward_error: Real
    is_proved: bool
    status: Status
    iterations: int
    rank: int
    info: LeastSquaresInfo


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """A problem on its way: what is read, and how."""

    passes: Passes
    height: int
    b: Matrix
    ridge: float
    tol: float
    seed: int

    @property
    def rows(self) -> RowStream:
        """How rows are read."""
        return self.passes.schedule.rows

    @property
    def n(self) -> int:
        """Columns of A."""
        return self.rows.source.shape[1]

    def with_ridge(self, triangle: Triangle) -> Triangle:
        """With the rows of the ridge."""
        if not self.ridge:
            return triangle
        rows = np.zeros((self.n, self.n + self.b.shape[1]))
        np.fill_diagonal(rows, np.sqrt(self.ridge))
        return join_triangles(triangle, reduce_block(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What a method found."""

    x: Matrix
    residual: Real
    error: Real
    is_proved: bool
    status: Status
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
    memory: int | float | str | None = None,
    seed: int = 0,
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
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sketch.
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
    >>> bool(abs(found.x - x).max() <= found.forward_error[0] < 1e-10), found.status
    (True, 'solved')
    """
    del mask  # A has the columns that are kept
    source = as_source(A)
    check_real(source)
    targets, flat = _right_hand_sides(b, source)
    ridge, tol = _check_options(method, ridge, tol, seed)
    chosen = _pick_method(method, source)
    (m, n), q = source.shape, targets.shape[1]
    height = block_height(n + q)
    needs = _memory_needs(chosen, m, n, q, height)
    arrangement = plan_row_schedule(
        source, height, allowed_bytes(memory), work=lambda piece: needs.task_bytes, found=needs.result_bytes, held=needs.resident_bytes,
        most=MOST_TRIANGLES if chosen == "qr" else MOST_SKETCHES,
        what=f"least squares by method={chosen!r} with {n:,} columns and {q:,} right-hand sides from {source.name}",
        remedy="" if chosen == "qr" else ', or method="qr"',
    )  # fmt: skip
    began, start = time.perf_counter(), mark_memory()
    passes = Passes(arrangement, callback)
    problem = _Problem(passes, height, targets, ridge, tol, seed)
    with (
        held_memory(),
        dense_threads(1),
        np.errstate(under="ignore", over="ignore", invalid="ignore"),
    ):
        found = {"qr": _by_triangle, "sketch": _by_sketch, "precondition": _by_iteration}[chosen](
            problem
        )
    if not np.isfinite(found.x).all() or np.isnan(found.residual).any():
        raise SpecError(
            f"the sizes of {source.name} and of b are so far apart that the solution is beyond float64. Multiply one of them by "
            "a power of two."
        )
    info = LeastSquaresInfo(
        n_rows=m, passes=found.passes, bytes_read=passes.bytes_read, elapsed_s=time.perf_counter() - began,
        peak_bytes=peak_since(start), projected_bytes=arrangement.projected_bytes, method=chosen, ridge=ridge, seed=seed,
        gradients=found.gradients, warnings=_warnings(source, found),
    )  # fmt: skip
    result = LeastSquaresResult(
        x=found.x[:, 0] if flat else found.x,
        residual_norm=found.residual,
        forward_error=found.error,
        is_proved=found.is_proved,
        status=found.status,
        iterations=len(found.gradients),
        rank=found.rank,
        info=info,
    )
    if found.status == "capped":
        raise NotConverged(
            f"{MOST_ITERATIONS} iterations left a gradient of {max(found.gradients[-1]):.3g}: the sketch is no good "
            'preconditioner. Pass another seed, a tol, or method="qr".',
            result,
        )
    return result


def _check_options(method: Method, ridge: Any, tol: Any, seed: Any) -> tuple[float, float]:
    if method not in get_args(Method):
        raise SpecError(f"method={method!r} is unknown. Pass one of {', '.join(get_args(Method))}.")
    check_seed(seed)
    check_numbers(ridge=ridge, tol=tol)
    if not 0 <= ridge < float("inf"):
        raise SpecError(f"ridge={ridge} is no ridge. Pass a positive number, or 0 for none.")
    if not 0 <= tol < 1:
        raise SpecError(
            f"tol={tol} is out of range. Pass a number in [0, 1), 0 to go on until rounding stops it."
        )
    return float(ridge), float(tol)


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
    job = TrianglePass(problem.rows, problem.height, problem.b)
    found = solve_triangle(problem.with_ridge(problem.passes("triangle", job)), problem.n)
    return _Answer(found.x, found.residual, found.error, True, "solved", found.space.rank, 1)


def _solve_sketch(problem: _Problem) -> TriangleSolution:
    """The solution of the sketched problem."""
    job = SparseSignPass(problem.rows, problem.height, problem.b, problem.seed)
    sketch = problem.passes("sketch", job)
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
    space, b, ridge = begun.space, problem.b, problem.ridge
    norms = np.linalg.norm(b, axis=0)
    state, gradients = LeastSquaresDescent.start(begun.x), []
    while not state.is_over and state.passes <= MOST_ITERATIONS:
        job = DescentPass(problem.rows, problem.height, b, state)
        sums = problem.passes(f"iteration {state.passes + 1}", job)
        state = state.advance(space, sums.with_ridge(state, ridge), norms, problem.tol)
        gradients.append(tuple(state.gradient.tolist()))
    alpha = least_singular(space.rank, NONZEROS * problem.n)
    met = bool(np.all(state.gradient <= problem.tol * norms))
    status: Status = (
        "capped" if not state.is_over else "tolerance" if met and problem.tol else "stagnated"
    )
    return _Answer(
        space.least_norm(state.best), state.residual, state.error(space, alpha, norms), False, status, space.rank,
        1 + state.passes, tuple(gradients),
    )  # fmt: skip


def _warnings(source: Source, found: _Answer) -> tuple[str, ...]:
    said = []
    if found.rank < source.shape[1]:
        said.append(
            f"{source.name} has numerical rank {found.rank} of {source.shape[1]} columns: x is the solution of least norm, and a "
            "small change of the data may change it by anything. Pass ridge=, or leave columns out."
        )
    if found.status == "sketched":
        said.append(
            "the sketched problem was solved, not this one: residual and error are estimates."
        )
    return tuple(said)
