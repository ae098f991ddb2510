"""Do results keep their bits? A digest of what every verb gives on small fixed inputs, to hold two commits against each other.

``python -m benchmarks.digests before.json`` runs all cases and writes a digest of each; ``--against before.json`` names
those that differ and exits with 1. Both must run on one machine: processors and BLAS kernels round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import streamsvd

Case = Callable[[Path], Iterable[Any]]


def matrix(m: int, n: int, dtype: str = "f8", seed: int = 0) -> np.ndarray:
    """Columns that fall by a factor of a thousand, a little off zero."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((m, n)) * np.geomspace(1, 1e-3, n) + 0.1).astype(dtype)


def holes(m: int, n: int) -> np.ndarray:
    """The same with missing values in the first third of the columns, and one column without any value."""
    A = matrix(m, n)
    A[np.arange(n // 3) * 7, np.arange(n // 3)] = np.nan
    A[:, n // 2] = np.nan
    return A


def stored(folder: Path, A: np.ndarray, chunks: tuple[int, int], **options: Any) -> Path:
    """As a zarr array."""
    path = folder / "A.zarr"
    zarr.create_array(path, data=A, chunks=chunks, overwrite=True, **options)
    return path


def factors(found: Any) -> Iterable[Any]:
    """What a factorisation is and proves."""
    c = found.certificate
    yield from (found.s, found.Vh, found.U, found.mean, found.scale)
    yield from (c.sigma_lower, c.sigma_upper, c.frobenius_error, c.energy, c.excess, c.deficit)


def svd(A: np.ndarray, rank: int | None = 6, **options: Any) -> Case:
    return lambda folder: factors(streamsvd.svd(A, rank, **options))


def svd_stored(A: np.ndarray, chunks: tuple[int, int], **options: Any) -> Case:
    return lambda folder: factors(streamsvd.svd(stored(folder, A, chunks), 6, **options))


def model(*blocks: np.ndarray, axis: str = "rows", **options: Any) -> Case:
    """What a model holds after some blocks."""

    def run(folder: Path) -> Iterable[Any]:
        kept = streamsvd.Model.create(folder / "model", axis=axis, **options)
        for block in blocks:
            kept.update(block)
        yield from factors(kept.as_svd())

    return run


def stream(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        found = streamsvd.top_eigenvectors(matrix(4000, 30), 2, **options)
        yield from (found.components, found.values, found.certificate.values_lower)

    return run


def shuffled(folder: Path) -> Iterable[Any]:
    streamsvd.shuffle(stored(folder, matrix(900, 12), (100, 12)), folder / "B.zarr", seed=3)
    yield zarr.open_array(folder / "B.zarr")[...]


def nystrom(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        found = streamsvd.nystrom(matrix(1500, 6), n_centres=40, length=1.0, **options)
        yield from (found.feature_map.centres, found.feature_map.whitening)
        yield found.certificate.trace_error

    return run


def kernel_ridge(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        X = matrix(1500, 6)
        found = streamsvd.kernel_ridge(X, X[:, :2] ** 2, n_centres=40, length=1.0, **options)
        yield from (found.coefficients, found.mean, found.ridge, found.predict(X[:50]))

    return run


def rows(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        found = streamsvd.sample_rows(matrix(3000, 20), **{"size": 200} | options)
        yield from (found.indices, found.weights, found.rows)

    return run


def least_squares(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        A = matrix(3000, 20)
        found = streamsvd.lstsq(A, A @ np.arange(20.0) + 0.01 * matrix(3000, 1)[:, 0], **options)
        yield from (found.x, found.residual_norm, found.forward_error)

    return run


def collection() -> dict[str, np.ndarray]:
    """Twelve matrices in three subspaces, and noise."""
    rng = np.random.default_rng(5)
    bases = [np.linalg.qr(rng.standard_normal((60, 4)))[0] for _ in range(3)]
    return {
        f"w{i:02}": bases[i % 3] @ rng.standard_normal((4, 30))
        + 0.02 * rng.standard_normal((60, 30))
        for i in range(12)
    }


def cluster(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        for part in streamsvd.cluster(collection(), **{"error": 0.2} | options).clusters:
            yield from (" ".join(part.members), part.basis)

    return run


def compress(**options: Any) -> Case:
    def run(folder: Path) -> Iterable[Any]:
        streamsvd.compress(collection(), folder / "C", 0.2, **options)
        kept = streamsvd.open_compressed(folder / "C")
        for name in sorted(kept):
            yield from (name, kept[name])

    return run


def rates(folder: Path) -> Iterable[Any]:
    for point in streamsvd.rate_curve(collection(), (0.1, 0.3)).rates:
        yield from (point.error, point.compression_ratio, point.block_error)


HALVES = matrix(400, 25)[:230], matrix(400, 25)[230:]
TALL, WIDE = matrix(3000, 40), matrix(40, 3000)
CASES: dict[str, Case] = {
    "svd krylov": svd(TALL, route="krylov", u=True),
    "svd krylov 1e-9": svd(TALL, route="krylov", tol=1e-9),
    "svd gram": svd(TALL, route="gram", u=True),
    "svd wide": svd(WIDE, u=True),
    "svd float32": svd(TALL.astype("f4"), route="krylov", u=True),
    "svd complex": svd(TALL + 1j * matrix(3000, 40, seed=1), route="krylov"),
    "svd integers": svd((TALL * 100).astype("i2")),
    "svd energy": svd(TALL, None, energy=0.99, route="krylov"),
    "svd error": svd(matrix(2000, 300, seed=2) ** 2, 20, target="error", route="krylov"),
    "svd estimate": svd(TALL, certify="estimate", route="krylov"),
    "svd weights": svd(TALL, row_weights=np.arange(3000.0), column_weights=np.arange(40.0)),
    "pca": svd(TALL, center=True, route="krylov"),
    "pca scale": svd(TALL, center=True, scale=True, route="krylov"),
    "scale alone": svd(TALL, scale=True, route="gram"),
    "pca wide": svd(WIDE, center=True, scale=True),
    "pca missing mean": svd(holes(900, 30), center=True, nonfinite="mean"),
    "svd missing zero": svd(holes(900, 30), nonfinite="zero"),
    "svd missing columns": svd(holes(900, 30), nonfinite="drop_columns", mask=np.arange(30) != 3),
    "svd zarr": svd_stored(TALL.astype("f4"), (250, 40), u=True, route="krylov"),
    "svd zarr tiles": svd_stored(matrix(600, 2000, "f4"), (200, 500), memory="48MiB"),
    "model": model(*HALVES, rank=5, buffer=3),
    "model centred": model(*HALVES, rank=5, center=True, u=True),
    "model tolerance": model(*HALVES, tol=0.05),
    "model forgets": model(*HALVES, rank=5, forget=0.9),
    "model window": model(*HALVES, rank=5, window=60),
    "model robust": model(*HALVES, rank=5, buffer=3, robust=True),
    "model columns": model(
        HALVES[0].T[:, :90], HALVES[0].T[:, 90:], axis="columns", rank=5, u=True
    ),
    "model tall": model(matrix(6000, 300, seed=3), rank=5),
    "stream": stream(order="random"),
    "stream any order": stream(order="arbitrary"),
    "stream two passes": stream(order="arbitrary", passes=2),
    "shuffle": shuffled,
    "nystrom": nystrom(),
    "nystrom squeak": nystrom(mode="squeak", gamma=1e-2),
    "nystrom decisions kept": nystrom(mode="kors", gamma=10.0, budget=1500),
    "nystrom scaled linear": nystrom(kernel="linear", scale=True),
    "kernel ridge": kernel_ridge(ridge=1e-3),
    "kernel ridge chosen": kernel_ridge(),
    "kernel ridge steps": kernel_ridge(ridge=1e-3, solver="pcg"),
    "kernel ridge one pass": kernel_ridge(ridge=1e-3, solver="onepass"),
    "rows": rows(),
    "rows online": rows(method="online", size=None, oversampling=8.0),
    "rows ridge": rows(scores="ridge", gamma=0.1),
    "least squares": least_squares(),
    "least squares preconditioned": least_squares(method="precondition"),
    "least squares sketched": least_squares(method="sketch"),
    "least squares ridge": least_squares(ridge=0.5),
    "cluster": cluster(),
    "cluster gram": cluster(backend="gram"),
    "cluster published": cluster(method="maxnorm", rank=4),
    "cluster shared": cluster(mode="global", error=0.7),
    "compress": compress(),
    "compress blocks": compress(mode="block"),
    "compress principal": compress(principal=0.3),
    "rates": rates,
}


def digest(values: Iterable[Any]) -> str:
    """Of types, shapes and bits; what is not there counts too."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            found.update(value.encode())
            continue
        array = np.asarray(b"none" if value is None else value)
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def digests(names: Iterable[str] = CASES) -> dict[str, str]:
    """Of each case, run in a folder of its own; of one that does not converge, of what it found."""
    made = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                made[name] = digest(CASES[name](Path(folder)))
            except streamsvd.NotConverged as error:
                made[name] = digest(factors(error.result))
    return made


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Cases whose digests differ, or that only one of both has."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, or 1 where digests differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digests", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, help="write the digests there")
    parser.add_argument("--against", type=Path, help="digests of another commit on this machine")
    given = parser.parse_args(arguments)
    made = digests()
    if given.out is not None:
        given.out.write_text(json.dumps(made, indent=1))
    if given.against is None:
        print(json.dumps(made, indent=1))
        return 0
    other = differing(json.loads(given.against.read_text()), made)
    for name in other:
        print(f"{name}: another digest")
    print(f"{len(made) - len(other)} of {len(made)} cases are the same bits")
    return int(bool(other))


if __name__ == "__main__":
    sys.exit(main())
