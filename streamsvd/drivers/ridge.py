"""The verb ``kernel_ridge``: a dictionary in one pass, the regression in a second, predictions streamed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.drivers.nystrom import DEFAULT_CENTRES, RATIO, Nystrom, blocks_of, fitted, nystrom
from streamsvd.drivers.request import as_source
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import Callback, Committed, ignore
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.memory import parse_bytes
from streamsvd.engine.plan import default_budget
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.kernels.uniforms import uniforms
from streamsvd.leverage import FeatureMap, Kernel, Mode
from streamsvd.leverage.ridge import Moments, best_ridge, coefficients
from streamsvd.store.rows import RowsWriter
from streamsvd.typing import Matrix, Real

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class KernelRidge:
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
    nystrom: Nystrom | None
    info: dict[str, Any]

    def predict(self, X: Any) -> Matrix:
        """Predictions for rows ``(p, n)`` in memory: ``(p,)`` or ``(p, q)``."""
        rows = np.asarray(X, dtype=np.float64)
        width = self.feature_map.centres.shape[1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise ShapeError(
                f"rows of shape {rows.shape} came; the fit was on rows of {width} numbers."
            )
        found = self.feature_map(rows) @ self.coefficients + self.mean
        return np.asarray(found[:, 0] if self.flat else found)

    def predict_to(
        self,
        X: Any,
        out: str | os.PathLike[str],
        *,
        memory: int | float | str | None = None,
        overwrite: bool = False,
        callback: Callback = ignore,
    ) -> Path:
        """Predictions for all rows of a stored matrix, ``(rows, targets)``, as a new zarr array: one pass.

        Raises
        ------
        ShapeError
            If its rows have another length.
        StoreError
            If ``out`` exists and may not be replaced, or cannot be written.
        """
        source = as_source(X)
        width = self.feature_map.centres.shape[1]
        if source.shape[1] != width:
            raise ShapeError(
                f"{source.name} has {source.shape[1]} columns; the fit was on rows of {width} numbers."
            )
        allowed = default_budget() if memory is None else parse_bytes(memory)
        feed = fitted(source, self.feature_map.centres.shape[0], allowed)
        m, q = source.shape[0], self.coefficients.shape[1]
        chunks = (min(source.chunks[0], m), q)
        writer = RowsWriter(Path(out), (m, q), chunks, np.dtype(np.float64), overwrite=overwrite)
        try:
            with held_memory(), dense_threads(1):
                for _, rows in blocks_of(feed, 1, "predictions", callback):
                    values = self.feature_map(rows) @ self.coefficients + self.mean
                    writer.append(values, np.arange(rows.shape[0]))
            path = writer.commit()
        except BaseException:
            writer.discard()
            raise
        callback(Committed(str(path)))
        return path

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that `load_ridge` needs, for a ``.npz`` file.

        Raises
        ------
        SpecError
            If the kernel is a function, which cannot be saved.
        """
        kernel = self.feature_map.kernel
        if callable(kernel.name):
            raise SpecError(
                "a kernel that is a function cannot be saved. Use one of the named kernels."
            )
        record = {
            "format": FORMAT,
            "kernel": kernel.record,
            "ridge": self.ridge,
            "flat": self.flat,
            "info": self.info,
        }
        centre = np.zeros(0) if kernel.centre is None else kernel.centre
        return {
            "centres": self.feature_map.centres, "whitening": self.feature_map.whitening,
            "coefficients": self.coefficients, "mean": self.mean, "held_out_rmse": self.held_out_rmse,
            "centre": centre, "record": np.frombuffer(msgspec.json.encode(record), dtype=np.uint8),
        }  # fmt: skip


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
    budget: int | None = None,
    mode: Mode = "poisson",
    held_out: float = 0.1,
    memory: int | float | str | None = None,
    seed: int = 0,
    callback: Callback = ignore,
) -> KernelRidge:
    """Kernel ridge regression on rows that do not fit in memory: two passes, never n x n.

    Parameters
    ----------
    X
        A matrix as `svd` takes it; its rows are the points.
    y
        Targets in memory, ``(rows,)`` or ``(rows, targets)``; their mean is taken out and put back.
    kernel, n_centres, length, degree, offset, smoothness, budget, mode
        As of `streamsvd.nystrom`.
    ridge
        ``mu`` in ``sum (y - f(x))^2 + mu ||f||^2``; left out, the one of a grid with the least error on the rows held out.
    held_out
        Share of the rows that do not train but judge; the final fit is on all rows.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the sampling and of the rows held out.
    callback
        Receives events.

    Raises
    ------
    ShapeError
        If X and y have different numbers of rows.
    SpecError, NonFiniteError, BudgetError
        As `streamsvd.nystrom`; if y is not finite real numbers.

    Notes
    -----
    Cost: two passes, ``8 n m^2 + n M^2`` flops for m rows of the dictionary and M centres. The held-out error of every
    ridge follows from sums, without a pass.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (2000, 2)); y = np.sin(X[:, 0]) * X[:, 1]
    >>> fit = streamsvd.kernel_ridge(X, y, n_centres=100)
    >>> bool(fit.held_out_rmse[0] < 0.05)
    True
    """
    began = time.perf_counter()
    source = as_source(X)
    targets, flat = _targets(y, source.shape[0], source.name)
    if ridge is not None and not 0 < ridge < float("inf"):
        raise SpecError(f"ridge={ridge} is no ridge. Pass a positive number, or leave it out.")
    if not 0 <= held_out < 1 or (ridge is None and held_out == 0):
        raise SpecError(
            f"held_out={held_out} leaves nothing to choose a ridge by, or to train on. Pass a share in (0, 1)."
        )
    found = nystrom(
        source, kernel, n_centres=n_centres, gamma=ridge, length=length, degree=degree, offset=offset,
        smoothness=smoothness, budget=budget, mode=mode, certify=False, memory=memory, seed=seed, callback=callback,
    )  # fmt: skip
    allowed = default_budget() if memory is None else parse_bytes(memory)
    feed = fitted(source, budget or RATIO * n_centres, allowed)
    map_, mean = found.feature_map, targets.mean(axis=0)
    train = out = Moments.zero(map_.n_features, targets.shape[1])
    with held_memory(), dense_threads(1):
        for at, rows in blocks_of(feed, 2, "regression", callback):
            numbers = np.arange(at, at + rows.shape[0], dtype=np.int64)
            judge = uniforms(seed ^ 0x5EED, numbers, 1)[:, 0] < held_out
            Z, values = map_(rows), targets[at : at + rows.shape[0]] - mean
            train = train.update(Z[~judge], values[~judge])
            out = out.update(Z[judge], values[judge])
        chosen = found.info.chosen
        if ridge is None:
            ridge = best_ridge(train, out)[0]
            chosen = (*(name for name in chosen if name != "gamma"), "ridge")
        error = out.error(coefficients(train, ridge))
        beta = coefficients(train.merge(out), ridge)
    rmse = np.sqrt(error / out.n_rows) if out.n_rows else np.full_like(error, np.nan)
    info = {
        "n_rows": source.shape[0], "held_out": out.n_rows, "passes": 2, "bytes_read": 2 * feed.pass_bytes,
        "elapsed_s": time.perf_counter() - began, "chosen": list(chosen), "seed": seed,
        "warnings": list(found.info.warnings),
    }  # fmt: skip
    return KernelRidge(map_, beta, mean, float(ridge), rmse, flat, found, info)


def _targets(y: Any, m: int, name: str) -> tuple[Matrix, bool]:
    values = np.asarray(y)
    if values.ndim not in (1, 2) or values.shape[0] != m:
        raise ShapeError(
            f"y has shape {values.shape}, {name} has {m:,} rows. Pass one target, or one row of them, for each."
        )
    if values.dtype.kind not in "fiub":
        raise SpecError(
            f"y holds {values.dtype}: targets are real numbers. Encode categories as numbers first."
        )
    wide = values.astype(np.float64).reshape(m, -1)
    bad = ~np.isfinite(wide)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise SpecError(
            f"y is {wide[i, j]} at row {int(i)}, target {int(j)}. Mend or leave out the row."
        )
    return wide, values.ndim == 1


def load_ridge(path: str | os.PathLike[str]) -> KernelRidge:
    """The regression that ``numpy.savez(path, **fit.arrays())`` saved.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        record = msgspec.json.decode(arrays["record"].tobytes())
        newer = record["format"] > FORMAT
        k = record["kernel"]
        centre = arrays["centre"] if arrays["centre"].size else None
        kernel = Kernel(k["name"], k["length"], k["degree"], k["offset"], k["smoothness"], centre)
        map_ = FeatureMap(kernel, arrays["centres"], arrays["whitening"])
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise StoreError(f"{os.fspath(path)} holds no kernel ridge regression: {error}.") from error
    if newer:
        raise StoreError(f"{os.fspath(path)} was saved by a newer release. Upgrade streamsvd.")
    return KernelRidge(
        map_, arrays["coefficients"], arrays["mean"], record["ridge"], arrays["held_out_rmse"], record["flat"],
        None, record["info"],
    )  # fmt: skip
