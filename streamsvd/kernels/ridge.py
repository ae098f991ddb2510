"""The verb ``kernel_ridge``: a dictionary and a regression on it in one, two or more passes; predictions streamed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_object
from streamsvd.checks.masks import as_array
from streamsvd.checks.numbers import check_integer, check_numbers
from streamsvd.checks.paths import local_path
from streamsvd.checks.sizes import check_size
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.columns import View, over_columns_with_values, view_of
from streamsvd.engine.concurrency import parallel_map
from streamsvd.engine.events import Callback, ResultWritten, ignore_event, send_remarks
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.opening import as_source
from streamsvd.engine.runs import Passes, allowed_bytes, blocks_with_events, plan_row_schedule
from streamsvd.engine.runs.checks import check_real
from streamsvd.engine.saves import SAVE_SECONDS, array_digest, try_saves
from streamsvd.engine.tree import Run
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.kernels.choice import read_sample
from streamsvd.kernels.devices import check_device, computing
from streamsvd.kernels.files import check_shapes, map_arrays, map_in, reading, record_array
from streamsvd.kernels.mathematics import DictionaryOptions, FeatureMap, Mode
from streamsvd.kernels.mathematics.conjugate import RidgeDescent
from streamsvd.kernels.mathematics.onepass import Regression
from streamsvd.kernels.mathematics.ridge import JUDGES, RidgeSums, best_ridge, coefficients
from streamsvd.kernels.nystrom import (
    NystromResult,
    build_result,
    chosen_rows,
    open_saves,
    plan_dictionary,
    put_back,
    rounded_up,
)
from streamsvd.kernels.options import DEFAULT_CENTRES, KernelOptions
from streamsvd.kernels.passes import HoldoutSums, RegressionPass, Targets
from streamsvd.kernels.solving import MAX_PASSES, TOL, RidgeSolution, direct, solve_by_gradients
from streamsvd.store.writing.rows import RowsWriter
from streamsvd.store.writing.separation import check_apart
from streamsvd.typing import Matrix, Real

PURPOSE = "kernel_ridge"
Solver = Literal["auto", "direct", "onepass", "pcg"]
MOST_DIRECT = 4096
"""Centres up to which the sums are kept as a square matrix, if nothing is said."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelRidgeResult:
    """A kernel ridge regression on the centres of a dictionary.

    Attributes
    ----------
    feature_map, coefficients
        ``f(x) = z(x) @ coefficients + mean``, ``(features, targets)``.
    mean
        Of the targets, which are centred, ``(q,)``.
    ridge
        ``mu`` in ``sum (y - f(x))^2 + mu ||f||^2``.
    held_out_rmse
        Root mean squared error of each target on the rows held out, of the fit without them; NaN where none were.
    flat
        Whether targets were given as one vector, and predictions are.
    nystrom
        The dictionary and its record; None after loading.
    info
        How it came about: ``n_rows``, ``held_out``, ``passes``, ``elapsed_s``, ``chosen``.
    """

    feature_map: FeatureMap
    coefficients: Matrix
    mean: Real
    ridge: float
    held_out_rmse: Real
    flat: bool
    nystrom: NystromResult | None
    info: dict[str, Any]

    def predict(self, X: Any) -> Matrix:
        """Predictions for rows ``(p, n)`` in memory: ``(p,)`` or ``(p, q)``."""
        found = self.feature_map(X) @ self.coefficients + self.mean
        return np.asarray(found[:, 0] if self.flat else found)

    def predict_to(
        self,
        X: Any,
        out: str | os.PathLike[str],
        *,
        device: str = "cpu",
        memory: int | float | str | None = None,
        overwrite: bool = False,
        callback: Callback = ignore_event,
    ) -> Path:
        """Predictions for all rows of a stored matrix, ``(rows, targets)``, as a new zarr array: one pass.

        Parts are read and predicted on as many threads as the memory allows, and written in their order.

        Raises
        ------
        ShapeError
            If its rows have another length.
        SpecError
            If the device does not answer, or cannot compute the kernel.
        StoreError
            If ``out`` exists and may not be replaced, or cannot be written.
        """
        source = as_source(X)
        check_real(source)
        place = local_path(out, "out")
        check_apart(place, source)
        width = self.feature_map.width
        if source.shape[1] != width:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} columns; the fit was on rows of {width} numbers."
            )
        view = view_of(source, self.feature_map.columns, guarded=False)
        source, map_ = view.source, self.feature_map.over(None)
        m, q = source.shape[0], self.coefficients.shape[1]
        size = self.feature_map.centres.shape[0]
        check_device(device, self.feature_map.kernel)

        band = q * int(min(source.chunks[0], m))

        def work(piece: int) -> int:  # with predictions: pieces, joined, waiting, written
            return 8 * int(3 * piece * (size + width) + 4 * max(piece * q, band))

        arrangement = plan_row_schedule(
            source, size, allowed_bytes(memory), work=work, held=8 * (size**2 + 4 * band),
            what=f"predictions by {size:,} centres from {source.name}", remedy="",
        )  # fmt: skip
        rows = arrangement.rows

        def predicted(part: Run) -> tuple[int, Matrix]:
            with computing(device, map_, rows, part) as (engine, blocks):
                beta = engine.to_device(self.coefficients)
                values = [engine.to_host(z(block) @ beta) + self.mean for _, block, z in blocks]
            return part[0], np.concatenate(values)

        send_remarks(source, callback)
        chunks = (band // q, q)
        writer = RowsWriter(place, (m, q), chunks, np.dtype(np.float64), overwrite=overwrite)
        try:
            with (
                view.naming(),
                held_memory(),
                dense_threads(1),
                parallel_map(arrangement.workers) as mapped,
            ):
                found = mapped(predicted, rows.units((0, m)))
                for _, values in blocks_with_events(
                    found, "predictions", arrangement.pass_bytes, m, callback
                ):
                    writer.append(values, np.arange(values.shape[0]))
            path = writer.commit()
        except BaseException:
            writer.discard()
            raise
        callback(ResultWritten(str(path)))
        return path

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that `load_ridge` needs, for a ``.npz`` file.

        Raises
        ------
        SpecError
            If the kernel is a function, which cannot be saved.
        """
        record = {"ridge": self.ridge, "flat": self.flat, "info": self.info}
        return {
            **map_arrays(self.feature_map), "coefficients": self.coefficients, "mean": self.mean,
            "held_out_rmse": self.held_out_rmse, "record": record_array(record, self.feature_map.kernel),
        }  # fmt: skip


def _put_back(fit: KernelRidgeResult, view: View) -> KernelRidgeResult:
    if view.columns is None and not view.look_bytes:
        return fit
    info = fit.info | {"bytes_read": fit.info["bytes_read"] + view.look_bytes}
    if view.columns is not None:
        info["dropped_columns"] = list(view.dropped_indices)
        info["warnings"] = [*info["warnings"], f"{view.columns.description}."]
    found = None if fit.nystrom is None else put_back(fit.nystrom, view)
    map_ = fit.feature_map.over(view.columns)
    return replace(fit, feature_map=map_, nystrom=found, info=info)


@over_columns_with_values(_put_back)
def kernel_ridge(
    X: Any,
    y: Any,
    kernel: str | Callable[[Matrix, Matrix], Matrix] = "rbf",
    *,
    ridge: float | None = None,
    n_centres: int = DEFAULT_CENTRES,
    length: float | None = None,
    degree: int = 3,
    offset: float = 1.0,
    smoothness: float = 1.5,
    scale: bool = False,
    budget: int | None = None,
    mode: Mode = "poisson",
    solver: Solver = "auto",
    tol: float = TOL,
    max_passes: int = MAX_PASSES,
    held_out: float = 0.1,
    mask: Any = None,
    device: str = "cpu",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> KernelRidgeResult:
    """Kernel ridge regression on rows that do not fit in memory: two passes, never n x n.

    Parameters
    ----------
    X
        A matrix as `svd` takes it; its rows are the points.
    y
        Targets in memory, ``(rows,)`` or ``(rows, targets)``; their mean is taken out and put back.
    kernel, n_centres, degree, offset, smoothness, scale, budget, mode
        As of `streamsvd.nystrom`.
    length
        Length scale of ``"rbf"``, ``"laplacian"``, ``"matern"``; left out, the median distance of rows, or a
        multiple of it that predicts better on a sample of them.
    ridge
        ``mu`` in ``sum (y - f(x))^2 + mu ||f||^2``; left out, the largest of a grid within one
        standard error of the least error on the rows held out.
    solver
        ``"direct"``: a second pass for sums of products of features. ``"pcg"``: conjugate gradients, a pass for each iteration,
        preconditioned by the dictionary: less work for many centres, and no square sums. ``"onepass"``: no second pass; the
        features are those of the whole dictionary, and what rows had outside its span when it changed is lost.
        ``"auto"``: direct up to 4096 centres.
    tol, max_passes
        Of ``"pcg"``: relative residual in the norm of the preconditioner, and most iterations of one fit.
    held_out
        Share of the rows that do not train but judge; the final fit is on all rows.
    mask
        Columns to keep, as in `streamsvd.svd`; the others are not looked at, nor in the rows that are predicted for.
    device
        ``"cpu"`` or ``"cuda"``: where scores of rows, features, sums and products are computed, in float64; not with
        ``"onepass"``. Centres are picked, and equations solved, on the host.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling and of the rows held out.
    checkpoint, save_seconds
        As of `streamsvd.nystrom`.
    callback
        Receives events.

    Raises
    ------
    ShapeError
        If X and y have different numbers of rows.
    SpecError, NonFiniteError, BudgetError, ConflictError
        As `streamsvd.nystrom`; if y is not finite real numbers.
    NotConverged
        If ``"pcg"`` has used its passes; ``result`` is the regression as far as it came.

    Notes
    -----
    Cost: two passes, ``8 n m^2 + n M^2`` flops for m rows of the dictionary and M centres. One pass: ``8 n m^2`` and ``15 m^3``
    for each m rows. ``"pcg"``: features, ``2 n M^2`` flops, and ``4 n M`` flops a pass, 8 to 20 passes. The held-out error of every ridge
    follows from sums, without a pass.

    References
    ----------
    Rudi, Carratino, Rosasco (2017), FALKON; here with the dictionary as preconditioner.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (2000, 2)); y = np.sin(X[:, 0]) * X[:, 1]
    >>> fit = streamsvd.kernel_ridge(X, y, n_centres=100)
    >>> bool(fit.held_out_rmse[0] < 0.05)
    True
    """
    del mask  # X has the columns that are kept
    source = as_source(X)
    check_real(source)
    try_saves(checkpoint, source, y)
    values, flat = _targets(y, source.shape[0], source.name)
    _check_options(ridge, held_out, solver, tol, max_passes)
    asked = KernelOptions(
        kernel=kernel, length=length, degree=degree, offset=offset, smoothness=smoothness, scale=scale,
        gamma=ridge, n_centres=n_centres, budget=budget, mode=mode, seed=seed,
    )  # fmt: skip
    spec = asked.spec
    if solver == "auto":
        solver = "direct" if n_centres <= MOST_DIRECT else "pcg"
    check_device(device, spec.kernel)
    if device != "cpu" and solver == "onepass":
        raise SpecError(
            f'device="{device}" was asked for, but solver="onepass" computes on the host. Pass solver="direct" or "pcg", or '
            'device="cpu".'
        )
    assert spec.budget is not None
    squares = {"onepass": 16 * spec.budget**2, "direct": 8 * n_centres**2, "pcg": 4 * n_centres**2}
    arrangement = plan_dictionary(
        source, spec, memory, further=8 * squares[solver], held=3 * values.nbytes, device=device
    )
    began, start = time.perf_counter(), mark_memory()
    with held_memory(), dense_threads(1):
        targets = Targets.with_means(values, held_out, seed)
        sample, numbers = read_sample(source)
        trains = ~targets.judges(numbers)
        spec = asked.settle(sample, values[numbers] - targets.mean, trains)
        saves = open_saves(
            checkpoint, save_seconds, PURPOSE, source, sample, spec, arrangement,
            kinds=(RidgeSums, HoldoutSums, Regression, RidgeDescent), solver=solver, ridge=ridge, n_centres=n_centres,
            held_out=held_out, tol=tol, y=array_digest(values), device=device,
        )  # fmt: skip
        passes = Passes(arrangement, callback, saves)
        if solver == "onepass":
            map_, solution, found, said = _in_one_pass(passes, spec, targets, ridge)
        else:
            state = chosen_rows(passes, spec, device)
            found = build_result(
                passes, spec, state, n_centres, asked.left_open, False, began, start
            )
            map_, said = found.feature_map, found.info.warnings
            solution = (
                direct(passes, found, targets, ridge, device)
                if solver == "direct"
                else solve_by_gradients(passes, found, targets, ridge, tol, max_passes, device)
            )
    names = [name for name in asked.left_open if name != "gamma"] + (
        ["ridge"] if ridge is None else []
    )
    judges = solution.n_judges
    if judges < JUDGES and held_out:
        said = (
            *said,
            f"{judges} rows were held out: too few to judge by; generalised cross-validation took their place where a ridge was "
            "to be chosen. Pass a larger held_out.",
        )
    info = {
        "n_rows": source.shape[0], "held_out": judges, "passes": passes.number, "bytes_read": passes.bytes_read,
        "elapsed_s": time.perf_counter() - began, "peak_bytes": peak_since(start),
        "projected_bytes": arrangement.projected_bytes, "solver": solver, "chosen": names, "seed": seed,
        "trace_error": solution.left, "residuals": list(solution.residuals), "warnings": list(said),
    }  # fmt: skip
    rmse = np.sqrt(solution.squared_error / judges) if judges else np.full(values.shape[1], np.nan)
    fit = KernelRidgeResult(
        map_, solution.beta, targets.whole_mean, solution.ridge, rmse, flat, found, info
    )
    if saves is not None:
        saves.clear()
    if solution.residuals and solution.residuals[-1] > tol:
        raise NotConverged(
            f"the residual is {solution.residuals[-1]:.3g} after {len(solution.residuals) - 1} passes, {tol:g} was asked. "
            "Pass more max_passes, a larger ridge or budget, or solver='direct'; the regression so far is .result.",
            fit,
        )
    return fit


def _in_one_pass(
    passes: Passes, spec: DictionaryOptions, targets: Targets, ridge: float | None
) -> tuple[FeatureMap, RidgeSolution, NystromResult | None, tuple[str, ...]]:
    """The dictionary and the sums together."""
    assert spec.budget is not None
    job = RegressionPass(passes.schedule.rows, spec, spec.budget, targets)
    state = passes.once("dictionary and sums", job)
    least = state.dictionary.gamma
    said: tuple[str, ...] = ()
    train, held_out = targets.plain(state.train), targets.plain(state.held_out)
    if ridge is None:
        ridge = best_ridge(train, held_out, least)[0]
    elif ridge < 0.999 * least:
        said = (
            f"ridge={ridge:g} is finer than the {least:.3g} at which the dictionary is accurate: one pass loses more than it "
            "says. Pass a larger budget, or solver='direct'.",
        )
    error = held_out.error(coefficients(train, ridge))
    beta = coefficients(targets.about_whole(state.train.merge(state.held_out)), ridge)
    map_ = state.feature_map(spec)
    left = rounded_up(
        (1 - state.captured_share) * state.dictionary.trace, map_, state.dictionary.trace
    )
    return map_, RidgeSolution(beta, ridge, error, held_out.n_rows, left), None, said


def _check_options(
    ridge: float | None, held_out: float, solver: str, tol: float, max_passes: int
) -> None:
    check_numbers(ridge=ridge, held_out=held_out, tol=tol)
    check_integer("max_passes", max_passes, least=1)
    if ridge is not None and not 0 < ridge < float("inf"):
        raise SpecError(f"ridge={ridge} is no ridge. Pass a positive number, or leave it out.")
    if not 0 <= held_out < 1 or (ridge is None and held_out == 0):
        raise SpecError(
            f"held_out={held_out} leaves nothing to choose a ridge by, or to train on. Pass a share in (0, 1)."
        )
    if solver not in get_args(Solver):
        raise SpecError(f"solver={solver!r} is unknown. Pass one of {', '.join(get_args(Solver))}.")
    if not 0 < tol < 1:
        raise SpecError(f"tol={tol} is out of range. Pass a relative residual in (0, 1).")


def _targets(y: Any, m: int, name: str) -> tuple[Matrix, bool]:
    try:
        values = as_array(y)
    except TypeError:  # what numpy makes no array of
        check_object(y, "y")
        raise
    if values.ndim not in (1, 2) or values.shape[0] != m:
        raise ShapeError(
            f"y has shape {values.shape}, {name} has {m:,} rows. Pass one target, or one row of them, for each."
        )
    if values.dtype.kind not in "fiub":
        raise SpecError(
            f"y holds {values.dtype}: targets are real numbers. Encode categories as numbers first."
        )
    if values.size == 0:
        raise ShapeError(
            f"y has shape {values.shape}: there is nothing to fit. Pass one target or more."
        )
    check_size(values, "y")
    wide = values.astype(np.float64).reshape(m, -1)
    bad = ~np.isfinite(wide)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise SpecError(
            f"y is {wide[i, j]} at row {int(i)}, target {int(j)}. Mend or leave out the row."
        )
    return wide, values.ndim == 1


def load_ridge(path: str | os.PathLike[str]) -> KernelRidgeResult:
    """The regression that ``numpy.savez(path, **fit.arrays())`` saved.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    with reading(path, "kernel ridge regression") as (arrays, record):
        map_ = map_in(arrays, record)
        beta, mean = arrays["coefficients"], arrays["mean"]
        check_shapes((map_.centres, map_.whitening), (map_.whitening.T, beta), (beta.T, mean))
        rmse, ridge, flat = arrays["held_out_rmse"], record["ridge"], record["flat"]
        return KernelRidgeResult(map_, beta, mean, ridge, rmse, flat, None, record["info"])
