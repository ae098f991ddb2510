"""Matrices of known spectrum on disk: written once, a panel at a time, with the truth beside them.

The matrix is a zarr array at the path asked for; its singular values are in ``PATH.truth.npz``. The
truth is that of the entries as stored: single precision rounds them, which moves small singular
values by up to about ``1e-7 s[0]``, so for up to 2048 columns it is taken from a float64 Gram matrix of
the rounded entries, summed while they are written. (Its own error is ``1e-16 s[0]^2 / s[i]`` or so: 1e-6 of
``s[49]`` in ``graded5``.) Otherwise it is the decomposition that the entries were made from.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from streamsvd.errors import SpecError
from streamsvd.testing.spectra import SPECTRA, KnownMatrix, spectrum

__all__ = [
    "SPECTRA",
    "KnownMatrix",
    "Truth",
    "cache_folder",
    "make",
    "panels",
    "spectrum",
    "truth",
    "truth_path",
]

Array = npt.NDArray[Any]
Codec = Literal["zstd", "none"]

PANEL_BYTES = 2**24  # below the sizes that malloc hands back to the system after every use
GRAM_COLUMNS = 2048  # up to here the Gram matrix costs less than writing the data, or little more
VECTORS = 100  # right singular vectors kept
GENERATION = 1  # raise when the entries of a data set change: older files are then refused


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of a stored matrix, centred by ``mean`` (which is 0 but for ``offset``)."""

    s: Array  # all min(m, n) singular values
    Vh: Array  # the first 100 right singular vectors, in double precision
    mean: Array
    kind: Literal["gram", "construction"]  # of the entries as stored, or before they were rounded


def cache_folder() -> Path:
    """Where data sets are kept: ``$STREAMSVD_CACHE``, or ``~/.cache/streamsvd``."""
    return Path(os.environ.get("STREAMSVD_CACHE") or Path.home() / ".cache" / "streamsvd")


def make(
    path: str | os.PathLike[str] | None,
    spectrum: str,
    m: int,
    n: int,
    dtype: str = "float32",
    chunks: tuple[int, int] | None = None,
    codec: Codec = "zstd",
    seed: int = 0,
    *,
    exact: bool | None = None,
) -> Path:
    """Zarr array of a `KnownMatrix`, written if it is not there yet.

    Parameters
    ----------
    path
        Folder of the array; ``None`` names one in `cache_folder` after the other arguments.
    spectrum, m, n, dtype, seed
        As in `KnownMatrix`.
    chunks
        Rows and columns of a chunk; whole rows of about 16 MiB unless given.
    codec
        ``"zstd"`` (level 1: the entries hardly compress) or ``"none"``.
    exact
        Take the truth from the Gram matrix of the entries as stored; by default for single precision
        and at most 2048 columns.

    Returns
    -------
    path
        Of an array that is complete: it is written beside, then renamed.

    Raises
    ------
    SpecError
        If the folder holds something else.

    Notes
    -----
    Cost: one write, at about 200 MB/s with zstd and 380 without on two cores (``n = 2000``); the exact
    truth adds ``m n^2`` flops. Memory: about four panels, of 16 MiB or one row of chunks if that is more
    (measured 70 MB; 450 MB for rows of chunks of 128 MB), and four ``(n, n)`` matrices for the exact truth.
    """
    A = KnownMatrix(spectrum, m, n, dtype, seed)
    chunks = chunks or (min(m, max(1, PANEL_BYTES // (A.nbytes // m))), n)
    if exact is None:
        exact = n <= GRAM_COLUMNS and dtype in ("float32", "complex64")
    spec = {
        **asdict(A),
        "chunks": list(chunks),
        "codec": codec,
        "exact": exact,
        "generation": GENERATION,
    }
    path = Path(path) if path is not None else cache_folder() / "data" / _name(spec)
    if path.exists():
        _require(path, spec)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        part, part_truth = Path(scratch, "array"), Path(scratch, "truth.npz")
        known = _write(part, A, chunks, codec, spec)
        np.savez(part_truth, s=known.s, Vh=known.Vh, mean=known.mean, kind=known.kind)
        part_truth.replace(truth_path(path))
        try:
            part.replace(path)  # the array appears last: where it is, all is
        except OSError:
            if not path.exists():
                raise
            _require(path, spec)  # another process was faster
    return path


def truth(path: str | os.PathLike[str]) -> Truth:
    """What is known of the matrix that `make` wrote."""
    with np.load(truth_path(Path(path))) as known:
        return Truth(known["s"], known["Vh"], known["mean"], str(known["kind"]))  # type: ignore[arg-type]


def panels(A: KnownMatrix, height: int) -> Iterator[tuple[int, Array]]:
    """First row and entries of every panel, the next one made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(A.rows, 0, height)
        for start in range(0, A.n_rows, height):
            panel = following.result()
            if start + height < A.n_rows:
                following = pool.submit(A.rows, start + height, start + 2 * height)
            yield start, panel


def _write(
    path: Path, A: KnownMatrix, chunks: tuple[int, int], codec: Codec, spec: dict[str, Any]
) -> Truth:
    """Write the array panel by panel; the truth of what was written."""
    z = zarr.create_array(
        path,
        shape=A.shape,
        dtype=A.dtype,
        chunks=chunks,
        compressors=ZstdCodec(level=1) if codec == "zstd" else None,
        attributes={"benchmark": spec},
    )
    height = chunks[0] * max(1, PANEL_BYTES // (chunks[0] * (A.nbytes // A.n_rows)))
    moments = _Moments(A) if spec["exact"] else None
    for start, panel in panels(A, height):
        z[start : start + len(panel)] = panel
        if moments is not None:
            moments.add(panel)
    if moments is not None:
        return moments.truth()
    return Truth(A.s, _with_signs(A.Vh(min(VECTORS, len(A.s)))), A.c, "construction")


class _Moments:
    """Sums of the rounded entries of a matrix, about the offset that it was made with."""

    def __init__(self, A: KnownMatrix) -> None:
        self.A = A
        self.double = np.result_type(A.dtype, np.float64)
        self.gram = np.zeros((A.n_cols, A.n_cols), self.double)
        self.total = np.zeros(A.n_cols, self.double)

    def add(self, panel: Array) -> None:
        X = panel.astype(self.double) - self.A.c  # small, so that the sums keep their digits
        self.gram += X.conj().T @ X
        self.total += X.sum(axis=0)

    def truth(self) -> Truth:
        m, r = self.A.n_rows, min(self.A.shape)
        shift = self.total / m if self.A.c.any() else np.zeros_like(self.total)
        squares, V = np.linalg.eigh(self.gram - m * np.outer(shift.conj(), shift))
        s = np.sqrt(np.maximum(squares[::-1], 0))[:r]
        Vh = V[:, ::-1].conj().T[: min(VECTORS, r)]
        return Truth(s, _with_signs(Vh), self.A.c + shift, "gram")


def _with_signs(Vh: Array) -> Array:
    """The largest entry of every row positive, as in the results of the package."""
    largest = np.take_along_axis(Vh, np.abs(Vh).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(Vh * (np.abs(largest) / largest))


def _name(spec: dict[str, Any]) -> str:
    """A readable name that differs where the arguments do."""
    rows, columns = spec["chunks"]
    truth = "-exact" if spec["exact"] else ""
    return (
        f"{spec['spectrum']}-{spec['n_rows']}x{spec['n_cols']}-{spec['dtype']}-{rows}x{columns}"
        f"-{spec['codec']}-seed{spec['seed']}{truth}.zarr"
    )


def truth_path(path: Path) -> Path:
    """Where the truth of a data set is kept."""
    return path.with_name(f"{path.name}.truth.npz")


def _require(path: Path, spec: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but the data set asked for."""
    try:
        found = dict(zarr.open_array(path, mode="r").attrs).get("benchmark")
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise SpecError(
            f"{path} exists and is no zarr array. Remove it, or choose a path."
        ) from error
    if found != spec or not truth_path(path).exists():
        raise SpecError(
            f"{path} holds {found}, asked for {spec}. Remove it, or choose another path."
        )


def main(arguments: list[str] | None = None) -> None:
    """``python -m benchmarks.data pow1 50000 2000``: make a data set, print where it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=main.__doc__)
    parser.add_argument("spectrum", choices=SPECTRA)
    parser.add_argument("m", type=int)
    parser.add_argument("n", type=int)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--chunks", type=int, nargs=2, metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--codec", choices=("zstd", "none"), default="zstd")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    options["chunks"] = options["chunks"] and tuple(options["chunks"])
    print(make(**options))


if __name__ == "__main__":
    main()
