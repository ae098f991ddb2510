"""I1: do conversion and projection run at the speed of a plain read of the source, and is a projection of very many rows written without holding it?

``python -m benchmarks.conversion WORK PATH`` does one of `WORK` with a matrix in this process, and prints one line of JSON: its seconds,
and its peak memory. ``read`` is a pass of the same reader that looks at nothing, ``write`` as many bytes into new files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh, interleaved
from benchmarks.peers import measured
from benchmarks.tables import Row, Size, Table, judged

SPEED = 0.8
"""Of a plain read, at least."""
EXTENTS: dict[Size, tuple[int, int]] = {"small": (8_000, 300), "full": (400_000, 1_000)}
MANY_ROWS: dict[Size, int] = {"small": 100_000, "full": 10_000_000}
RANK, MEMORY, WIDTH = 20, "1GiB", 32
MANY_MEMORY = "256MiB"
FORMATS = ("plain", "zstd", "npy", "hdf5", "parquet")


def make(size: Size, form: str) -> Path:
    """The matrix in a format; made once."""
    m, n = EXTENTS[size]
    codec = "zstd" if form == "zstd" else "none"
    source = data.make(None, "pow1", m, n, codec=codec, exact=False)
    if form in ("plain", "zstd"):
        return source
    ending = {"npy": ".npy", "hdf5": ".h5", "parquet": ".shards"}[form]
    place = source.with_name(source.name + ending)
    if not place.exists():
        partial = Path(tempfile.mkdtemp(dir=source.parent)) / place.name
        _WRITERS[form](streamsvd.open(source), partial)
        partial.rename(place)
        partial.parent.rmdir()
    return place


def _blocks(A: Any, height: int = 20_000) -> Any:
    for start in range(0, A.shape[0], height):
        stop = min(start + height, A.shape[0])
        out = np.empty((stop - start, A.shape[1]), A.dtype)
        A.read(slice(start, stop), slice(0, A.shape[1]), out)
        yield start, out


def _write_npy(A: Any, place: Path) -> None:
    mapped = np.lib.format.open_memmap(place, "w+", A.dtype, A.shape)
    for start, rows in _blocks(A):
        mapped[start : start + len(rows)] = rows


def _write_hdf5(A: Any, place: Path) -> None:
    import h5py

    with h5py.File(place, "w") as file:
        chunks = (min(A.shape[0], 4_000), A.shape[1])
        array = file.create_dataset("A", A.shape, A.dtype, chunks=chunks)
        for start, rows in _blocks(A):
            array[start : start + len(rows)] = rows


def _write_parquet(A: Any, place: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place.mkdir()
    for index, (_, rows) in enumerate(_blocks(A, 50_000)):
        table = pa.table({f"c{j}": rows[:, j] for j in range(rows.shape[1])})
        pq.write_table(table, place / f"part-{index}.parquet", compression="none")


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "npy": _write_npy, "hdf5": _write_hdf5, "parquet": _write_parquet,
}  # fmt: skip
_NEEDS = {"hdf5": "h5py", "parquet": "pyarrow"}


@dataclass(frozen=True, slots=True)
class Looking:
    """A pass that does nothing with its blocks."""

    def init(self, device: Any) -> int:
        """Nothing."""
        return 0

    def update(self, state: int, block: Any) -> int:
        """One block more."""
        return state + 1

    def close(self, state: int) -> int:
        """How many blocks there were."""
        return state

    def merge(self, left: int, right: int) -> int:
        """Of both."""
        return left + right


def read(A: Any) -> Any:
    """Read all of a matrix by the reader and the layout of a conversion, and do nothing with it."""
    from streamsvd.conversion.options import ConvertOptions
    from streamsvd.conversion.planning import plan_conversion
    from streamsvd.conversion.spans import row_spans
    from streamsvd.engine.memory import parse_bytes
    from streamsvd.engine.run import Run, in_run

    plan = plan_conversion(A, ConvertOptions(), parse_bytes(MEMORY))
    spans = row_spans(plan, [True] * -(-A.shape[0] // plan.height))
    run = Run(plan.rows.reader(A, spans), plan.rows.workers)
    with in_run(run):
        return run(Looking(), "a plain read")


def write(A: Any, folder: Path) -> None:
    """Write as many bytes to new files, from memory, and wait until the disk has them."""
    rows = np.ones((4_000, A.shape[1]), A.dtype)
    for index in range(-(-A.shape[0] // 4_000)):
        with (folder / str(index)).open("wb", buffering=0) as file:
            file.write(rows.data)
    from streamsvd.store.writing.placing import sync_tree

    sync_tree(folder)


class ManyRows:
    """So many rows of 32 columns that nobody would hold them: made as they are read."""

    dtype = np.dtype(np.float32)

    def __init__(self, rows: int) -> None:
        self.shape, self.chunks = (rows, WIDTH), (65_536, WIDTH)
        self.waves = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype("f4")

    def read(self, rows: slice) -> Any:
        """Rows whose leading directions fall in size."""
        start, stop, _ = rows.indices(self.shape[0])
        angle = np.arange(start, stop, dtype="f4")[:, None] * np.linspace(
            1e-4, 1, WIDTH, dtype="f4"
        )
        return np.sin(angle) / np.arange(1, WIDTH + 1, dtype="f4") @ self.waves


def work(name: str, path: str) -> Figures:
    """One kind of work with a matrix: its seconds, and its peak memory above the start."""
    folder = Path(tempfile.mkdtemp(dir=data.cache_folder()))
    A: Any = streamsvd.open(ManyRows(int(path)) if name == "many" else path)
    doing: dict[str, Callable[[], Any]] = {
        "read": lambda: read(A),
        "write": lambda: write(A, folder),
        "convert": lambda: streamsvd.convert(A, folder / "A.zarr", memory=MEMORY),
    }
    if name in ("project", "many"):
        some = np.empty((2_000, A.shape[1]), A.dtype)
        A.read(slice(0, 2_000), slice(0, A.shape[1]), some)
        result = streamsvd.pca(some, min(RANK, A.shape[1] // 2))
        memory = MANY_MEMORY if name == "many" else MEMORY
        doing[name] = lambda: result.transform(A, out=folder / "S.zarr", memory=memory)
    if name == "convert":  # modules are imported before
        streamsvd.convert(np.ones((4, 2)), folder / "small.zarr")
    try:
        began = time.perf_counter()
        _, cost = measured(doing[name])
        seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    return {
        "seconds": seconds,
        "cpu": cost["cpu_s"],
        "peak": cost["peak_rss_bytes"],
        "bytes": A.nbytes,
    }


WORK = ("read", "write", "convert", "project", "many")


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Seconds of medians of fresh processes, in turns, and the peak of one that projects very many rows."""
    from streamsvd.engine.memory import parse_bytes

    module, rows, figures = "benchmarks.conversion", list[Row](), dict[str, Any]()
    for form in FORMATS:
        if form in _NEEDS and find_spec(_NEEDS[form]) is None:
            continue
        path = make(size, form)
        fresh(module, "read", path)  # the page cache is warm
        runs = interleaved({name: (module, name, path) for name in WORK[:-1]}, rounds)
        figures[form] = runs
        plain = runs["read"]["seconds"]
        for name in ("convert", "project"):
            seconds = runs[name]["seconds"]
            floor = plain + runs["write"]["seconds"] if name == "convert" else plain
            rows.append(
                Row(
                    f"{name}, {form}, {runs[name]['bytes'] / 1e9:.2f} GB",
                    f">= {SPEED:g} of the speed of a plain read",
                    f"{plain / seconds:.2f}: {seconds:.2f} s; plain read {plain:.2f} s"
                    + (
                        f", plain write {runs['write']['seconds']:.2f} s; of both one after the other {floor / seconds:.2f}"
                        * (name == "convert")
                    ),
                    judged(plain / seconds >= SPEED, size=size),
                )
            )
    many = fresh(module, "many", MANY_ROWS[size])
    figures["many"] = many
    budget = parse_bytes(MANY_MEMORY)
    rows.append(
        Row(
            f"projection of {MANY_ROWS[size]:,} rows of {WIDTH}, written",
            f"peak memory <= {MANY_MEMORY}",
            f"{many['peak'] / 2**20:.0f} MiB, {many['seconds']:.1f} s",
            judged(many["peak"] <= budget),
        )
    )
    return Table("I1", "conversion and projection", rows, (), figures)


def main(arguments: list[str] | None = None) -> None:
    """Do one kind of work with a matrix."""
    parser = argparse.ArgumentParser("python -m benchmarks.conversion", description=main.__doc__)
    parser.add_argument("work", choices=WORK)
    parser.add_argument("path", help="of the matrix; of many rows, how many")
    found = parser.parse_args(arguments)
    print(json.dumps(work(found.work, found.path)))


if __name__ == "__main__":
    main()
