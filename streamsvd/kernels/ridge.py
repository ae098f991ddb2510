"""The verb ``kernel_ridge``: a dictionary and a regression on it in one, two or more passes; predictions streamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.checks.real import check_real
from streamsvd.engine.columns import (
    View,
    over_columns_with_values,
    plan_over_columns,
    view_of,
    with_columns,
)
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, running
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import (
    SAVE_SECONDS,
    array_digest,
    check_saves,
    open_saves,
    try_saves,
)
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.info import Info, Status
from streamsvd.kernels.choice import (
    open_choices,
    read_sample,
    sampling_of,
    settle_sampling,
    with_choices,
)
from streamsvd.kernels.devices import check_device
from streamsvd.kernels.files import read_folder, ridge_arrays, ridge_in
from streamsvd.kernels.mathematics import Dictionary, DictionaryOptions, FeatureMap
from streamsvd.kernels.mathematics.conjugate import RidgeDescent
from streamsvd.kernels.mathematics.onepass import Regression
from streamsvd.kernels.mathematics.ridge import JUDGES, RidgeSums, best_ridge, coefficients
from streamsvd.kernels.nystrom import (
    SAMPLE_NOTE,
    NystromResult,
    build_result,
    check_comparable,
    choose_rows,
    feature_bytes,
    feature_reader,
    feature_rows,
    put_back,
    rounded_up,
    schedule_dictionary,
)
from streamsvd.kernels.options import (
    DEFAULT_CENTRES,
    MAX_PASSES,
    TOL,
    KernelName,
    KernelRidgeOptions,
    Mode,
    Solver,
)
from streamsvd.kernels.passes import HoldoutSums, PredictionPass, RegressionPass
from streamsvd.kernels.row_kinds import check_kernel_rows
from streamsvd.kernels.solving import RidgeSolution, solve_by_gradients, solve_directly
from streamsvd.kernels.targets import Targets, as_targets
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.protocols import Source
from streamsvd.store.results.saving import LabelledResult
from streamsvd.store.writing.rows import RowsWriter
from streamsvd.store.writing.separation import check_apart
from streamsvd.typing import Matrix, Real

MOST_DIRECT = 4096
"""Centres up to which the sums are kept as a square matrix, if nothing is said."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelRidgeResult(LabelledResult):
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
        The dictionary and its record; None of a ``.npz`` file, which does not hold it.
    n_held_out
        Rows held out.
    trace_error
        ``trace(K - K_C)`` of all rows, rounded up.
    residuals
        Of ``"pcg"``, relative to the right-hand side: before the first pass of the final fit, and after each; else empty.
    solver
        The one that was taken.
    options, chosen_options, info
        What was asked, with what was chosen where nothing was (None for a file of an earlier release, which does not say); which
        of ``length`` and ``ridge`` were chosen on the data; and how it came about.
    labels
        What the matrix says of its columns: dimensions, coordinates, names, units.
    """

    feature_map: FeatureMap
    coefficients: Matrix
    mean: Real
    ridge: float
    held_out_rmse: Real
    flat: bool
    nystrom: NystromResult | None
    n_held_out: int
    trace_error: float
    residuals: tuple[float, ...]
    solver: Solver
    options: KernelRidgeOptions | None
    chosen_options: tuple[str, ...]
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        judged = (
            f"held-out error {np.max(self.held_out_rmse):.4g}" if self.n_held_out else "not judged"
        )
        return f"<KernelRidgeResult: {self.coefficients.shape[0]:,} features, ridge {self.ridge:.4g}, {judged}, {self.info.cost}>"

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
    ) -> PathOrUrl:
        """Predictions for all rows of a stored matrix, ``(rows, targets)``, as a new zarr array: one pass.

        Tasks run on threads or on a cluster, as in every pass, and each writes whole chunks of its own.

        Parameters
        ----------
        X
            Rows as `streamsvd.kernel_ridge` takes them; what is missing in a column that takes part is an error.
        out, overwrite
            Place of the array, and whether it may replace one.
        device, memory, callback
            As of `streamsvd.kernel_ridge`.

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
        place = place_of(out, "out")
        check_apart(place, source)
        width = self.feature_map.width
        if source.shape[1] != width:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} columns; the fit was on rows of {width} numbers."
            )
        view = view_of(source, self.feature_map.columns, guarded=False)
        source, map_ = view.source, self.feature_map.over(None)
        check_device(device, map_.kernel)
        m, q = source.shape[0], self.coefficients.shape[1]
        band = min(source.chunks[0], m)
        schedule = self._schedule(source, band, device, allowed_bytes(memory))
        writer = RowsWriter(place, (m, q), (band, q), np.dtype(np.float64), overwrite=overwrite)
        pass_ = PredictionPass(map_, self.coefficients, self.mean, band, m)
        try:
            with view.naming(), running(schedule, device=device, notify=callback) as run:
                writer.count(run(pass_, "predictions", sink=writer.sink()))
            path = writer.commit()
        except BaseException:
            writer.discard()
            raise
        callback(ResultWritten(str(path)))
        return path

    def _schedule(self, source: Source, band: int, device: str, allowed: int) -> Schedule:
        """How predictions run within the memory: a task has those of a band of chunks, joined, waiting, and written."""
        size, q = self.feature_map.centres.shape[0], self.coefficients.shape[1]
        features = feature_bytes(source, size, device)
        return schedule_rows(
            source,
            feature_rows(source, size, device),
            allowed,
            work=lambda height: features + 8 * q * (4 * band + 3 * height),
            shared=8 * size**2,
            what=f"predictions by {size:,} centres",
            remedy="",
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that `load_ridge` needs, for a ``.npz`` file.

        Raises
        ------
        SpecError
            If the kernel is a function, which cannot be saved.
        """
        return ridge_arrays(self)


def _put_back(fit: KernelRidgeResult, view: View) -> KernelRidgeResult:
    found = None if fit.nystrom is None else put_back(fit.nystrom, view)
    map_ = fit.feature_map.over(view.columns)
    return replace(fit, feature_map=map_, nystrom=found, info=with_columns(fit.info, view))


@over_columns_with_values(_put_back)
def kernel_ridge(
    X: Any,
    y: Any,
    kernel: KernelName | Callable[[Matrix, Matrix], Matrix] = "rbf",
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
    nonfinite: str = "raise",
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
    nonfinite
        What a NaN in X is, as of `streamsvd.nystrom`; in y it is an error.
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
    del mask, nonfinite  # X has the columns that are kept, and no NaN
    source = as_source(X)
    check_real(source)
    check_kernel_rows(source, kernel)
    try_saves(checkpoint, source, y)
    values, flat = as_targets(y, source.shape[0], source.name)
    options = KernelRidgeOptions(
        kernel=kernel, ridge=ridge, n_centres=n_centres, length=length, degree=degree, offset=offset, smoothness=smoothness,
        scale=scale, budget=budget, mode=mode, solver=solver, tol=tol, max_passes=max_passes, held_out=held_out, seed=seed,
    )  # fmt: skip
    options, schedule = _schedule(
        source, values, options, device, allowed_bytes(memory), saves=checkpoint is not None
    )
    check_comparable(options, checkpoint)
    with running(schedule, device=device, notify=callback, seed=seed) as run:
        targets = Targets.with_means(values, held_out, seed)
        sample, numbers = read_sample(source)
        run.saves = open_saves(
            checkpoint, "kernel_ridge", schedule, options, seconds=save_seconds,
            kinds=(Dictionary, RidgeSums, HoldoutSums, Regression, RidgeDescent), device=device,
            sample=array_digest(sample), y=values,
        )  # fmt: skip
        trains = ~targets.judges(numbers)
        sampling = settle_sampling(options, sample, values[numbers] - targets.mean, trains)
        map_, solution, found = _METHODS[options.solver](run, sampling, targets, options)
        fit = _result(run, options, map_, solution, found, targets, flat, sampling)
    if fit.info.status is Status.NOT_CONVERGED:
        raise NotConverged(
            f"the residual is {fit.residuals[-1]:.3g} after {len(fit.residuals) - 1} passes, {tol:g} was asked. "
            "Pass more max_passes, a larger ridge or budget, or solver='direct'; the regression so far is .result.",
            fit,
        )
    return fit


@plan_over_columns
def plan_kernel_ridge(
    X: Any,
    y: Any,
    kernel: KernelName | Callable[[Matrix, Matrix], Matrix] = "rbf",
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
    nonfinite: str = "raise",
    device: str = "cpu",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `kernel_ridge` will read and need, from shapes alone.

    Parameters
    ----------
    X, y, kernel, ridge, n_centres, length, degree, offset, smoothness, scale, budget, mode, solver, tol, max_passes
        As of `streamsvd.kernel_ridge`.
    held_out, mask, nonfinite, device, memory, seed, checkpoint
        As of `streamsvd.kernel_ridge`; nothing is written.

    Raises
    ------
    ShapeError, SpecError, BudgetError
        As `streamsvd.kernel_ridge`, before anything is read.
    """
    del mask, nonfinite  # X is as the run will be given it
    source, allowed = as_source(X), allowed_bytes(memory)
    check_real(source)
    check_kernel_rows(source, kernel)
    check_saves(checkpoint, source, y)
    values, _ = as_targets(y, source.shape[0], source.name)
    options = KernelRidgeOptions(
        kernel=kernel, ridge=ridge, n_centres=n_centres, length=length, degree=degree, offset=offset, smoothness=smoothness,
        scale=scale, budget=budget, mode=mode, solver=solver, tol=tol, max_passes=max_passes, held_out=held_out, seed=seed,
    )  # fmt: skip
    check_comparable(options, checkpoint)
    options, schedule = _schedule(
        source, values, options, device, allowed, saves=checkpoint is not None
    )
    notes = [SAMPLE_NOTE]
    if options.solver == "pcg":
        notes.append(
            "One pass for the dictionary, one for the right-hand side, one for each iteration of the fits, at most: 8 to 20 in all "
            "are usual."
        )
    return RunPlan.of(
        "kernel_ridge", schedule, options, allowed, passes=_passes(options), notes=tuple(notes)
    )


def _passes(options: KernelRidgeOptions) -> int:
    """Reads of the matrix, at most."""
    if options.solver == "pcg":
        most = options.max_passes
        return 2 + (2 * most + 1 if options.held_out else most)
    return 1 if options.solver == "onepass" else 2


def _schedule(
    source: Source,
    values: Matrix,
    options: KernelRidgeOptions,
    device: str,
    allowed: int,
    *,
    saves: bool,
) -> tuple[KernelRidgeOptions, Schedule]:
    """The options with the solver that is chosen, and how the rows are read."""
    if options.solver == "auto":
        solver: Solver = "direct" if options.n_centres <= MOST_DIRECT else "pcg"
        options = replace(options, solver=solver)
    check_device(device, sampling_of(options).kernel)
    if device != "cpu" and options.solver == "onepass":
        raise SpecError(
            f'device="{device}" was asked for, but solver="onepass" computes on the host. Pass solver="direct" or "pcg", or '
            'device="cpu".'
        )
    budget, centres = sampling_of(options).budget, options.n_centres
    assert budget is not None
    squares = {"onepass": 16 * budget**2, "direct": 8 * centres**2, "pcg": 4 * centres**2}
    schedule = schedule_dictionary(
        source, options, allowed, further=8 * squares[options.solver], shared=3 * values.nbytes, sums=2 * squares[options.solver],
        passes=_passes(options), saves=saves, device=device,
    )  # fmt: skip
    return options, schedule


Solution = tuple[FeatureMap, RidgeSolution, NystromResult | None]


def _in_passes(
    run: Run, sampling: DictionaryOptions, targets: Targets, options: KernelRidgeOptions
) -> Solution:
    """The dictionary, and then the regression on it."""
    state = choose_rows(run, sampling)
    asked = options.dictionary
    found = build_result(run, sampling, state, with_choices(asked, sampling), open_choices(asked))
    run.reader = feature_reader(run, options.n_centres)
    solve = solve_directly if options.solver == "direct" else solve_by_gradients
    return found.feature_map, solve(run, found, targets, options), found


def _in_one_pass(
    run: Run, sampling: DictionaryOptions, targets: Targets, options: KernelRidgeOptions
) -> Solution:
    """The dictionary and the sums together."""
    state = run.once("dictionary and sums", RegressionPass(sampling, targets))
    least, ridge = state.dictionary.gamma, options.ridge
    train, held_out = targets.plain(state.train), targets.plain(state.held_out)
    if ridge is None:
        ridge = best_ridge(train, held_out, least)[0]
    elif ridge < 0.999 * least:
        run.warnings.append(
            f"ridge={ridge:g} is finer than the {least:.3g} at which the dictionary is accurate: one pass loses more than it "
            "says. Pass a larger budget, or solver='direct'."
        )
    error = held_out.error(coefficients(train, ridge))
    beta = coefficients(targets.about_whole(state.train.merge(state.held_out)), ridge)
    map_ = state.feature_map(sampling)
    left = rounded_up(
        (1 - state.captured_share) * state.dictionary.trace, map_, state.dictionary.trace
    )
    return map_, RidgeSolution(beta, ridge, error, held_out.n_rows, left), None


_METHODS = {"direct": _in_passes, "pcg": _in_passes, "onepass": _in_one_pass}


def _result(
    run: Run,
    options: KernelRidgeOptions,
    map_: FeatureMap,
    solution: RidgeSolution,
    found: NystromResult | None,
    targets: Targets,
    flat: bool,
    sampling: DictionaryOptions,
) -> KernelRidgeResult:
    """The regression and its record."""
    judges, residuals = solution.n_judges, solution.residuals
    warnings = [*(() if found is None else found.info.warnings), *run.warnings]
    if judges < JUDGES and options.held_out:
        warnings.append(
            f"{judges} rows were held out: too few to judge by; generalised cross-validation took their place where a ridge was "
            "to be chosen. Pass a larger held_out."
        )
    status = Status.DONE
    if residuals:
        status = Status.CONVERGED if residuals[-1] <= options.tol else Status.NOT_CONVERGED
    error = np.full(targets.count, np.nan)
    if judges:
        error = np.sqrt(solution.squared_error / judges)
    return KernelRidgeResult(
        feature_map=map_,
        coefficients=solution.beta,
        mean=targets.whole_mean,
        ridge=solution.ridge,
        held_out_rmse=error,
        flat=flat,
        nystrom=found,
        n_held_out=judges,
        trace_error=solution.left,
        residuals=residuals,
        solver=options.solver,
        options=replace(with_choices(options, sampling), ridge=solution.ridge),
        chosen_options=open_choices(options),
        info=run.info(status, warnings=tuple(warnings)),
    )


def load_ridge(path: str | os.PathLike[str]) -> KernelRidgeResult:
    """A regression that its `save`, or ``streamsvd krr fit --out``, wrote: `streamsvd.load`, for regressions alone.

    Parameters
    ----------
    path
        The folder; or a ``.npz`` file of `KernelRidgeResult.arrays`.

    Raises
    ------
    StoreError
        If there is no such thing, or it is of a newer release.
    """
    place = place_of(path)
    found: KernelRidgeResult | None = read_folder(place, "kernel_ridge")
    return KernelRidgeResult(**ridge_in(place)) if found is None else found
