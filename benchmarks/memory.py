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
import itertools
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, RunFailed, fresh
from benchmarks.tables import Row, Size, Table, chosen_size, judged

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
    density
        Share of the entries that are stored, where ``codec`` is ``"csr"`` or ``"csc"``: a group as AnnData writes it.
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    dtype: str = "float32"
    codec: str = "zstd"
    shards: tuple[int, int] | None = None
    nans: float = 0.0
    through: str = "path"
    options: tuple[str, ...] = field(default=("--rank=10",))
    density: float = 1.0

    def __str__(self) -> str:
        cut = "x".join(map(str, self.chunks)) + ("" if self.shards is None else " sharded")
        asked = " ".join(
            (*self.options, *(() if self.through == "path" else (f"--through={self.through}",)))
        )
        return f"{self.shape[0]}x{self.shape[1]} {self.dtype}, {cut} {self.codec}, {asked.replace('--', '')}"


_COMPRESSORS = {
    "zstd": ZstdCodec(level=1),
    "blosc": BloscCodec(),
    "gzip": GzipCodec(level=1),
    "none": None,
}


def write(case: Case, path: Path) -> Path:
    """The matrix of a case: low rank and noise, a panel at a time; values do not matter to memory."""
    m, n = case.shape
    if case.codec in ("csr", "csc"):
        return write_compressed(case, path.with_suffix(".zarr"))
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
            config={"write_empty_chunks": True},
        )
    height = (case.shards or case.chunks)[0]
    height *= max(1, 2**24 // (8 * n * height))
    rng = np.random.default_rng(0)
    right = (
        rng.standard_normal((min(20, n), n), dtype=np.float32)
        * (0.7 ** np.arange(min(20, n)))[:, None]
    )
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


def write_compressed(case: Case, path: Path) -> Path:
    """A sparse matrix of counts, its rows (of CSC: columns) a few thousand at a time; popular columns are fuller."""
    along, width = case.shape if case.codec == "csr" else case.shape[::-1]
    each = max(1, round(case.density * width))
    group = zarr.create_group(path, attributes={
        "encoding-type": f"{case.codec}_matrix", "encoding-version": "0.1.0", "shape": list(case.shape),
    })  # fmt: skip
    chunk = min(along * each, case.chunks[0])
    parts = {
        name: group.create_array(
            name, shape=(size,), chunks=(min(size, chunk),), dtype=kind,
            compressors=ZstdCodec(level=1), config={"write_empty_chunks": True},
        )
        for name, size, kind in (
            ("data", along * each, case.dtype), ("indices", along * each, "int32"), ("indptr", along + 1, "int64"),
        )
    }  # fmt: skip
    parts["indptr"][:] = np.arange(along + 1) * each
    rng = np.random.default_rng(0)
    step = max(1, chunk // each)
    for start in range(0, along, step):
        rows = min(step, along - start)
        place = slice(start * each, (start + rows) * each)
        gaps = width // each
        first = np.arange(each) * gaps
        indices = first[None, :] + (gaps * rng.random((rows, each)) ** 3).astype(np.int32)
        parts["indices"][place] = np.minimum(indices, width - 1).ravel()
        parts["data"][place] = rng.integers(1, 9, rows * each).astype(case.dtype)
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
            np.savez(
                data.truth_path(target),
                s=root * known.s,
                Vh=known.Vh,
                mean=known.mean,
                kind=known.kind,
            )
            part.replace(target)
    return target


class Dice:
    """Random choices of a case."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)

    def pick(self, *values: Any) -> Any:
        """One of them."""
        return values[int(self._rng.integers(len(values)))]

    def between(self, low: float, high: float) -> int:
        """A number; each order of magnitude is as likely."""
        return round(math.exp(self._rng.uniform(math.log(low), math.log(max(low, high)))))

    def chance(self, share: float) -> bool:
        """True so often."""
        return bool(self._rng.random() < share)


def random_case(dice: Dice, least_bytes: float = 1e6, most_bytes: float = 2e8) -> Case:
    """Any matrix of about so many bytes, and anything that may be asked of it."""
    dtype, codec = (
        dice.pick(*DTYPES),
        dice.pick("zstd", "zstd", "none", "none", "blosc", "gzip", "npy"),
    )
    items = dice.between(least_bytes, most_bytes) // np.dtype(dtype).itemsize
    n = dice.between(1, min(1e6, items))
    m = max(1, min(10**6, items // n))
    if dice.chance(0.1):
        m, n = dice.pick((1, n), (m, 1), (n, m))
    chunks = (dice.between(1, m), n if dice.chance(0.5) else dice.between(1, n))
    while math.ceil(m / chunks[0]) * math.ceil(n / chunks[1]) > 3000:
        chunks = (min(m, 2 * chunks[0]), min(n, 2 * chunks[1]))
    shards = None
    if codec != "npy" and dice.chance(0.15):
        first, second = (c * dice.between(1, s // c) for c, s in zip(chunks, (m, n), strict=True))
        shards = (first, second)
    options, nans = _asked(dice, m, n)
    if np.dtype(dtype).kind not in "fc":
        nans = 0.0
    through = (
        "path" if codec == "npy" else dice.pick("path", "path", "path", "store", "dask", "reader")
    )
    return Case((m, n), chunks, dtype, codec, shards, nans, through, options)


DTYPES = (
    "float32", "float32", "float64", "float16", "complex64", "complex128", "int8", "uint8", "int16", "int32", "int64",
)  # fmt: skip


def _asked(dice: Dice, m: int, n: int) -> tuple[tuple[str, ...], float]:
    """Options of `benchmarks.ours`, and the share of entries that they let be missing."""
    options = [f"--rank={dice.between(1, min(60, m, n))}", f"--tol={dice.pick(1e-2, 1e-3, 1e-6)}"]
    if dice.chance(0.1):
        options[0] = "--energy=0.9"
    times = dice.pick("1x", "1x", "1.2x", "1.5x", "2x", "4x")
    options += [f"--memory={times}", f"--max-passes={dice.between(1, 4)}"]
    policy = dice.pick(*["raise"] * 7, "zero", "mean", "drop_columns")
    nans = 0.0
    if policy != "raise":
        options.append(f"--nonfinite={policy}")
        nans = dice.pick(0.0, 0.001, 0.1) if policy != "drop_columns" else min(0.001, 2 / m)
    options += [flag for flag in ("--center", "--scale", "--u", "--out=OUT") if dice.chance(0.3)]
    if dice.chance(0.25):
        options.append(f"--axis={dice.pick('rows', 'columns')}")
    if dice.chance(0.15) and min(m, n) <= 3000:
        options.append("--route=gram")
    if dice.chance(0.2):
        options.append("--certify=estimate")
    if dice.chance(0.2):
        options.append(f"--precision={dice.pick('single', 'double')}")
    return tuple(options), nans


def measure(case: Case, folder: Path) -> Figures:
    """One run of a case in a fresh process; its matrix is written and removed."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = write(case, Path(scratch, "matrix"))
        options = [o.replace("OUT", str(Path(scratch, "result.zarr"))) for o in case.options]
        return fresh("benchmarks.ours", path, *options, f"--through={case.through}", timeout_s=600)


def lawful(figures: Figures) -> bool:
    """Whether ``measured <= projected <= budget``."""
    return bool(figures["peak_rss_bytes"] <= figures["projected_bytes"] <= figures["budget_bytes"])


GRID = (
    Case((50_000, 400), (2_000, 400), options=("--rank=50",)),
    Case((50_000, 400), (2_000, 400), codec="none", options=("--rank=50", "--tol=1e-6")),
    Case((200_000, 100), (20_000, 100), "float64", options=("--rank=20", "--route=krylov")),
    Case((400, 100_000), (400, 2_000), options=("--rank=30",)),
    Case((100, 1_000_000), (25, 50_000), "float16", options=("--rank=10",)),
    Case((1_000_000, 20), (100_000, 20), "int16", options=("--rank=5", "--center", "--scale")),
    Case((6_000, 5_000), (1_000, 1_000), options=("--rank=20", "--memory=256MiB")),
    Case((6_000, 5_000), (100, 5_000), codec="blosc", options=("--rank=20", "--memory=200MiB")),
    Case((6_000, 5_000), (6_000, 50), codec="none", options=("--rank=20", "--axis=rows")),
    Case((8_000, 1_500), (8_000, 1_500), options=("--rank=20",)),
    Case((8_000, 1_500), (7, 1_500), codec="gzip", options=("--rank=20",)),
    Case((8_000, 1_500), (64, 64), shards=(1_024, 512), options=("--rank=20",)),
    Case((20_000, 600), (1_000, 600), "complex128", options=("--rank=30",)),
    Case((40_000, 600), (1_000, 600), "int8", options=("--rank=30", "--center")),
    Case(
        (30_000, 700),
        (1_024, 512),
        nans=0.01,
        options=("--rank=30", "--nonfinite=mean", "--center", "--scale"),
    ),
    Case(
        (30_000, 700),
        (1_024, 512),
        nans=0.01,
        options=("--rank=30", "--nonfinite=zero", "--precision=double"),
    ),
    Case((60_000, 300), (3_000, 300), options=("--rank=40", "--u")),
    Case((60_000, 300), (3_000, 300), options=("--rank=40", "--u", "--out=OUT")),
    Case((300, 60_000), (300, 3_000), options=("--rank=40", "--u", "--axis=columns")),
    Case((20_000, 1_000), (1_000, 1_000), options=("--rank=20", "--route=gram")),
    Case((20_000, 1_000), (20_000, 1_000), codec="npy", options=("--rank=20",)),
    Case((4_000, 16_000), (500, 2_000), options=("--rank=50", "--axis=rows", "--max-passes=3")),
    Case((1_000_000, 20), (50_000, 20), options=("--rank=20", "--u", "--out=OUT")),
    Case((200_000, 100), (20_000, 100), options=("--rank=80", "--u", "--out=OUT")),
    Case(
        (20_000, 2_000),
        (2_000, 2_000),
        "complex128",
        options=("--rank=10", "--center", "--axis=rows"),
    ),
    Case((20_000, 1_000), (1_000, 1_000), through="store", options=("--rank=20",)),
    Case((20_000, 1_000), (1_000, 1_000), through="reader", options=("--rank=20",)),
    Case((20_000, 1_000), (1_000, 1_000), through="dask", options=("--rank=20",)),
)
"""Shapes, chunkings, types, options and doors; where no budget is named, the smallest that works and twice that."""


def within(case: Case) -> list[Case]:
    """The case under each of its budgets."""
    if any(option.startswith("--memory") for option in case.options):
        return [case]
    return [replace(case, options=(*case.options, f"--memory={times}")) for times in ("1x", "2x")]


class Grid:
    """asv: peak memory of each case over its projection; at most 1."""

    params = tuple(range(len(GRID)))
    param_names = ("case",)
    timeout = 600

    def track_peak_over_projected(self, case: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(within(GRID[case])[0], Path(folder))
        return float(found["peak_rss_bytes"] / found["projected_bytes"])


FLAT_BUDGET = "256MiB"


def flat(size: Size) -> list[Path]:
    """The matrices of 0.4, 1.6 and 16 GB; a hundredth of that at small size."""
    m, n, rows = (50_000, 2_000, 2_000) if size == "full" else (5_000, 200, 200)
    first, second = (
        data.make(None, "pow1", times * m, n, chunks=(rows, n), exact=False) for times in (1, 4)
    )
    return [first, second, stacked(second, 10)]


class Flat:
    """asv: peak memory of a run in this process, and of a fresh one above its imports, by size of the matrix."""

    params = (0, 1, 2)
    param_names = ("matrix",)
    timeout = 3600

    def setup(self, matrix: int) -> None:
        size = chosen_size()
        self.path, self.rank = flat(size)[matrix], 50 if size == "full" else 10

    def peakmem_svd(self, matrix: int) -> None:
        streamsvd.svd(self.path, self.rank, memory=FLAT_BUDGET)

    def track_peak_bytes(self, matrix: int) -> float:
        run = fresh("benchmarks.ours", self.path, f"--rank={self.rank}", f"--memory={FLAT_BUDGET}")
        return float(run["peak_rss_bytes"])


def table(size: Size = "full", rounds: int = 3, cases: Sequence[Case] | None = None) -> Table:
    """Peaks against projections and budgets; of the flat ones the highest of some rounds."""
    rows, figures = [], {}
    rank = 50 if size == "full" else 10
    for path in flat(size) if cases is None else []:
        command = (
            "benchmarks.ours",
            path,
            f"--rank={rank}",
            "--tol=1e-3",
            f"--memory={FLAT_BUDGET}",
        )
        runs = [fresh(*command) for _ in range(rounds)]
        run = max(runs, key=lambda run: run["peak_rss_bytes"])
        case = f"{run['nbytes'] / 1e9:.2g} GB, k = {rank}, {FLAT_BUDGET}"
        figures[case] = {**run, "runs": len(runs)}
        said = f"{_sizes(run)}; {run['status']}, {run['passes']:.2f} passes, true error {run['error']:.1e}"
        rows.append(Row(case, f"measured <= projected <= {FLAT_BUDGET}", said, judged(lawful(run))))
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        for one in itertools.chain.from_iterable(map(within, GRID if cases is None else cases)):
            found = measure(one, Path(folder))
            figures[str(one)] = found
            rows.append(
                Row(
                    str(one),
                    "measured <= projected <= budget",
                    _sizes(found),
                    judged(lawful(found)),
                )
            )
    notes = (
        "Peak of resident memory above that after the imports, each run a fresh process; highest of "
        f"{rounds} runs for the first three.",
        "The largest of these is the second stacked ten times, its chunk files hard links: 16 GB are read and decoded.",
    )
    return Table("T4", "memory against the budget", rows, notes, figures)


def _sizes(run: Figures) -> str:
    peak, projected, budget = (
        run[f"{what}_bytes"] / MIB for what in ("peak_rss", "projected", "budget")
    )
    return f"{peak:.0f} MiB <= {projected:.0f} MiB <= {budget:.0f} MiB (peak / projected {peak / projected:.2f})"


def _scratch() -> Path:
    folder = data.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _told(run: Figures) -> str:
    return (
        f"{_sizes(run)}; {run['status']}, {run['wall_s']:.1f} s, {run['route']} along {run['axis']}, "
        f"passes {run['passes']:.3g} of {run['planned_passes']:.3g}"
    )


def fuzz(count: int, seed: int, least_bytes: float, most_bytes: float) -> int:
    """Random cases; prints one line for each, and returns how many broke the law or crashed."""
    broken = 0
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        for number in range(count):
            case = random_case(Dice([seed, number]), least_bytes, most_bytes)
            try:
                found = measure(case, Path(folder))
                ok, said = lawful(found), _told(found)
            except RunFailed as error:
                ok, said = "BudgetError" in str(error), str(error)[-800:]
            broken += not ok
            print(f"{seed}/{number} {'ok' if ok else 'BROKEN'}: {said} | {case}", flush=True)
    return broken


def main(arguments: list[str] | None = None) -> None:
    """Random cases under the law of memory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=main.__doc__)
    parser.add_argument("--fuzz", type=int, default=20, metavar="CASES")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least-bytes", type=float, default=1e6)
    parser.add_argument("--most-bytes", type=float, default=2e8)
    options = parser.parse_args(arguments)
    sys.exit(fuzz(options.fuzz, options.seed, options.least_bytes, options.most_bytes) > 0)


if __name__ == "__main__":
    main()
