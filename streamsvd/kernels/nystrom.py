"""The verb ``nystrom``: a dictionary of rows in one pass, centres and a feature map, and the error certified in a second."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import place_of
from streamsvd.checks.real import check_real
from streamsvd.engine.columns import (
    View,
    over_columns_with_values,
    plan_over_columns,
    view_of,
    with_columns,
)
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run, running
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import (
    SAVE_SECONDS,
    array_digest,
    check_saves,
    open_saves,
    try_saves,
)
from streamsvd.engine.schedule import PIECE_BYTES, Schedule, allowed_bytes, schedule_rows
from streamsvd.errors import ShapeError, SpecError
from streamsvd.info import Info
from streamsvd.kernels.choice import (
    SAMPLE_ROWS,
    open_choices,
    read_sample,
    sampling_of,
    settle_sampling,
    with_choices,
)
from streamsvd.kernels.devices import check_device, sampling_at_home
from streamsvd.kernels.files import dictionary_arrays, dictionary_in, read_folder
from streamsvd.kernels.mathematics import (
    Dictionary,
    DictionaryOptions,
    FeatureMap,
    merge_dictionaries,
    pivots,
)
from streamsvd.kernels.mathematics.centres import ACTUAL
from streamsvd.kernels.mathematics.device_kernels import BLOCK_BYTES
from streamsvd.kernels.options import (
    DEFAULT_CENTRES,
    KernelName,
    KernelOptions,
    Mode,
    NystromOptions,
)
from streamsvd.kernels.passes import DictionaryPass, TraceErrorPass
from streamsvd.kernels.records import NystromCertificate
from streamsvd.kernels.row_kinds import check_kernel_rows
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.protocols import Source
from streamsvd.store.results.saving import LabelledResult
from streamsvd.typing import Matrix, Real

FEATURE_ITEMS, LEAST_ROWS = 1 << 19, 1024
"""Features found at once on the host, and rows, at least, where they are not too long."""


@dataclass(frozen=True, slots=True, eq=False)
class NystromResult(LabelledResult):
    """A dictionary, centres, and the feature map they make.

    Attributes
    ----------
    sampling, dictionary
        How rows were sampled, and what is kept of them.
    centres
        Numbers of the rows that are centres, in the order of choice.
    feature_map
        ``z(X)`` of rows ``(p, n)``, with ``z(x).z(y)`` near ``k(x, y)``.
    certificate
        What is known of the error.
    options, chosen_options, info
        What was asked, with what was chosen where nothing was; which of ``length`` and ``gamma`` were chosen on the data; and how
        it came about.
    labels
        What the matrix says of its columns, and of the rows that were taken: dimensions, coordinates, names, units.
    """

    sampling: DictionaryOptions
    dictionary: Dictionary
    centres: npt.NDArray[np.int64]
    feature_map: FeatureMap
    certificate: NystromCertificate
    options: NystromOptions
    chosen_options: tuple[str, ...]
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        error = (
            f"trace error <= {self.certificate.trace_error:.4g}"
            if self.options.certify
            else "not certified"
        )
        return f"<NystromResult: {self.centres.size:,} centres of {self.info.n_rows:,} rows, {error}, {self.info.cost}>"

    def with_labels(self, labels: Labels) -> Self:
        """The same with the labels of the matrix that it was made of."""
        return replace(self, labels=labels.take_rows(self.centres))

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Numbers of the rows of the dictionary in the matrix, ascending."""
        return self.dictionary.ids

    @property
    def rows(self) -> Matrix:
        """Rows of the dictionary, ``(m, n)``; NaN at the columns that were left out."""
        columns = self.feature_map.columns
        rows = self.dictionary.rows
        return rows if columns is None else np.asarray(columns.spread(rows))

    @property
    def weights(self) -> Real:
        """How many rows each stands for, ``(m,)``."""
        return self.dictionary.weights(self.sampling)

    @property
    def effective_dimension(self) -> float:
        """``sum_i lambda_i / (lambda_i + gamma)`` of the kernel matrix, as estimated."""
        return self.dictionary.dimension

    @property
    def gamma(self) -> float:
        """Ridge at which the dictionary is accurate: that asked for, or larger where the budget was too small for it."""
        return self.dictionary.gamma

    @property
    def oversampling(self) -> float:
        """Rows kept for each unit of effective dimension that the budget left."""
        return float(min(self.dictionary.multiplier, 1e300))

    def update(
        self,
        X: Any,
        *,
        device: str = "cpu",
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> NystromResult:
        """The same of all rows so far and those of ``X``: one pass over the new rows alone.

        Kernel, scale, ridge, budget and seed stay what they are. The old rows are not read again, so nothing is proved
        of the error: ``certificate.trace_error`` is infinite. Columns are those of the old rows, and so there is no mask; what
        is missing in others is an error.

        Parameters
        ----------
        X
            Rows as `streamsvd.nystrom` takes them.
        device, memory, callback
            As of `streamsvd.nystrom`.

        Raises
        ------
        ShapeError
            If the rows have another length.
        SpecError, NonFiniteError, BudgetError
            As `streamsvd.nystrom`.
        """
        source = as_source(X)
        check_real(source)
        check_kernel_rows(source, self.sampling.kernel.name)
        width, columns = self.feature_map.width, self.feature_map.columns
        if source.shape[1] != width:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} columns; the dictionary is of rows of {width} numbers."
            )
        check_device(device, self.sampling.kernel)
        view = view_of(source, columns)
        options = replace(self.options, certify=False)
        schedule = schedule_dictionary(view.source, options, allowed_bytes(memory), device=device)
        with (
            view.naming(),
            running(schedule, device=device, notify=callback, seed=options.seed) as run,
        ):
            new = choose_rows(run, self.sampling, self.dictionary.n_rows)
            with sampling_at_home(device, self.sampling) as sampling:
                state = merge_dictionaries(sampling, [self.dictionary, new])
            found = build_result(run, self.sampling, state, options, self.chosen_options)
        found = replace(found, labels=self.labels.of_columns)
        return put_back(found, view)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that `load_nystrom` needs, for a ``.npz`` file.

        Raises
        ------
        SpecError
            If the kernel is a function, which cannot be saved.
        """
        return dictionary_arrays(self)


def load_nystrom(path: str | os.PathLike[str]) -> NystromResult:
    """A dictionary that its `save`, or ``streamsvd nystrom --out``, wrote: `streamsvd.load`, for dictionaries alone.

    Parameters
    ----------
    path
        The folder; or a ``.npz`` file of `NystromResult.arrays`.

    Raises
    ------
    StoreError
        If there is no such thing, or it is of a newer release.
    """
    place = place_of(path)
    found: NystromResult | None = read_folder(place, "nystrom")
    return NystromResult(**dictionary_in(place)) if found is None else found


def put_back(found: NystromResult, view: View) -> NystromResult:
    """What was found of the columns that are kept, for rows of all columns."""
    if view.columns is None and not view.look_bytes and view.nonfinite == "raise":
        return found
    map_ = found.feature_map.over(view.columns)
    return replace(found, feature_map=map_, info=with_columns(found.info, view))


@over_columns_with_values(put_back)
def nystrom(
    X: Any,
    kernel: KernelName | Callable[[Matrix, Matrix], Matrix] = "rbf",
    *,
    n_centres: int = DEFAULT_CENTRES,
    gamma: float | None = None,
    length: float | None = None,
    degree: int = 3,
    offset: float = 1.0,
    smoothness: float = 1.5,
    scale: bool = False,
    budget: int | None = None,
    mode: Mode = "poisson",
    certify: bool = True,
    mask: Any = None,
    nonfinite: str = "raise",
    device: str = "cpu",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> NystromResult:
    """Nyström approximation of a kernel matrix that is never formed, from one pass over the rows.

    Parameters
    ----------
    X
        A matrix as `svd` takes it; its rows are the points.
    kernel
        ``"linear"``, ``"polynomial"``, ``"rbf"``, ``"laplacian"``, ``"matern"``, ``"cosine"``, or a positive definite
        function of two blocks of rows. Of a sparse matrix ``"laplacian"`` is refused.
    n_centres
        Rows that the feature map is made of.
    gamma
        Ridge: how fine the approximation is to be; directions of the kernel matrix with eigenvalues below it are not
        resolved. Left out, it is the smallest that the budget allows.
    length
        Length scale of ``"rbf"``, ``"laplacian"``, ``"matern"``; the median distance between random rows if left out.
    degree, offset, smoothness
        Parameters of ``"polynomial"``, and smoothness of ``"matern"``: 0.5, 1.5 or 2.5.
    scale
        Divide each column by its standard deviation, as a sample of the rows has it; for columns in different units.
    budget
        Rows kept in the dictionary; four for each centre if left out.
    mode
        ``"poisson"``; or ``"squeak"``, ``"ink"`` as published; or ``"uniform"``, the baseline.
    certify
        Whether a second pass sums the exact trace of the error.
    mask
        Columns to keep, as in `streamsvd.svd`; the others are not looked at, nor in the rows that the feature map is given.
    nonfinite
        What a NaN is: ``"raise"``, an error that names it; ``"zero"``; ``"mean"`` of its column, or ``"drop_columns"``, which leaves
        out the columns that have any; these two take one more pass, before the others. Inf is always an error.
    device
        ``"cpu"`` or ``"cuda"``: where scores of rows, and in the second pass features, are computed, in float64. Centres are
        picked on the host.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling: it and the order of rows decide which are kept.
    checkpoint
        Folder, or URL of an object store, where finished parts of a pass are saved now and then, so that a run that was
        killed goes on from there, to the same bits. It is removed at the end.
    save_seconds
        Least time between two saves.
    callback
        Receives events.

    Raises
    ------
    SpecError
        If an option cannot be meant, the data are complex, or the kernel is not positive definite on them.
    NonFiniteError
        If an entry is NaN or Inf; it names row and column.
    BudgetError
        If the dictionary does not fit in the memory; it names the smallest that works.
    ConflictError
        If another run saves to the same checkpoint.

    Notes
    -----
    Cost: one pass, ``8 n m^2`` flops for a dictionary of m rows and ``n m`` kernel entries twice; a second pass of
    ``n M^2`` to certify. Runs of rows are tasks, at most 64, joined in a tree of fixed shape: bits depend on the matrix, its
    chunks and the options, not on memory, threads or cluster. Memory: ``40 (2 m)^2`` bytes a task and the rows kept;
    never n x n.

    References
    ----------
    Calandriello, Lazaric, Valko (2017), SQUEAK and DISQUEAK; centres by greedy pivoted Cholesky of the weighted
    dictionary.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((3000, 4))
    >>> found = streamsvd.nystrom(X, n_centres=200, length=3.0)
    >>> found.feature_map(X[:5]).shape[0], found.certificate.trace_error < 0.05 * 3000
    (5, True)
    """
    del mask, nonfinite  # X has the columns that are kept, and no NaN
    source = as_source(X)
    check_real(source)
    check_kernel_rows(source, kernel)
    try_saves(checkpoint, source)
    options = NystromOptions(
        kernel=kernel, length=length, degree=degree, offset=offset, smoothness=smoothness, scale=scale,
        gamma=gamma, n_centres=n_centres, budget=budget, mode=mode, certify=certify, seed=seed,
    )  # fmt: skip
    schedule = schedule_dictionary(
        source,
        options,
        allowed_bytes(memory),
        passes=_passes(options),
        device=device,
        saves=checkpoint is not None,
    )
    check_comparable(options, checkpoint)
    with running(schedule, device=device, notify=callback, seed=seed) as run:
        sample, _ = read_sample(source)
        run.saves = open_saves(
            checkpoint, "nystrom", schedule, options, seconds=save_seconds, kinds=(Dictionary,), device=device,
            sample=array_digest(sample),
        )  # fmt: skip
        sampling = settle_sampling(options, sample)
        state = choose_rows(run, sampling)
        asked = with_choices(options, sampling)
        return build_result(run, sampling, state, asked, open_choices(options))


@plan_over_columns
def plan_nystrom(
    X: Any,
    kernel: KernelName | Callable[[Matrix, Matrix], Matrix] = "rbf",
    *,
    n_centres: int = DEFAULT_CENTRES,
    gamma: float | None = None,
    length: float | None = None,
    degree: int = 3,
    offset: float = 1.0,
    smoothness: float = 1.5,
    scale: bool = False,
    budget: int | None = None,
    mode: Mode = "poisson",
    certify: bool = True,
    mask: Any = None,
    nonfinite: str = "raise",
    device: str = "cpu",
    memory: int | float | str | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `nystrom` will read and need, from shapes alone.

    Parameters
    ----------
    X, kernel, n_centres, gamma, length, degree, offset, smoothness, scale, budget, mode, certify, mask, nonfinite, device
        As of `streamsvd.nystrom`.
    memory, seed, checkpoint
        As of `streamsvd.nystrom`; nothing is written.

    Raises
    ------
    SpecError, BudgetError
        As `streamsvd.nystrom`, before anything is read.
    """
    del mask, nonfinite  # X is as the run will be given it
    source, allowed = as_source(X), allowed_bytes(memory)
    check_real(source)
    check_kernel_rows(source, kernel)
    check_saves(checkpoint, source)
    options = NystromOptions(
        kernel=kernel, length=length, degree=degree, offset=offset, smoothness=smoothness, scale=scale,
        gamma=gamma, n_centres=n_centres, budget=budget, mode=mode, certify=certify, seed=seed,
    )  # fmt: skip
    check_comparable(options, checkpoint)
    schedule = schedule_dictionary(
        source,
        options,
        allowed,
        passes=_passes(options),
        device=device,
        saves=checkpoint is not None,
    )
    return RunPlan.of(
        "nystrom", schedule, options, allowed, passes=_passes(options), notes=(SAMPLE_NOTE,)
    )


def _passes(options: NystromOptions) -> int:
    """One for the dictionary, one for its error."""
    return 2 if options.certify else 1


SAMPLE_NOTE = f"Before the first pass up to {SAMPLE_ROWS:,} rows are looked at: a kernel is centred, and what is left open is chosen, on them."


def schedule_dictionary(
    source: Source,
    options: KernelOptions,
    allowed: int,
    *,
    further: int = 0,
    shared: int = 0,
    passes: int = 1,
    sums: int = 0,
    saves: bool = False,
    device: str = "cpu",
) -> Schedule:
    """How to run within the memory.

    Parameters
    ----------
    source, options, allowed
        The matrix, what was asked, and bytes.
    further, shared
        Bytes that a task holds beside its dictionary, and that there are once.
    sums, saves
        Of these, bytes of what it hands back; and whether that, and dictionaries, are saved.
    passes
        Reads of the matrix.
    device
        Where the cubic work of tasks is done; the host then picks centres alone, once.

    Raises
    ------
    SpecError
        If the device does not answer, or cannot compute the kernel.
    BudgetError
        If not even one task fits.
    """
    sampling = sampling_of(options)
    check_device(device, sampling.kernel)
    m, n = source.shape
    assert sampling.budget is not None
    size = min(sampling.budget, m)
    rows = 8 * n * 8 * size  # waiting, joined, and of both dictionaries
    dense = 40 * (2 * size) ** 2
    shared, dense = (shared, dense) if device == "cpu" else (shared + 40 * size**2, 8 * size)
    features = feature_bytes(source, options.n_centres, device)
    partial = 8 * size * (n + 4)
    return schedule_rows(
        source,
        size,
        allowed,
        work=lambda height: dense + further + rows + 8 * 3 * height * n + features,
        shared=shared + 8 * n * 4 * SAMPLE_ROWS,
        partial=partial,
        saved=max(partial, sums) if saves else 0,
        passes=passes,
        what=f"a dictionary of {size:,} rows of {n:,} numbers",
        remedy=", or fewer rows of the dictionary (budget, n_centres)",
    )


def feature_rows(source: Source, centres: int, device: str) -> int:
    """Rows of a block whose features are found at once: by the shape, the centres and the device alone."""
    (m, n), row = source.shape, 8 * centres
    if device != "cpu":
        return max(1, min(m, BLOCK_BYTES // row, max(64, BLOCK_BYTES // (8 * n))))
    rows = max(LEAST_ROWS, 8 * FEATURE_ITEMS // row)
    return max(1, min(m, rows, max(64, PIECE_BYTES // (8 * n))))


def feature_bytes(source: Source, centres: int, device: str) -> int:
    """Bytes of such a block, as it is put together, and of its features, as they are found."""
    height, n = feature_rows(source, centres, device), source.shape[1]
    block = height * (8 * n + 2 * n * source.dtype.itemsize)
    return (
        block if device != "cpu" else block + 8 * 5 * height * (min(centres, source.shape[0]) + n)
    )


def feature_reader(run: Run, centres: int) -> MatrixReader:
    """Blocks of such a height, in the same spans."""
    reader = run.reader
    assert isinstance(reader, MatrixReader)
    height = feature_rows(reader.source, centres, run.device)
    return replace(reader, layout=replace(reader.layout, unit=height))


def check_comparable(options: KernelOptions, checkpoint: Any) -> None:
    """Refuse saves of a run whose kernel cannot be told from another.

    Raises
    ------
    SpecError
        If the kernel is a function.
    """
    if checkpoint is not None and callable(options.kernel):
        raise SpecError(
            "a kernel that is a function cannot be told from another one, so its runs cannot go on from saves. Leave "
            "checkpoint= out, or use one of the named kernels."
        )


def choose_rows(run: Run, sampling: DictionaryOptions, offset: int = 0) -> Dictionary:
    """The dictionary of all rows: one pass."""
    return run.once("dictionary", DictionaryPass(sampling, run.device, offset))


def build_result(
    run: Run,
    sampling: DictionaryOptions,
    state: Dictionary,
    options: NystromOptions,
    chosen: tuple[str, ...],
) -> NystromResult:
    """Centres and feature map of a dictionary, and a pass that certifies them where it is wanted."""
    found = pivots(sampling, state, options.n_centres)
    map_ = FeatureMap.of(sampling.kernel, state.rows[found.places])
    left = float("inf")
    if options.certify:
        run.reader = feature_reader(run, options.n_centres)
        left, trace = run.once("error", TraceErrorPass(map_))
        left = rounded_up(left, map_, trace)
    warnings = _warnings(sampling, state, None if "gamma" in chosen else sampling.gamma)
    if "gamma" in chosen:
        options = replace(options, gamma=state.gamma)
    return NystromResult(
        sampling=sampling,
        dictionary=state,
        centres=state.ids[found.places],
        feature_map=map_,
        certificate=NystromCertificate(left, ACTUAL * found.left_norm, state.trace),
        options=options,
        chosen_options=chosen,
        info=run.info(passes=float(_passes(options)), n_rows=state.n_rows, warnings=warnings),
    )


def _warnings(
    sampling: DictionaryOptions, state: Dictionary, gamma: float | None
) -> tuple[str, ...]:
    said = []
    if gamma is not None and state.gamma > 1.0001 * gamma:
        said.append(
            f"budget={sampling.budget} is too small for gamma={gamma:g}: the dictionary is accurate at {state.gamma:.3g}. "
            "Pass a larger budget, or a larger gamma."
        )
    if sampling.budget is not None and sampling.budget < 16:
        said.append(f"budget={sampling.budget} is hardly of use; 16 is the least that is.")
    if state.n_rows > (sampling.budget or 0) and state.dimension > state.n_rows / 4:
        said.append(
            f"the effective dimension {state.dimension:.0f} is more than a quarter of the {state.n_rows:,} rows: the kernel "
            "matrix has no low rank at this gamma."
        )
    return tuple(said)


def rounded_up(left: float, map_: FeatureMap, trace: float) -> float:
    """A sum of what is left of the diagonal, and what rounding may have hidden of it."""
    return left + 8 * UNIT_ROUNDOFF * float(np.sqrt(max(map_.n_features, 1))) * trace
