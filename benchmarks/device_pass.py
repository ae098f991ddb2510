"""T11: what does a pass cost on a GPU beside the copy to it and the multiplying there?

``python -m benchmarks.device_pass ROWS COLUMNS`` measures, in this process: a pass (``A* A`` times a thin block of
120 columns) over a matrix that lies in the host's memory; the same with a reader that finds its panels there
already; reading alone; the copy alone, the same bytes from one page-locked buffer to the device; products alone, the
same blocks, on the device already; and a certified factorisation on the device and on the host. It prints one line
of JSON. Needs cupy and a CUDA device.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

import streamsvd
from benchmarks.fresh import Figures, fresh, median
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine import device
from streamsvd.engine.allocator import held_memory, panel_buffers
from streamsvd.engine.reader import MatrixReader, read_part
from streamsvd.engine.run import Run
from streamsvd.factor.passes import NormalPass, ThinBlock
from streamsvd.numerics.blocks import Preparation
from streamsvd.testing.spectra import KnownMatrix

ASKED = 1.25
TRAFFIC_ASKED = 1.1
WIDTH = 120
EXTENTS: dict[Size, tuple[int, int]] = {"small": (20_000, 500), "full": (1_000_000, 2_000)}
COPY_BYTES = 2**28
ROUNDS = 3


@contextmanager
def counted() -> Iterator[list[device.Device]]:
    """Every backend that threads make meanwhile, for the bytes they sent and brought."""
    made: list[device.Device] = []
    original, local = device._make_backend, device._LOCAL

    def recorded(name: str) -> device.Device:
        made.append(original(name))
        return made[-1]

    device._make_backend, device._LOCAL = recorded, type(local)()
    try:
        yield made
    finally:
        device._make_backend, device._LOCAL = original, local


def measure(rows: int, columns: int, width: int = WIDTH) -> Figures:
    """Seconds of the pass and of its parts, least of some rounds; bytes through both doors."""
    cupy, cupyx = (importlib.import_module(name) for name in ("cupy", "cupyx"))
    A = np.random.default_rng(0).standard_normal((rows // 10, columns), dtype=np.float32)
    A = np.tile(A, (10, 1))
    source = streamsvd.open(A)
    plan = streamsvd.plan_svd(
        source, min(50, columns - 1), memory="8GiB", axis="rows", route="krylov", device="cuda"
    )
    X = np.random.default_rng(1).standard_normal((columns, width)) / columns**0.5
    pass_ = NormalPass(Preparation("rows", single=True, complex_=False), (ThinBlock(X, True),))

    pinned = cupyx.empty_pinned(min(COPY_BYTES, A.nbytes), dtype=np.uint8)
    there = cupy.empty(pinned.shape, np.uint8)

    def copy() -> None:
        for _ in range(0, A.nbytes, pinned.nbytes):
            there.set(pinned)
        cupy.cuda.Device().synchronize()

    engine = device.thread_backend("cuda")
    blocks = [
        (a, b)
        for span in plan.layout.spans
        for panel in plan.layout.panels(span)
        for a, b in plan.layout.blocks(*panel)
    ]
    block = engine.to_device(A[slice(*blocks[0])])
    Q = engine.to_device(X, "float32")

    def products() -> None:
        total = engine.zeros(X.shape, "float64")
        for a, b in blocks:
            part = block[: b - a]
            total += part.T @ (part @ Q)
        cupy.cuda.Device().synchronize()

    def whole(of: Any = source) -> Any:
        reader = MatrixReader(of, plan.layout, plan.prefetch)
        return Run(reader, plan.workers, "cuda")(pass_, "measured")

    def read() -> None:
        with held_memory(), ThreadPoolExecutor(plan.workers) as pool:
            list(pool.map(read_span, plan.layout.spans))

    def read_span(span: tuple[int, int]) -> None:
        size = plan.layout.panel * columns * A.itemsize
        with panel_buffers(1, size) as (buffer,):
            for a, b in plan.layout.panels(span):
                out = buffer.array((b - a, columns), A.dtype)
                read_part(source, "rows", slice(a, b), slice(0, columns), out)

    with counted() as made:
        whole()
        sent = sum(b.traffic.to_device_bytes for b in made)
        brought = sum(b.traffic.to_host_bytes for b in made)
    out: Figures = {
        "device": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        "nbytes": A.nbytes,
        "threads": plan.workers,
        "panel": plan.layout.panel,
        "block": blocks[0][1] - blocks[0][0],
        "sent": sent / A.nbytes,
        "brought_bytes": brought,
    }
    works: dict[str, Callable[[], Any]] = {
        "pass": whole,
        "unread": lambda: whole(Unread(source)),
        "read": read,
        "copy": copy,
        "products": products,
    }
    for name, work in works.items():
        out[f"{name}_s"] = min(_timed(work) for _ in range(ROUNDS))
    floor = max(out["copy_s"], out["products_s"])
    out["ratio"] = out["unread_s"] / floor
    out["ratio_read"] = out["pass_s"] / max(out["read_s"], floor)
    return out | _factorised(rows // 4, columns)


class Unread:
    """A source whose panels are what their memory holds."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, *_: Any) -> None:
        return


def _factorised(rows: int, columns: int) -> Figures:
    """Seconds of a certified factorisation on both devices, and how far their values are apart."""
    known = KnownMatrix("slow", rows, columns, "float32")
    A = np.concatenate([known.rows(a, min(a + 10_000, rows)) for a in range(0, rows, 10_000)])
    rank, out, values = min(50, columns // 4), {}, {}
    for device_name in ("cpu", "cuda"):
        for _ in range(2):  # the first run on a device loads its libraries
            began = time.perf_counter()
            found = streamsvd.svd(A, rank, tol=1e-3, memory="8GiB", device=device_name)
            out[f"svd_{device_name}_s"] = time.perf_counter() - began
        values[device_name] = found.s
        out[f"svd_{device_name}_passes"] = found.info.passes
    out["svd_apart"] = float(np.max(np.abs(values["cpu"] / values["cuda"] - 1)))
    out["svd_nbytes"] = A.nbytes
    return out


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(size: Size = "full", rounds: int = 3) -> Table:
    """The ratio of a pass to the dearer of its two floors, and the bytes that it moves."""
    run = median([fresh("benchmarks.device_pass", *EXTENTS[size]) for _ in range(rounds)])
    gb = run["nbytes"] / 1e9
    case = f"{gb:.3g} GB of float32 in memory, {run['device']}"
    rows = [
        Row(
            case,
            f"<= {ASKED:g} x max(copy, products)",
            f"{run['ratio']:.2f}: pass {run['unread_s']:.3g} s ({gb / run['unread_s']:.3g} GB/s) where nothing "
            f"has to be read, copy {run['copy_s']:.3g} s, products {run['products_s']:.3g} s",
            judged(run["ratio"] <= ASKED, size=size),
        ),
        Row(
            f"{case}: with reading",
            f"<= {ASKED:g} x max(read, copy, products)",
            f"{run['ratio_read']:.2f}: pass {run['pass_s']:.3g} s ({gb / run['pass_s']:.3g} GB/s), reading by "
            f"{run['threads']} threads {run['read_s']:.3g} s",
            judged(run["ratio_read"] <= ASKED, size=size),
        ),
        Row(
            f"{case}: transfers",
            f"<= {TRAFFIC_ASKED:g} x the bytes of A",
            f"{run['sent']:.3f} sent, {run['brought_bytes'] / 1e6:.3g} MB brought back",
            judged(run["sent"] <= TRAFFIC_ASKED, size=size),
        ),
        Row(
            f"rank 50 of {run['svd_nbytes'] / 1e9:.3g} GB, slow, certified to 1e-3",
            "faster than the host, same values",
            f"{run['svd_cuda_s']:.3g} s in {run['svd_cuda_passes']:.2f} passes; {run['svd_cpu_s']:.3g} s in "
            f"{run['svd_cpu_passes']:.2f} on {run['threads']} cores; values apart by {run['svd_apart']:.1e}",
            judged(run["svd_cuda_s"] <= run["svd_cpu_s"] and run["svd_apart"] < 1e-5, size=size),
        ),
    ]
    return Table("T11", "a pass on a GPU against its parts", rows, (), {case: run})


def main(arguments: list[str] | None = None) -> None:
    """Measure a pass over a matrix of this size."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device_pass", description=main.__doc__
    )
    parser.add_argument("rows", type=int)
    parser.add_argument("columns", type=int)
    chosen = parser.parse_args(arguments)
    print(json.dumps(measure(chosen.rows, chosen.columns)))


if __name__ == "__main__":
    main()
