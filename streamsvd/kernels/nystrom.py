"""The verb ``nystrom``: a dictionary of rows in one pass, centres and a feature map, and the error certified in a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.columns import View, over_columns_with_values, view_of, with_columns
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.opening import as_source
from streamsvd.engine.runs import Passes, RowSchedule, allowed_bytes, plan_row_schedule
from streamsvd.engine.runs.checks import check_real
from streamsvd.engine.saves import SAVE_SECONDS, Saves, array_digest, check_seconds, try_saves
from streamsvd.errors import ShapeError, SpecError
from streamsvd.kernels.choice import SAMPLE_ROWS, read_sample
from streamsvd.kernels.devices import check_device, choosing
from streamsvd.kernels.files import SAMPLING, dictionary_arrays, dictionary_in
from streamsvd.kernels.mathematics import (
    Dictionary,
    DictionaryOptions,
    FeatureMap,
    merge_dictionaries,
    pivots,
)
from streamsvd.kernels.mathematics.centres import ACTUAL
from streamsvd.kernels.mathematics.dictionary import Mode
from streamsvd.kernels.options import DEFAULT_CENTRES, KernelOptions
from streamsvd.kernels.passes import DictionaryPass, TraceErrorPass
from streamsvd.kernels.records import NystromCertificate, NystromInfo
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real

PURPOSE = "nystrom"


@dataclass(frozen=True, slots=True, eq=False)
class NystromResult:
    """A dictionary, centres, and the feature map they make.

    Attributes
    ----------
    spec, dictionary
        How rows were sampled, and what is kept of them.
    centres
        Numbers of the rows that are centres, in the order of choice.
    feature_map
        ``z(X)`` of rows ``(p, n)``, with ``z(x).z(y)`` near ``k(x, y)``.
    certificate, info
        What is known of the error, and how it came about.
    """

    spec: DictionaryOptions
    dictionary: Dictionary
    centres: npt.NDArray[np.int64]
    feature_map: FeatureMap
    certificate: NystromCertificate
    info: NystromInfo

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
        return self.dictionary.weights(self.spec)

    @property
    def effective_dimension(self) -> float:
        """``sum_i lambda_i / (lambda_i + gamma)`` of the kernel matrix, as estimated."""
        return self.dictionary.dimension

    @property
    def gamma(self) -> float:
        """Ridge at which the dictionary is accurate: that asked for, or larger where the budget was too small for it."""
        return self.dictionary.gamma

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
        of the error: ``certificate.trace_error`` is infinite.

        Raises
        ------
        ShapeError
            If the rows have another length.
        SpecError, NonFiniteError, BudgetError
            As `streamsvd.nystrom`.
        """
        source = as_source(X)
        check_real(source)
        width, columns = self.feature_map.width, self.feature_map.columns
        if source.shape[1] != width:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} columns; the dictionary is of rows of {width} numbers."
            )
        check_device(device, self.spec.kernel)
        view = view_of(source, columns)
        source = view.source
        passes = Passes(plan_dictionary(source, self.spec, memory, device=device), callback)
        began, start = time.perf_counter(), mark_memory()
        with held_memory(), dense_threads(1), view.naming():
            state = chosen_rows(passes, self.spec, device, self.dictionary.n_rows)
            with choosing(device, self.spec) as spec:
                state = merge_dictionaries(spec, [self.dictionary, state])
            found = build_result(
                passes, self.spec, state, self.info.n_centres, self.info.chosen, False, began, start
            )
        return put_back(found, view)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that `load_nystrom` needs, for a ``.npz`` file.

        Raises
        ------
        SpecError
            If the kernel is a function, which cannot be saved.
        """
        return dictionary_arrays(
            self.spec, self.dictionary, self.centres, self.feature_map, self.certificate, self.info
        )


def load_nystrom(path: str | os.PathLike[str]) -> NystromResult:
    """The dictionary that ``numpy.savez(path, **found.arrays())`` or ``streamsvd nystrom --out`` saved.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    return NystromResult(*dictionary_in(path))


def put_back(found: NystromResult, view: View) -> NystromResult:
    """What was found of the columns that are kept, for rows of all columns."""
    if view.columns is None and not view.look_bytes:
        return found
    map_ = found.feature_map.over(view.columns)
    return replace(found, feature_map=map_, info=with_columns(found.info, view))


@over_columns_with_values(put_back)
def nystrom(
    X: Any,
    kernel: str | Callable[[Matrix, Matrix], Matrix] = "rbf",
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
        function of two blocks of rows.
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
    del mask  # X has the columns that are kept
    source = as_source(X)
    check_real(source)
    try_saves(checkpoint, source)
    asked = KernelOptions(
        kernel=kernel, length=length, degree=degree, offset=offset, smoothness=smoothness, scale=scale,
        gamma=gamma, n_centres=n_centres, budget=budget, mode=mode, seed=seed,
    )  # fmt: skip
    check_device(device, asked.spec.kernel)
    arrangement = plan_dictionary(source, asked.spec, memory, device=device)
    began, start = time.perf_counter(), mark_memory()
    with held_memory(), dense_threads(1):
        sample, _ = read_sample(source)
        spec = asked.settle(sample)
        saves = open_saves(
            checkpoint, save_seconds, PURPOSE, source, sample, spec, arrangement, n_centres=n_centres,
            device=device,
        )  # fmt: skip
        passes = Passes(arrangement, callback, saves)
        state = chosen_rows(passes, spec, device)
        found = build_result(
            passes, spec, state, n_centres, asked.left_open, certify, began, start, device
        )
    if saves is not None:
        saves.clear()
    return found


def plan_dictionary(
    source: Source,
    spec: DictionaryOptions,
    memory: int | float | str | None,
    *,
    further: int = 0,
    held: int = 0,
    device: str = "cpu",
) -> RowSchedule:
    """How to run within the memory.

    Parameters
    ----------
    source, spec, memory
        The matrix, the sampling, and bytes as the caller wrote them.
    further, held
        Bytes that a task holds beside its dictionary, and that there are once.
    device
        Where the cubic work of tasks is done; the host then picks centres alone, once.
    """
    n = source.shape[1]
    size = min(spec.budget or source.shape[0], source.shape[0])
    rows = 8 * n * 8 * size  # waiting, joined, and of both dictionaries
    dense = 40 * (2 * size) ** 2
    held, dense = (held, dense) if device == "cpu" else (held + 40 * size**2, 8 * size)

    def work(piece: int) -> int:
        return dense + further + rows + 8 * 3 * piece * (size + n)

    return plan_row_schedule(
        source,
        size,
        allowed_bytes(memory),
        work=work,
        held=held + 8 * n * 4 * SAMPLE_ROWS,
        found=8 * size * (n + 4),
        what=f"a dictionary of {size:,} rows of {n:,} numbers from {source.name}",
        remedy=", or fewer rows of the dictionary (budget, n_centres)",
    )


def open_saves(
    place: str | os.PathLike[str] | None,
    seconds: float,
    purpose: str,
    source: Source,
    sample: Matrix,
    spec: DictionaryOptions,
    arrangement: RowSchedule,
    kinds: tuple[type, ...] = (),
    device: str = "cpu",
    **further: Any,
) -> Saves | None:
    """Saves at a place, of this run and no other.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be told from another; if what was saved is of another run.
    """
    if place is None:
        return None
    if callable(spec.kernel.name):
        raise SpecError(
            "a kernel that is a function cannot be told from another one, so its runs cannot go on from saves. Leave "
            "checkpoint= out, or use one of the named kernels."
        )
    run = {
        "source": source.name, "shape": list(source.shape), "dtype": source.dtype.str, "rows": array_digest(sample),
        "kernel": spec.kernel.record, **{name: getattr(spec, name) for name in SAMPLING}, **further,
        "chunks": list(source.chunks), "runs": len(arrangement.parts),
        **({} if device == "cpu" else {"device": device}),
    }  # fmt: skip
    check_seconds(seconds)
    known = {kind.__name__: kind for kind in (Dictionary, *kinds)}
    return Saves.at(place, purpose, run, known, seconds)


def chosen_rows(
    passes: Passes, spec: DictionaryOptions, device: str = "cpu", offset: int = 0
) -> Dictionary:
    """The dictionary of all rows: one pass."""
    assert spec.budget is not None
    job = DictionaryPass(passes.schedule.rows, spec, spec.budget, offset, device)
    return passes.once("dictionary", job)


def build_result(
    passes: Passes,
    spec: DictionaryOptions,
    state: Dictionary,
    n_centres: int,
    chosen: tuple[str, ...],
    certify: bool,
    began: float,
    start: Any,
    device: str = "cpu",
) -> NystromResult:
    """Centres and feature map of a dictionary, and a pass that certifies them where it is wanted."""
    found = pivots(spec, state, n_centres)
    map_ = FeatureMap.of(spec.kernel, state.rows[found.places])
    left = _trace_left(passes, map_, device) if certify else float("inf")
    info = NystromInfo(
        n_rows=state.n_rows, passes=2 if certify else 1, bytes_read=passes.bytes_read,
        elapsed_s=time.perf_counter() - began, peak_bytes=peak_since(start),
        projected_bytes=passes.schedule.projected_bytes, n_centres=n_centres, kernel=spec.kernel.record,
        chosen=chosen, oversampling=float(min(state.multiplier, 1e300)), seed=spec.seed,
        warnings=_warnings(spec, state, None if "gamma" in chosen else spec.gamma),
    )  # fmt: skip
    certificate = NystromCertificate(left, ACTUAL * found.left_norm, state.trace)
    return NystromResult(spec, state, state.ids[found.places], map_, certificate, info)


def _warnings(spec: DictionaryOptions, state: Dictionary, gamma: float | None) -> tuple[str, ...]:
    said = []
    if gamma is not None and state.gamma > 1.0001 * gamma:
        said.append(
            f"budget={spec.budget} is too small for gamma={gamma:g}: the dictionary is accurate at {state.gamma:.3g}. "
            "Pass a larger budget, or a larger gamma."
        )
    if spec.budget is not None and spec.budget < 16:
        said.append(f"budget={spec.budget} is hardly of use; 16 is the least that is.")
    if state.n_rows > (spec.budget or 0) and state.dimension > state.n_rows / 4:
        said.append(
            f"the effective dimension {state.dimension:.0f} is more than a quarter of the {state.n_rows:,} rows: the kernel "
            "matrix has no low rank at this gamma."
        )
    return tuple(said)


def _trace_left(passes: Passes, map_: FeatureMap, device: str) -> float:
    """``trace(K - K_C)``, rounded up."""
    left, trace = passes.once("error", TraceErrorPass(passes.schedule.rows, map_, device))
    return rounded_up(left, map_, trace)


def rounded_up(left: float, map_: FeatureMap, trace: float) -> float:
    """A sum of what is left of the diagonal, and what rounding may have hidden of it."""
    return left + 8 * UNIT_ROUNDOFF * float(np.sqrt(max(map_.n_features, 1))) * trace
