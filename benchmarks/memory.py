"""T4: does a run stay within the memory it was given, whatever the matrix, and does it stay flat as rows grow?

`FLAT`: matrices of 0.4, 1.6 and 16 GB under one budget. The first two are written in full. The third is the second
stacked on itself ten times: a zarr array of its own whose chunk files are hard links to those of the second, so
that every read is a read of a real chunk, 16 GB of them, and the disk holds 1.6; its singular values are
``sqrt(10)`` times those of the second, exactly. `GRID`: shapes, chunkings, types, options and doors, each with the
smallest budget that works and with more. Every run is a fresh process; ``measured <= projected <= budget``.

``python -m benchmarks.memory --fuzz 100 --seed 1`` runs random cases and prints those that break the law.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from benchmarks import data
from benchmarks.fresh import fresh
from benchmarks.peers import Figures

Array = npt.NDArray[Any]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """A matrix and what is asked of it.

    Attributes
    ----------
    shape, dtype
        Of the matrix.
    chunks, shards, codec
        How it is stored; a ``.npy`` file where ``codec`` is ``"npy"``.
    nans
        Share of the entries that are NaN.
    through
        As in `benchmarks.ours`.
    options
        Of `benchmarks.ours`, as on its command line.
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    dtype: str = "float32"
    codec: str = "zstd"
    shards: tuple[int, int] | None = None
    nans: float = 0.0
    through: str = "path"
    options: tuple[str, ...] = field(default=("--rank=10",))

    def __str__(self) -> str:
        cut = "x".join(map(str, self.chunks)) + ("" if self.shards is None else " sharded")
        asked = " ".join((*self.options, *(() if self.through == "path" else (f"--through={self.through}",))))
        return f"{self.shape[0]}x{self.shape[1]} {self.dtype}, {cut} {self.codec}, {asked.replace('--', '')}"


_COMPRESSORS = {"zstd": ZstdCodec(level=1), "blosc": BloscCodec(), "gzip": GzipCodec(level=1), "none": None}


def write(case: Case, path: Path) -> Path:
    """The matrix of a case: low rank and noise, a panel at a time; values do not matter to memory."""
    m, n = case.shape
    path = path.with_suffix(".npy" if case.codec == "npy" else ".zarr")
    out: Any
    if case.codec == "npy":
        out = np.lib.format.open_memmap(path, "w+", dtype=case.dtype, shape=case.shape)
    else:
        out = zarr.create_array(
            path,
            shape=case.shape,
            chunks=case.chunks,
            shards=case.shards,
            dtype=case.dtype,
            compressors=_COMPRESSORS[case.codec],
        )
    height = (case.shards or case.chunks)[0]
    height *= max(1, 2**24 // (8 * n * height))
    rng = np.random.default_rng(0)
    right = rng.standard_normal((min(20, n), n), dtype=np.float32) * (0.7 ** np.arange(min(20, n)))[:, None]
    for start in range(0, m, height):
        rows = min(height, m - start)
        X = rng.standard_normal((rows, len(right)), dtype=np.float32) @ right
        X += 0.01 * rng.standard_normal((rows, n), dtype=np.float32)
        if case.nans:
            X[rng.random(X.shape) < case.nans] = np.nan
        if np.dtype(case.dtype).kind in "iu":
            X = np.abs(15 * X) if np.dtype(case.dtype).kind == "u" else 15 * X
        out[start : start + rows] = X.astype(case.dtype)
    return path


def stacked(path: Path, times: int) -> Path:
    """A zarr array that is another repeated along the rows; its chunks are hard links to those of the other.

    Its singular values are ``sqrt(times)`` times those of the other, and its right vectors the same.
    """
    A = zarr.open_array(path, mode="r")
    m, n = A.shape
    rows = A.chunks[0]
    if m % rows:
        raise ValueError(f"{path} ends within a chunk: {m} rows in chunks of {rows}")
    target = path.with_name(f"{path.stem}-times{times}.zarr")
    known = data.truth(path)
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=path.parent) as scratch:
            part = Path(scratch, "array")
            shutil.copytree(path, part, ignore=lambda *_: ["c"])
            metadata = json.loads((part / "zarr.json").read_text())
            metadata["shape"] = [times * m, n]
            (part / "zarr.json").write_text(json.dumps(metadata))
            for file in (path / "c").rglob("*"):
                if file.is_file():
                    row, *rest = file.relative_to(path / "c").parts
                    for copy in range(times):
                        link = part / "c" / str(int(row) + copy * (m // rows)) / Path(*rest)
                        link.parent.mkdir(parents=True, exist_ok=True)
                        link.hardlink_to(file)
            root = math.sqrt(times)
            np.savez(data.truth_path(target), s=root * known.s, Vh=known.Vh, mean=known.mean, kind=known.kind)
            part.replace(target)
    return target


def random_case(rng: np.random.Generator) -> Case:
    """Any matrix of up to about 200 MB, and anything that may be asked of it."""

    def pick(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    def between(low: float, high: float) -> int:
        return int(round(math.exp(rng.uniform(math.log(low), math.log(high)))))

    dtype = pick("float32", "float32", "float64", "float16", "complex64", "complex128", "int8", "uint8", "int16",
                 "int32", "int64", ">f4", ">f8")  # fmt: skip
    item = np.dtype(dtype).itemsize
    total = between(1e5, 2e8 / item)
    n = between(1, min(1e6, total))
    m = max(1, min(10**6, total // n))
    if rng.random() < 0.1:
        m, n = pick((1, n), (m, 1), (n, m))
    chunks = (between(1, m), n) if rng.random() < 0.5 else (between(1, m), between(1, n))
    while math.ceil(m / chunks[0]) * math.ceil(n / chunks[1]) > 3000:
        chunks = (min(m, 2 * chunks[0]), min(n, 2 * chunks[1]))
    codec = pick("zstd", "zstd", "none", "none", "blosc", "gzip", "npy")
    if dtype.startswith(">") and codec != "npy":
        dtype = dtype.replace(">f", "float") and f"float{8 * item}"
    shards = None
    if codec not in ("npy",) and rng.random() < 0.15:
        shards = tuple(c * between(1, max(1, s // c)) for c, s in zip(chunks, (m, n), strict=True))
    floating = np.dtype(dtype).kind in "fc"
    rank = min(between(1, 60), m, n)
    options = [f"--rank={rank}" if rng.random() < 0.9 else "--energy=0.9", f"--tol={pick(1e-2, 1e-3, 1e-6)}"]
    options += [f"--memory={pick('1x', '1x', '1.2x', '1.5x', '2x', '4x')}", f"--max-passes={pick(1, 2, 3, 4)}"]
    nans = 0.0
    if rng.random() < 0.3:
        options += [f"--nonfinite={pick('zero', 'mean', 'drop_columns')}"]
        nans = pick(0.0, 0.001, 0.1) if floating else 0.0
        if "drop_columns" in options[-1]:
            nans = min(nans, 2 / m)
    for flag in ("--center", "--scale", "--u", "--out"):
        if rng.random() < 0.3:
            options.append(flag if flag != "--out" else "--out=OUT")
    if rng.random() < 0.25:
        options.append(f"--axis={pick('rows', 'columns')}")
    if rng.random() < 0.15 and min(m, n) <= 3000:
        options.append("--route=gram")
    if rng.random() < 0.2:
        options.append("--certify=estimate")
    if rng.random() < 0.2:
        options.append(f"--precision={pick('single', 'double')}")
    through = pick("path", "path", "path", "store", "dask", "reader") if codec != "npy" else "path"
    return Case((m, n), chunks, dtype, codec, shards, nans, through, tuple(options))


def measure(case: Case, folder: Path) -> Figures:
    """One run of a case in a fresh process; its matrix is written and removed."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = write(case, Path(scratch, "matrix"))
        options = [o.replace("OUT", str(Path(scratch, "result.zarr"))) for o in case.options]
        return fresh("benchmarks.ours", path, *options, f"--through={case.through}", timeout_s=600)


def lawful(figures: Figures) -> bool:
    """Whether ``measured <= projected <= budget``."""
    return bool(figures["peak_rss_bytes"] <= figures["projected_bytes"] <= figures["budget_bytes"])


def fuzz(count: int, seed: int) -> int:
    """Random cases; prints every breach and every crash, and returns how many there were."""
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            case = random_case(np.random.default_rng([seed, number]))
            try:
                found = measure(case, Path(folder))
                if found["status"] == "refused":
                    print(f"{seed}/{number} refused | {case}", flush=True)
                    continue
                ok = lawful(found)
                ratio = found["peak_rss_bytes"] / found["projected_bytes"]
                sizes = [found[f"{w}_bytes"] / MIB for w in ("peak_rss", "projected", "budget")]
                word = "ok    " if ok else "BREACH"
                line = f"{ratio:.2f} " + " ".join(f"{x:.1f}" for x in sizes) + f" {found['wall_s']:.1f}s {found['status']} {found['route']}/{found['axis']} tile={found['tile']} planned {found['planned_passes']:.3g} took {found['passes']:.3g} {found['looks']}"
            except Exception as error:
                ok, word, line = False, "CRASH ", str(error)[-600:]
            broken += not ok
            print(f"{seed}/{number} {word} {line} | {case}", flush=True)
    return broken


def main(arguments: list[str] | None = None) -> None:
    """Random cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=main.__doc__)
    parser.add_argument("--fuzz", type=int, default=20, metavar="CASES")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sys.exit(fuzz(options.fuzz, options.seed) > 0)


if __name__ == "__main__":
    main()
