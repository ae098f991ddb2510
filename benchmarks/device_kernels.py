"""K2: what does a pass of kernel ridge regression cost on a GPU, beside copying, beside the products alone, beside the host?

``python -m benchmarks.device_kernels ROWS COLUMNS CENTRES`` measures, in this process: a pass of conjugate gradients (``Z* (Z V)``, V of
8 columns, the features of an RBF kernel) over float32 rows that lie in the host's memory; a pass of predictions into a zarr array;
the copy alone, the same bytes from page-locked memory to the device; the products alone, the same blocks of rows on the device
already; both passes on the host, once; and the choice of a sixteenth as many centres from one in 20 of the rows, on both. It prints
one line of JSON. Needs cupy and a CUDA device.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import streamsvd
from benchmarks.device_pass import COPY_BYTES, ROUNDS, _timed
from benchmarks.fresh import Figures, fresh, median
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine.device import borrow_backend
from streamsvd.engine.run import running
from streamsvd.engine.schedule import schedule_rows
from streamsvd.kernels.devices import Features
from streamsvd.kernels.mathematics import FeatureMap, Kernel
from streamsvd.kernels.nystrom import feature_rows
from streamsvd.kernels.passes import ProductPass
from streamsvd.kernels.targets import Targets

ASKED, TIMES, APART = 1.25, 4.0, 1e-8
WIDTH = 8
EXTENTS: dict[Size, tuple[int, int, int]] = {
    "small": (50_000, 30, 256),
    "full": (400_000, 30, 4_096),
}


def measure(rows: int, columns: int, centres: int) -> Figures:
    """Seconds of both passes on both devices and of their parts, and how far the devices are apart."""
    cupy, cupyx = (importlib.import_module(name) for name in ("cupy", "cupyx"))
    A = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
    source = streamsvd.open(A)
    kernel = Kernel("rbf", length=float(np.sqrt(2 * columns)), centre=np.zeros(columns))
    map_ = FeatureMap.of(kernel, A[:centres].astype(np.float64))
    V = np.random.default_rng(1).standard_normal((map_.n_features, WIDTH))
    one = np.zeros(1)
    small = streamsvd.kernel_ridge(A[:64], A[:64, 0], n_centres=8, ridge=1.0)
    fit = replace(small, feature_map=map_, coefficients=V[:, :1], mean=one)
    schedules = {
        where: schedule_rows(
            source, feature_rows(source, centres, where), 64 << 30,
            work=lambda height: 40 * height * (centres + columns), what="", remedy="",
        )
        for where in ("cpu", "cuda")
    }  # fmt: skip
    targets = Targets(np.zeros((rows, 1)), 0.0, 0, one, one)
    out: Figures = {
        "device": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        "nbytes": A.nbytes,
        "rows": rows,
        "features": map_.n_features,
        "threads": schedules["cuda"].workers,
        "runs": len(schedules["cuda"].layout.spans),
    }
    pinned = cupyx.empty_pinned(min(COPY_BYTES, A.nbytes), dtype=np.uint8)
    target = cupy.empty(pinned.shape, np.uint8)

    def copy() -> None:
        for _ in range(0, A.nbytes, pinned.nbytes):
            target.set(pinned)
        cupy.cuda.Device().synchronize()

    with borrow_backend("cuda") as engine:
        placed: Any = Features.on(engine, map_).map_
        height = placed.rows_at_once
        block = engine.to_device(A[:height], "float64")
        W = engine.to_device(V)

        def products(width: int) -> None:
            total = engine.zeros((map_.n_features, width), "float64")
            for first in range(0, rows, height):
                X = block[: min(height, rows - first), :]
                Z = placed.kernel(X, placed.centres, termwise=False) @ placed.whitening
                found = Z @ W[:, :width]
                if width > 1:
                    total += Z.T @ found
            engine.finish()

        works: dict[str, Callable[[], Any]] = {
            "copy": copy,
            "products": lambda: products(WIDTH),
            "predictions": lambda: products(1),
        }
        for name, work in works.items():
            out[f"{name}_s"] = min(_timed(work) for _ in range(ROUNDS))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predicted.zarr"

        def gradients(where: str) -> Any:
            with running(schedules[where], device=where) as run:
                return run(ProductPass(map_, targets, V, judges=False), "gradients")[0]

        def predict(where: str) -> Any:
            fit.predict_to(source, path, device=where, memory="64GiB", overwrite=True)
            return zarr.open_array(path)[...]

        for name, pass_ in (("gradients", gradients), ("predict", predict)):
            out[f"{name}_cuda_s"], there = _least(pass_, "cuda", 1 + ROUNDS)
            out[f"{name}_cpu_s"], here = _least(pass_, "cpu", 1)
            out[f"{name}_apart"] = float(np.linalg.norm(there - here) / np.linalg.norm(here))
            out[f"{name}_times"] = out[f"{name}_cpu_s"] / out[f"{name}_cuda_s"]
    for name, floor in (("gradients", "products"), ("predict", "predictions")):
        out[f"{name}_ratio"] = out[f"{name}_cuda_s"] / max(out["copy_s"], out[f"{floor}_s"])
    return out | _chosen(A[: rows // 20], centres // 16)


def _least(work: Callable[[str], Any], where: str, rounds: int) -> tuple[float, Any]:
    """Least seconds of some rounds, and what was found; the first on a device loads its libraries."""
    seconds, found = [], None
    for _ in range(rounds):
        began = time.perf_counter()
        found = work(where)
        seconds.append(time.perf_counter() - began)
    return min(seconds), found


def _chosen(A: Any, centres: int) -> Figures:
    """Seconds of a dictionary, centres and their error on both devices, and how many rows they have in common."""
    out: Figures = {"centres": centres, "chosen_rows": A.shape[0]}
    streamsvd.nystrom(A[: 8 * centres], n_centres=centres, device="cuda")  # loads the libraries
    kept = {}
    for where in ("cuda", "cpu"):
        found = streamsvd.nystrom(A, n_centres=centres, device=where, memory="64GiB")
        kept[where] = set(found.indices.tolist())
        out[f"chosen_{where}_s"] = found.info.elapsed_s
        out[f"trace_error_{where}"] = found.certificate.trace_error / found.certificate.trace
    out["chosen_times"] = out["chosen_cpu_s"] / out["chosen_cuda_s"]
    out["dictionary"], out["common"] = len(kept["cpu"]), len(kept["cpu"] & kept["cuda"])
    return out


def table(size: Size = "full", rounds: int = 1) -> Table:
    """Ratios of both passes to the dearer of their floors, and to the host."""
    run = median([fresh("benchmarks.device_kernels", *EXTENTS[size]) for _ in range(rounds)])
    case = f"{run['rows']:,} x {EXTENTS[size][1]} of float32 in memory, {run['features']:,} features, {run['device']}"
    rows = []
    for name, floor, said in (
        ("gradients", "products", "a pass of conjugate gradients, 8 columns"),
        ("predict", "predictions", "a pass of predictions, one target, written to zarr"),
    ):
        there, here = run[f"{name}_cuda_s"], run[f"{name}_cpu_s"]
        ratio, times, apart = (run[f"{name}_{what}"] for what in ("ratio", "times", "apart"))
        rows += [
            Row(
                f"{case}: {said}",
                f"<= {ASKED:g} x max(copy, products)",
                f"{ratio:.2f}: pass {there:.3g} s, copy {run['copy_s']:.3g} s, products {run[f'{floor}_s']:.3g} s",
                judged(ratio <= ASKED, size=size),
            ),
            Row(
                f"{case}: {said}, beside the host",
                f">= {TIMES:g} x as fast, same numbers to {APART:g}",
                f"{times:.3g} x: {run['threads']} threads of the host {here:.3g} s; apart by {apart:.1e}",
                judged(times >= TIMES and apart <= APART, size=size),
            ),
        ]
    rows.append(
        Row(
            f"{run['chosen_rows']:,} of these rows: {run['dictionary']:,} kept, {run['centres']} centres, error certified",
            f">= {TIMES:g} x as fast as the host",
            f"{run['chosen_times']:.3g} x: {run['chosen_cuda_s']:.3g} s, host {run['chosen_cpu_s']:.3g} s; {run['common']:,} rows in "
            f"common; trace of the error {run['trace_error_cuda']:.3g} and {run['trace_error_cpu']:.3g} of the whole",
            judged(run["chosen_times"] >= TIMES, size=size),
        )
    )
    return Table("K2", "a pass of kernel ridge regression on a GPU", rows, (), {case: run})


def main(arguments: list[str] | None = None) -> None:
    """Measure passes over rows of this size."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device_kernels", description=main.__doc__
    )
    for name in ("rows", "columns", "centres"):
        parser.add_argument(name, type=int)
    chosen = parser.parse_args(arguments)
    print(json.dumps(measure(chosen.rows, chosen.columns, chosen.centres)))


if __name__ == "__main__":
    main()
