"""What users have today, run on the same stored matrices, and where it fails.

``python -m benchmarks.peers NAME PATH --k 50`` runs one peer in this process, which should be fresh,
and prints one line of JSON: wall and CPU seconds (children included), peak memory above that after the
imports, singular values, their worst relative error where the truth is known, and versions.
``python -m benchmarks.peers M1`` prints one of the reproductions of `FAILURES`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from benchmarks import data
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.stores import CountingStore

Array = npt.NDArray[Any]
Figures = dict[str, Any]
Matrix = str | os.PathLike[str] | zarr.Array

# The peers: each reads a zarr array and returns singular values, or nothing. ---------------------


def dask_default(path: Matrix, *, k: int) -> Array:
    """``svd_compressed`` as it comes: no power iteration, no warning."""
    _, s, _ = da.linalg.svd_compressed(da.from_zarr(path), k, seed=0)
    return np.asarray(s.compute())


def dask_tuned(path: Matrix, *, k: int, power: int = 2, oversample: int = 50) -> Array:
    """``svd_compressed`` at its best: normalised iterations, wide sketch, input not retained.

    It reads the matrix ``2 * power + 2`` times.
    """
    _, s, _ = da.linalg.svd_compressed(
        da.from_zarr(path),
        k,
        iterator="QR",
        n_power_iter=power,
        n_oversamples=oversample,
        compute=True,
        seed=0,
    )
    return np.asarray(s.compute())


def incremental_pca(path: Matrix, *, k: int, batch_rows: int | None = None) -> Array:
    """scikit-learn's ``IncrementalPCA``, fed from the store; one pass over the centred matrix.

    Batches have ``5 n`` rows unless told, as scikit-learn cuts them.
    """
    from sklearn.decomposition import IncrementalPCA  # type: ignore[import-untyped]

    A = _array(path)
    batch_rows = batch_rows or 5 * A.shape[1]
    starts = list(range(0, A.shape[0], batch_rows))
    if len(starts) > 1 and A.shape[0] - starts[-1] < k:
        del starts[-1]  # the last batch takes what is too little for one of its own
    model = IncrementalPCA(k)
    for start, stop in zip(starts, [*starts[1:], A.shape[0]], strict=True):
        model.partial_fit(A[start:stop])
    return np.asarray(model.singular_values_)


def plain_read(path: Matrix, **_: Any) -> None:
    """Every entry read once and added up: the floor of a pass."""
    A = _array(path)
    height = (
        max(1, data.PANEL_BYTES // (A.dtype.itemsize * A.shape[1]) // A.chunks[0]) * A.chunks[0]
    )
    total = sum(A[start : start + height].sum() for start in range(0, A.shape[0], height))
    assert np.isfinite(total)


def _array(path: Matrix) -> zarr.Array:
    return path if isinstance(path, zarr.Array) else zarr.open_array(path, mode="r")


PEERS: dict[str, tuple[Callable[..., Array | None], Sequence[str]]] = {  # and what it imports
    "dask-default": (dask_default, ("dask",)),
    "dask-tuned": (dask_tuned, ("dask",)),
    "incremental-pca": (incremental_pca, ("scikit-learn",)),
    "plain-read": (plain_read, ()),
}


def run(name: str, path: str | os.PathLike[str], *, count: bool = False, **options: Any) -> Figures:
    """One peer on one matrix: what it found, how wrong that is, and what it cost.

    Where ``count``, it reads through a store that counts: passes are counted, times are a little longer.
    """
    peer, packages = PEERS[name]
    if name == "incremental-pca":
        importlib.import_module("sklearn.decomposition")  # before memory is measured
    store = CountingStore(LocalStore(path, read_only=True)) if count else None
    matrix = path if store is None else zarr.open_array(store, mode="r")
    s, cost = measured(lambda: peer(matrix, **options))
    figures = {"peer": name, "path": str(path), "options": options, **cost}
    if s is not None:
        figures["s"] = s.tolist()
        if data.truth_path(Path(path)).exists():
            figures["error"] = _worst(s, data.truth(path).s)
    if store is not None:
        figures["counted_passes"] = counted_passes(store, Path(path))
    figures["versions"] = versions(*packages)
    return figures


def counted_passes(store: CountingStore, path: Path) -> float:
    """Decoded bytes that the reads counted by a store amount to, over the bytes of the matrix.

    A chunk read in part counts in part; one that reaches over the edge counts as far as it is matrix.
    """
    A = zarr.open_array(path, mode="r")
    total = 0.0
    for key, read in store.nbytes.items():
        if not key.startswith("c/"):
            continue  # metadata
        coords = [int(part) for part in key.split("/")[1:]]
        lengths = [
            min(chunk, extent - c * chunk)
            for c, chunk, extent in zip(coords, A.chunks, A.shape, strict=True)
        ]
        total += read / (path / key).stat().st_size * float(np.prod(lengths))
    return total / float(np.prod(A.shape))


def versions(*packages: str) -> dict[str, str]:
    """Versions of numpy, zarr and other packages."""
    return {p: importlib.metadata.version(p) for p in ("numpy", "zarr", *packages)}


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result of some work, and ``wall_s``, ``cpu_s`` and ``peak_rss_bytes`` above the start.

    The peak is that of this process since the call. Linux keeps it by address space; ``ru_maxrss``
    would not do, because a process starts with the peak of the one that started it.
    """
    _forget_peak()
    before, cpu, wall = _status_bytes("VmRSS"), cpu_s(), time.perf_counter()
    result = work()
    cost = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}
    # The kernel gathers its counters of threads in batches: a peak may seem to lie a little below the start.
    return result, {**cost, "peak_rss_bytes": max(_status_bytes("VmHWM") - before, 0)}


def cpu_s() -> float:
    """User and system seconds of this process and of the children it has waited for."""
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in use)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(name: str) -> int:
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)
    )
    return int(line.split()[1]) * 1024


# Failures, small enough to run as tests. Each returns what happened. -----------------------------

K = 10


def m1_defaults_are_wrong_on_a_slow_spectrum() -> Figures:
    """Singular values that are 40 % too low, without a word; four iterations repair it."""
    return _accuracy(KnownMatrix("slow", 4000, 1000, "float64"), (0, 4))


def m2_defaults_are_wrong_on_spikes_over_noise() -> Figures:
    """The same over a flat noise spectrum, where four iterations do not repair it."""
    return _accuracy(KnownMatrix("spikes", 4000, 1000, "float64"), (0, 4))


def m3_a_seed_fixes_nothing_across_chunkings() -> Figures:
    """One matrix, one seed, three chunkings: three answers."""
    A = KnownMatrix("slow", 4000, 1000, "float64").rows(0, 4000)
    answers = {width: _svd(A, (500, width)) for width in (250, 500, 1000)}
    first = answers[250][1]
    return {
        "s1_by_chunk_columns": {width: float(s[0]) for width, (s, _) in answers.items()},
        "largest_difference_in_Vh": max(
            float(np.abs(Vh - first).max()) for _, Vh in answers.values()
        ),
    }


def m4_float32_overflows_in_unnormalised_iterations() -> Figures:
    """No answer from ordinary data within five iterations; a wrong one, silently, from small numbers."""
    found: Figures = {}
    for m, power in ((2000, 5), (20_000, 4)):
        A = _std15(m)
        found[f"{m}x1000, {power} iterations"] = _outcome(A, n_power_iter=power)
        found[f"{m}x1000, {power} iterations, QR"] = _outcome(A, n_power_iter=power, iterator="QR")
    G = KnownMatrix("geometric", 2000, 1000)
    s, _ = _svd(1e-3 * G.rows(0, 2000), (500, 1000), n_power_iter=8)
    found["geometric of size 1e-3, 8 iterations: error"] = _worst(s, 1e-3 * G.s)
    return found


def m5_dask_ml_fails_on_ordinary_float32() -> Figures:
    """``TruncatedSVD(algorithm="randomized")``, defaults, on the 8 MB matrix of M4."""
    try:
        decomposition = importlib.import_module("dask_ml.decomposition")
    except ImportError as error:
        return {"unavailable": str(error)}
    model = decomposition.TruncatedSVD(K, algorithm="randomized", random_state=0)
    return {"outcome": _failure(lambda: model.fit(da.from_array(_std15(2000), chunks=(500, 1000))))}


def m8_one_nan_is_not_located() -> Figures:
    """One NaN: an error that says neither what nor where."""
    A = KnownMatrix("slow", 4000, 1000, "float64").rows(0, 4000)
    A[1234, 567] = np.nan
    return {"outcome": _outcome(A)}


def m9_float32_covariance_cancels() -> Figures:
    """``E[x x*] - mean mean*`` in float32, of columns far from zero (scanpy's formula for dask)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 50)) * np.linspace(0.3, 3, 50)
    truth = np.linalg.eigvalsh(np.cov(X, rowvar=False, ddof=0))
    found: Figures = {}
    for offset in (1e3, 1e4):
        Y = (X + offset).astype(np.float32)
        mean = Y.mean(axis=0)
        values = np.linalg.eigvalsh(Y.T @ Y / np.float32(len(Y)) - np.outer(mean, mean))
        found[f"offset {offset:g}"] = {
            "smallest_eigenvalue": float(values[0]),
            "leading_variance_over_truth": float(values[-1] / truth[-1]),
        }
    return found


def m14_complex_input_is_silently_wrong() -> Figures:
    """Complex matrices: no error, a warning from numpy, and singular values 90 % off."""
    found: Figures = {}
    for spectrum in ("geometric", "slow"):
        A = KnownMatrix(spectrum, 2000, 500, "complex128")
        for iterator, power in (("power", 0), ("power", 4), ("QR", 4)):
            s, _ = _svd(A.rows(0, 2000), (500, 500), iterator=iterator, n_power_iter=power)
            found[f"{spectrum}, {iterator}, {power} iterations: error"] = _worst(s, A.s)
    return found


FAILURES: dict[str, Callable[[], Figures]] = {
    "M1": m1_defaults_are_wrong_on_a_slow_spectrum,
    "M2": m2_defaults_are_wrong_on_spikes_over_noise,
    "M3": m3_a_seed_fixes_nothing_across_chunkings,
    "M4": m4_float32_overflows_in_unnormalised_iterations,
    "M5": m5_dask_ml_fails_on_ordinary_float32,
    "M8": m8_one_nan_is_not_located,
    "M9": m9_float32_covariance_cancels,
    "M14": m14_complex_input_is_silently_wrong,
}


def _svd(A: Array, chunks: tuple[int, int], **options: Any) -> tuple[Array, Array]:
    """``s`` and ``Vh`` of ``svd_compressed``, with numpy's warnings off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, s, Vh = da.linalg.svd_compressed(da.from_array(A, chunks=chunks), K, seed=0, **options)
        s, Vh = dask.compute(s, Vh)
    return s, Vh


def _accuracy(A: KnownMatrix, powers: Sequence[int]) -> Figures:
    """Worst relative error of the values, and angle between the subspaces, by iterations."""
    found: Figures = {}
    for power in powers:
        s, Vh = _svd(A.rows(0, A.n_rows), (500, 250), n_power_iter=power)
        cosine = np.linalg.svd(Vh @ A.Vh(K).conj().T, compute_uv=False).min()
        found[f"{power} iterations"] = {
            "error": _worst(s, A.s),
            "error_of_s1": _worst(s[:1], A.s),
            "angle_degrees": float(np.degrees(np.arccos(min(1.0, cosine)))),
        }
    return found


def _std15(m: int) -> Array:
    """A float32 matrix of standard deviation 15 and slow spectrum."""
    A = KnownMatrix("slow", m, 1000)
    return A.rows(0, m) * np.float32(15 * np.sqrt(m * 1000) / np.linalg.norm(A.s))


def _outcome(A: Array, **options: Any) -> str:
    return _failure(lambda: _svd(A, (500, 1000), **options))


def _failure(work: Callable[[], Any]) -> str:
    """The error that some work ends in, or ``"ran"``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work()
    except Exception as error:  # any: what it is, is the finding
        return f"{type(error).__name__}: {error}"
    return "ran"


def _worst(s: Array, truth: Array) -> float:
    """Largest relative error of the leading values."""
    return float(np.abs(s / truth[: len(s)] - 1).max())


def _help(function: Callable[..., Any]) -> str:
    """What a function says of itself; to argparse a percent sign would begin a format."""
    return (function.__doc__ or "").replace("%", "%%")


def main(arguments: list[str] | None = None) -> None:
    """Run one peer on one matrix, or one reproduction."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=main.__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name in PEERS:
        peer = names.add_parser(name, help=_help(PEERS[name][0]))
        peer.add_argument("path", type=Path)
        peer.add_argument("--k", type=int, default=50)
        peer.add_argument("--count", action="store_true", help="count passes at the store")
        if name == "dask-tuned":
            peer.add_argument("--power", type=int, default=2)
            peer.add_argument("--oversample", type=int, default=50)
        if name == "incremental-pca":
            peer.add_argument("--batch-rows", type=int)
    for name, failure in FAILURES.items():
        names.add_parser(name, help=_help(failure))
    options = vars(parser.parse_args(arguments))
    name = options.pop("name")
    figures = FAILURES[name]() if name in FAILURES else run(name, **options)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
