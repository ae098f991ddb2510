"""K2: what does a pass of kernel ridge regression cost on a GPU, beside copying, beside the products alone, beside the host?

``python -m benchmarks.device_kernels ROWS COLUMNS CENTRES`` measures, in this process: a pass of conjugate gradients (``Z* (Z V)``, V of
8 columns, the features of an RBF kernel) over float32 rows that lie in the host's memory; a pass of predictions into a zarr array;
the copy alone, the same bytes from page-locked memory to the device; the products alone, the same blocks of rows on the device
already; both passes on the host, over a tenth of the rows; and the choice of an eighth as many centres from a tenth of the rows,
on both. It prints one line of JSON. Needs cupy and a CUDA device.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import streamsvd
from benchmarks.device_pass import COPY_BYTES, ROUNDS, _timed
from benchmarks.fresh import Figures, fresh, median
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.drivers.kernel import KernelRidgeFit
from streamsvd.drivers.kernel.jobs import Products, Targets
from streamsvd.drivers.kernel.placing import computing
from streamsvd.drivers.runs import Arrangement, Passes, arranged
from streamsvd.engine.events import ignore
from streamsvd.leverage import FeatureMap, Kernel
from streamsvd.protocols import Source

ASKED, TIMES, APART = 1.25, 4.0, 1e-8
WIDTH = 8
EXTENTS: dict[Size, tuple[int, int, int]] = {
    "small": (50_000, 30, 256),
    "full": (1_000_000, 30, 4_096),
}


def measure(rows: int, columns: int, centres: int) -> Figures:
    """Seconds of both passes and of their parts, least of some rounds, and how far the devices are apart."""
    cupy, cupyx = (importlib.import_module(name) for name in ("cupy", "cupyx"))
    tenth = np.random.default_rng(0).standard_normal((rows // 10, columns), dtype=np.float32)
    A = np.tile(tenth, (10, 1))
    kernel = Kernel("rbf", length=float(np.sqrt(2 * columns)), centre=np.zeros(columns))
    map_ = FeatureMap.of(kernel, tenth[:centres].astype(np.float64))
    V = np.random.default_rng(1).standard_normal((map_.n_features, WIDTH))
    one = np.zeros(1)
    fit = KernelRidgeFit(map_, V[:, :1], one, 1.0, one, True, None, {})

    def gradients(where: str, source: Source) -> tuple[Any, Arrangement]:
        arrangement = _arrangement(source, centres)
        nothing = np.zeros((source.shape[0], 1))
        targets = Targets(nothing, 0.0, 0, one, one)
        job = Products(arrangement.rows, map_, targets, V, judges=False, device=where)
        return Passes(arrangement, ignore)("gradients", job)[0], arrangement

    whole, part = streamsvd.open(A), streamsvd.open(tenth)
    there, here = (gradients(name, part)[0] for name in ("cuda", "cpu"))
    arrangement = gradients("cuda", whole)[1]
    out: Figures = {
        "device": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        "nbytes": A.nbytes,
        "rows": rows,
        "features": map_.n_features,
        "threads": arrangement.workers,
        "runs": len(arrangement.parts),
        "host_rows": tenth.shape[0],
        "host_threads": _arrangement(part, centres).workers,
        "apart": float(np.linalg.norm(there - here) / np.linalg.norm(here)),
    }

    pinned = cupyx.empty_pinned(min(COPY_BYTES, A.nbytes), dtype=np.uint8)
    target = cupy.empty(pinned.shape, np.uint8)

    def copy() -> None:
        for _ in range(0, A.nbytes, pinned.nbytes):
            target.set(pinned)
        cupy.cuda.Device().synchronize()

    with computing("cuda", map_, arrangement.rows, (0, 1)) as (engine, parts):
        placed = next(parts)[2]
        height = placed.rows_at_once
        block = engine.to_device(tenth[:height], "float64")
        W = engine.to_device(V)

        def products(width: int) -> None:
            total = engine.zeros((map_.n_features, width), "float64")
            for first in range(0, rows, height):
                X = block[: min(height, rows - first)]
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

        def predicted(where: str, source: Source) -> Any:
            fit.predict_to(source, path, device=where, memory="64GiB", overwrite=True)
            return zarr.open_array(path)[: tenth.shape[0]]

        there, here = (predicted(name, part) for name in ("cuda", "cpu"))
        out["predicted_apart"] = float(np.linalg.norm(there - here) / np.linalg.norm(here))
        works = {
            "gradients_cuda": lambda: gradients("cuda", whole),
            "gradients_cpu": lambda: gradients("cpu", part),
            "predict_cuda": lambda: predicted("cuda", whole),
            "predict_cpu": lambda: predicted("cpu", part),
        }
        for name, work in works.items():
            out[f"{name}_s"] = min(_timed(work) for _ in range(ROUNDS))
    out["ratio"] = out["gradients_cuda_s"] / max(out["copy_s"], out["products_s"])
    out["predict_ratio"] = out["predict_cuda_s"] / max(out["copy_s"], out["predictions_s"])
    for name in ("gradients", "predict"):
        out[f"{name}_times"] = 10 * out[f"{name}_cpu_s"] / out[f"{name}_cuda_s"]
    return out | _chosen(tenth, centres // 8)


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


def _arrangement(source: Source, centres: int) -> Arrangement:
    """As many threads as there are, reading as a regression would."""
    width = source.shape[1]
    return arranged(
        source, centres, 64 << 30, work=lambda piece: 24 * piece * (centres + width), what="", remedy=""
    )  # fmt: skip


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Ratios of both passes to the dearer of their floors, and to the host."""
    run = median([fresh("benchmarks.device_kernels", *EXTENTS[size]) for _ in range(rounds)])
    case = f"{run['rows']:,} x {EXTENTS[size][1]} of float32 in memory, {run['features']:,} features, {run['device']}"
    host = f"{run['host_rows']:,} rows on {run['host_threads']} threads of the host"
    rows = []
    for name, parts, said in (
        ("gradients", "products", "a pass of conjugate gradients, 8 columns"),
        ("predict", "predictions", "a pass of predictions, one target"),
    ):
        ratio = run["ratio"] if name == "gradients" else run["predict_ratio"]
        apart = run["apart"] if name == "gradients" else run["predicted_apart"]
        rows += [
            Row(
                f"{case}: {said}",
                f"<= {ASKED:g} x max(copy, products)",
                f"{ratio:.2f}: pass {run[f'{name}_cuda_s']:.3g} s, copy {run['copy_s']:.3g} s, products {run[f'{parts}_s']:.3g} s",
                judged(ratio <= ASKED, size=size),
            ),
            Row(
                f"{case}: {said}, beside the host",
                f">= {TIMES:g} x as fast, same numbers to {APART:g}",
                f"{run[f'{name}_times']:.3g} x: {host} {run[f'{name}_cpu_s']:.3g} s; apart by {apart:.1e}",
                judged(run[f"{name}_times"] >= TIMES and apart <= APART, size=size),
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
