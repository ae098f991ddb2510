"""O1: how fast is a matrix read from a store of objects, against the client alone with 16 requests in flight?

``python -m benchmarks.object_store PATH`` measures, in this process: a pass of the engine over the matrix, and the objects of its
chunks fetched by the client of the store alone, 16 at once, each whole or by ranges, whichever is quicker. The store is a server
on the loopback, `benchmarks.loopback`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.fresh import Figures, fresh, median
from benchmarks.loopback import served
from benchmarks.pass_cost import Parts
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.store.objects import object_store

ASKED = 0.7
"""Of the rate of the client alone."""
IN_FLIGHT = 16
RANGE_BYTES = 2 << 20
LATENCY_S = 0.1
RATE = 8e6
WIDTH = 20
"""Few columns: reading is asked about, not products."""

Extents = tuple[int, int, int]
"""Rows, columns, and rows of a chunk."""
CASES: dict[Size, dict[str, Extents]] = {
    "small": {"chunks of 0.4 MB": (4_000, 500, 200), "chunks of 12 MB": (24_000, 500, 6_000)},
    "full": {"chunks of 1 MB": (160_000, 500, 500), "chunks of 12 MB": (156_000, 500, 6_000)},
}
NETWORKS = {f"{LATENCY_S:g} s a request": (LATENCY_S, 0.0), f"{RATE / 1e6:g} MB/s a connection": (0.0, RATE)}  # fmt: skip


async def fetch_alone(store: Any, sizes: dict[str, int], *, by_ranges: bool) -> int:
    """All objects by the client alone; their bytes."""
    import obstore

    turns = asyncio.Semaphore(IN_FLIGHT)

    async def one(key: str, first: int, stop: int) -> int:
        async with turns:
            return len(await obstore.get_range_async(store, key, start=first, end=stop))

    step = RANGE_BYTES if by_ranges else max(sizes.values())
    parts = [(k, a, min(a + step, n)) for k, n in sizes.items() for a in range(0, n, step)]
    return sum(await asyncio.gather(*(one(*part) for part in parts)))


def measure(path: Path, delay_s: float, rate: float) -> Figures:
    """Seconds of a pass, and of the client alone."""
    files = sorted(f for f in path.rglob("*") if f.is_file() and f.name != "zarr.json")
    sizes = {f.relative_to(path).as_posix(): f.stat().st_size for f in files}
    out: Figures = {"chunks": len(sizes), "bytes": sum(sizes.values())}
    with served(path.parent.parent, delay_s, rate) as server:
        url = f"s3://{path.parent.name}/{path.name}"
        parts = Parts(url, "1GiB", WIDTH)
        server.counts()
        began = time.perf_counter()
        parts.whole()
        out["pass_s"] = time.perf_counter() - began
        out |= server.counts()
        seconds = []
        for by_ranges in (False, True):
            began = time.perf_counter()
            fetched = asyncio.run(fetch_alone(object_store(url), sizes, by_ranges=by_ranges))
            seconds.append(time.perf_counter() - began)
            assert fetched == out["bytes"]
        out["whole_s"], out["ranges_s"] = seconds
    out["alone_s"] = min(seconds)
    out["ratio"] = out["alone_s"] / out["pass_s"]
    return out


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Ratios of medians of fresh processes."""
    rows, figures = [], {}
    for network, (delay_s, rate) in NETWORKS.items():
        for chunks, (m, n, high) in CASES[size].items():
            path = data.make(None, "slow", m, n, chunks=(high, n), codec="none", exact=False)
            arguments = (path, "--delay", delay_s, "--rate", rate)
            run = median([fresh("benchmarks.object_store", *arguments) for _ in range(rounds)])
            figures[f"{network}, {chunks}"] = run
            mb = run["bytes"] / 1e6
            rows.append(
                Row(
                    f"{network}, {run['chunks']:.0f} {chunks}",
                    f">= {ASKED:g} of the client alone",
                    f"{run['ratio']:.2f}: pass {run['pass_s']:.3g} s ({mb / run['pass_s']:.0f} MB/s), alone {run['alone_s']:.3g} s, "
                    f"{run['requests']:.0f} requests, {run['most_in_flight']:.0f} in flight",
                    judged(run["ratio"] >= ASKED, size=size),
                )
            )
    notes = (
        f"A* A times {WIDTH} columns from an S3 on the loopback; the client alone with {IN_FLIGHT} requests in flight, whole "
        f"objects or ranges of {RANGE_BYTES >> 20} MiB, whichever is quicker; medians of {rounds} fresh processes.",
    )
    return Table("O1", "a pass over a store of objects, against its client alone", rows, notes, figures)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure a pass over a matrix in a store of objects."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.object_store", description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", help="folder of a zarr array")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each request")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="bytes per second a connection; 0: any"
    )
    asked = parser.parse_args(arguments)
    if asked.path is None:
        print(table().markdown())
    else:
        print(json.dumps(measure(asked.path, asked.delay, asked.rate)))


if __name__ == "__main__":
    main()
