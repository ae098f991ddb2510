"""What estimators are given: numbers in memory, or a matrix that stays where it is stored."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from streamsvd.checks.foreign import check_object
from streamsvd.checks.numbers import check_integer
from streamsvd.engine.dask_source import is_dask_array
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.estimators.frames import is_frame
from streamsvd.factor.passes import NormalPass, ThinBlock
from streamsvd.factor.sample import power_of_two
from streamsvd.factor.svd import plan_svd
from streamsvd.numerics.blocks import Preparation
from streamsvd.protocols import Source
from streamsvd.store.sources.kinds import find_kind
from streamsvd.typing import Matrix

FOREIGN_LIBRARIES = ("anndata", "dask", "h5py", "netCDF4", "polars", "pyarrow")
"""Libraries whose objects scikit-learn does not read, or reads whole."""


def is_stored(X: Any) -> bool:
    """Whether ``X`` is for `streamsvd.open`, a path, paths, or an object of a kind that it takes, and not an array or a frame in memory.

    Raises
    ------
    SpecError
        If it is of a library whose objects neither takes.
    """
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        return bool(X) and all(isinstance(part, str | os.PathLike) for part in X)
    if isinstance(X, np.ndarray) or is_frame(X):
        return False
    if (
        is_dask_array(X)
        or find_kind(X) is not None
        or isinstance(getattr(X, "chunks", None), tuple)
    ):
        return True
    if type(X).__module__.split(".")[0] in FOREIGN_LIBRARIES:
        check_object(X)
    return False


def check_in_memory(X: Any, *, remedy: str) -> None:
    """Refuse what numpy would read whole, without a word.

    Raises
    ------
    SpecError
        If ``X`` is stored.
    """
    if is_stored(X) and not sparse.issparse(X):
        raise SpecError(
            f"a block of rows in memory was expected, not {type(X).__name__}: a stored matrix is not loaded "
            f"whole. {remedy}"
        )


@contextlib.contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """The estimator as it was, if what is done with it fails; states are never written into."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextlib.contextmanager
def without_missing(verb: str) -> Iterator[None]:
    """Advice that can be followed, where a stored matrix has missing values: estimators have no policy for them."""
    try:
        yield
    except NonFiniteError as bad:
        remedy = missing_remedy(verb, bad.value)
        raise NonFiniteError(bad.value, bad.row, bad.column, bad.chunk, remedy) from None


def missing_remedy(verb: str, value: str) -> str:
    """What to do about an entry that is no number, where an estimator has met it."""
    if value == "Inf":
        return "No estimator and no verb takes Inf: mend the data, or make it NaN and fill that."
    return (
        "Estimators take no missing values, NaN: fill them before, with sklearn.impute.SimpleImputer in a pipeline; or use "
        f'streamsvd.{verb}, which fills them with nonfinite="mean", and leaves columns without values out with mask="auto".'
    )


def check_count(name: str, value: Any, *, least: int = 1) -> int | None:
    """An option that is None or an integer, not below the least.

    Raises
    ------
    SpecError
        If it is neither.
    """
    return None if value is None else check_integer(name, value, least=least)


def check_share(name: str, value: Any) -> float | None:
    """An option that is None or a number in (0, 1).

    Raises
    ------
    SpecError
        If it is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise SpecError(f"{name}={value!r} is no relative error. Pass one in (0, 1), such as 0.01.")
    return float(value)


def check_components(n_components: int | None, n_features: int) -> None:
    """Refuse more components than there are columns.

    Raises
    ------
    ShapeError
        With both numbers.
    """
    if n_components is not None and n_components > n_features:
        raise ShapeError(
            f"n_components={n_components} exceeds n_features={n_features}. Pass n_components <= {n_features}."
        )


def as_narrow_as(rows: Matrix, dtype: np.dtype[Any]) -> Matrix:
    """Rows that were computed in double precision, in single precision where what was given is in it."""
    if dtype.newbyteorder("=") not in (np.float32, np.complex64):
        return rows
    return rows.astype(np.complex64 if np.iscomplexobj(rows) else np.float32)


def narrow_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of rows that are made of rows of this type: single precision where it is that, else double."""
    native = dtype.newbyteorder("=")
    if native in (np.float32, np.complex64):
        return native
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def column_means(source: Source, *, energy: float, memory: int | str | None) -> Matrix:
    """Mean of each column of a matrix of squared norm ``energy``: one planned pass that multiplies nothing else.

    Notes
    -----
    Cost: one pass, within ``memory``.
    """
    m, n = source.shape
    plan = plan_svd(source, 1, memory=memory, axis="rows", route="krylov", precision="double")
    alpha = power_of_two(float(np.sqrt(energy / (m * n))), source.dtype)
    prep = Preparation(axis="rows", alpha=alpha, complex_=source.dtype.kind == "c")
    fold = NormalPass(prep, (ThinBlock(np.zeros((n, 1)), single=False),), moments=True)
    run = Run(MatrixReader(source, plan.layout, plan.prefetch), plan.workers, plan.device)
    moments = run(fold, "means").moments
    assert moments is not None
    mean: Matrix = moments.total / (alpha * moments.weight)
    return mean
