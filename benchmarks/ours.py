"""One run of streamsvd on a stored matrix, measured as the peers are; the counterpart of `benchmarks.peers`.

``python -m benchmarks.ours PATH --rank 50 --tol 1e-3 --memory 256MiB`` factorises in this process, which
should be fresh, and prints one line of JSON: wall and CPU seconds (children included), peak memory above that
after the imports beside what the plan projected, passes as reported and (``--through store``) as a store under
the matrix counted them, certified width, true error and whether every interval holds the truth, where it is
known.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

import streamsvd
from benchmarks import data
from benchmarks.loopback import Server
from benchmarks.peers import Figures, counted_passes, measured, versions
from streamsvd.errors import BudgetError, NotConverged
from streamsvd.factor.calibration import measure_speeds
from streamsvd.factor.options import PLAN_OPTIONS
from streamsvd.testing.stores import CountingStore

Array = npt.NDArray[Any]

MOST_BYTES = 2 << 30
"""A plan that needs more than this at least is not run."""

PLANNED = tuple(name for name in PLAN_OPTIONS if name != "memory")
"""Options that `plan_svd` and `svd` share, beside the budget."""


def _store(path: Path) -> CountingStore:
    return CountingStore(LocalStore(path, read_only=True))


def _dask(path: Path) -> Any:
    return importlib.import_module("dask.array").from_zarr(path)


@dataclass(frozen=True)
class Rows:
    """A user's own reader, of a zarr array."""

    array: Any

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)

    @property
    def chunks(self) -> tuple[int, int]:
        """Blocks of several chunks, so that what zarr holds of one chunk is less than a block."""
        return 4 * self.array.chunks[0], self.array.shape[1]

    def read(self, rows: slice) -> Array:
        out = np.empty((rows.stop - rows.start, self.shape[1]), self.dtype)
        height, width = self.array.chunks
        for a in range(rows.start - rows.start % height, rows.stop, height):
            part = slice(max(a, rows.start), min(a + height, rows.stop))
            for b in range(
                0, self.shape[1], width
            ):  # zarr decodes at once all that it is asked for
                into = out[part.start - rows.start : part.stop - rows.start, b : b + width]
                into[...] = self.array[part, b : b + width]
        return out


def _reader(path: Path) -> Rows:
    return Rows(zarr.open_array(path, mode="r"))


def _web(path: Path) -> str:
    importlib.import_module("obstore")  # before memory is measured
    server = Server(path.parent, 0, 0)
    atexit.register(server.close)
    return f"{server.url}/{path.name}"


DOORS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "store": _store,
    "dask": _dask,
    "reader": _reader,
    "web": _web,
}
"""How a matrix reaches streamsvd: by its path; through a store that counts, which is read through zarr's event
loop as a remote store is, so that time and memory are not those of a local folder; as a dask array; as an
object with ``read(rows)``; from a web server on the loopback, which is another process."""


@dataclass(slots=True)
class Outcome:
    """What a run leaves behind: its plan, its result, and whether it met what was asked."""

    plan: Any
    result: Any
    smallest: int | None


def run(
    path: str | os.PathLike[str],
    *,
    memory: str | int = "256MiB",
    axis: str | None = None,
    route: str | None = None,
    seed: int = 0,
    through: str = "path",
    calibrate: bool = False,
    **options: Any,
) -> Figures:
    """Figures of one factorisation.

    Parameters
    ----------
    path
        Anything `streamsvd.open` takes a path for; zarr folders only where not read through their path.
    memory
        As in `streamsvd.svd`; or ``"1x"``, ``"1.5x"``: so many times the smallest budget that works.
    axis, route
        As in `streamsvd.plan_svd`.
    seed
        As in `streamsvd.svd`.
    through
        One of `DOORS`.
    calibrate
        Measure the rates of this machine for the plan first; not part of what is measured here.
    options
        As in `streamsvd.svd`.
    """
    for module in ("factor.svd", "store.results.writer", "store.checkpoints.checkpoint"):
        importlib.import_module(f"streamsvd.{module}")  # before memory is measured
    source = DOORS[through](Path(path))
    counting = source if isinstance(source, CountingStore) else None
    rates = None
    if calibrate:
        draft = streamsvd.open(source)
        given = {name: options[name] for name in PLANNED if name in options}
        budget = _budget(draft, memory, axis=axis, route=route, **given)[0]
        first = streamsvd.plan_svd(draft, memory=budget, axis=axis, route=route, **given)
        rates = measure_speeds(draft, first)
    if counting is not None:
        counting.reset()
    asked = asked_bytes()
    found, cost = measured(
        lambda: _factorise(
            source, memory, {"axis": axis, "route": route, "rates": rates}, seed, options
        )
    )
    asked = asked_bytes() - asked
    plan, r = found.plan, found.result
    # the product sets the kernel's mark back when it begins, so its own peak counts as well
    cost["peak_rss_bytes"] = max(cost["peak_rss_bytes"], r.info.peak_bytes)
    c = r.certificate
    figures = {
        "peer": "streamsvd",
        "path": str(path),
        "options": {
            "memory": memory,
            "axis": axis,
            "route": route,
            "seed": seed,
            "through": through,
            **options,
        },
        **cost,
        "status": r.info.status.value,
        "s": r.s.tolist(),
        "width": c.relative_width,
        "passes": r.info.passes,
        "reads": r.info.bytes_read / plan.nbytes,
        "file_passes": asked / stored_bytes(Path(path)),
        "looks": len(r.info.widths),
        "widths": list(r.info.widths),
        "bytes_read": r.info.bytes_read,
        "info_peak_bytes": r.info.peak_bytes,
        "route": r.info.route,
        "axis": r.info.axis,
        "precision": r.info.precision,
        "workers": plan.workers,
        "prefetch": plan.prefetch,
        "tile": plan.layout.tile,
        "panel_rows": plan.layout.panel,
        "nbytes": plan.nbytes,
        "budget_bytes": plan.budget_bytes,
        "smallest_bytes": found.smallest,
        "projected_bytes": plan.projected_bytes,
        "planned_passes": plan.passes,
        "planned_looks": planned_looks(plan),
        "planned_bytes": plan.bytes_read,
        "planned_seconds": plan.seconds,
        "versions": versions("dask"),
    }
    if counting is not None:
        figures["counted_passes"] = counted_passes(counting, Path(path))
    if data.truth_path(Path(path)).exists():
        figures |= against_truth(r, data.truth(path), np.dtype(plan.dtype))
    return figures


def _factorise(
    source: Any, memory: str | int, only: dict[str, Any], seed: int, options: dict[str, Any]
) -> Outcome:
    A = streamsvd.open(source)
    given = {name: options[name] for name in PLANNED if name in options}
    budget, smallest = _budget(A, memory, **only, **given)
    plan = streamsvd.plan_svd(A, memory=budget, **only, **given)
    try:
        return Outcome(
            plan, streamsvd.svd(A, plan=plan, memory=budget, seed=seed, **options), smallest
        )
    except NotConverged as error:
        return Outcome(plan, error.result, smallest)


def _budget(A: Any, memory: str | int, **planned: Any) -> tuple[str | int, int | None]:
    """The budget, and the smallest that works where it was asked as a multiple of that."""
    times = re.fullmatch(r"([0-9.]+)x", str(memory))
    if times is None:
        return memory, None
    try:
        streamsvd.plan_svd(A, memory=1, **planned)
    except BudgetError as error:
        if error.needs > MOST_BYTES:
            raise
        return int(error.needs * float(times[1])), error.needs
    raise AssertionError("a plan fits one byte")


def stored_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; a hard link counts as a file of its own."""
    files = [path] if path.is_file() else (part for part in path.rglob("*") if part.is_file())
    return sum(file.stat().st_size for file in files)


def asked_bytes() -> int:
    """Bytes that this process has asked of files so far, cached or not."""
    (line,) = (x for x in Path("/proc/self/io").read_text().splitlines() if x.startswith("rchar"))
    return int(line.split()[1])


def planned_looks(plan: Any) -> int:
    """Passes of the loop that a plan expects: those that are left without the sample and the last factor."""
    last = plan.options.u if plan.layout.axis == "rows" else True
    return round((plan.passes - last - 0.1) / plan.layout.amplification)


def against_truth(result: Any, known: data.Truth, dtype: np.dtype[Any]) -> Figures:
    """Worst relative error of the values, and whether every interval holds its value.

    The truth has an error of its own, which the intervals are forgiven: rounding of its Gram matrix, or of
    the entries where it is that of the construction.
    """
    s, c = known.s[: result.s.size], result.certificate
    single = dtype.itemsize // (2 if dtype.kind == "c" else 1) <= 4
    entries = float(np.finfo(np.float32 if single else np.float64).eps) * s[0]
    gram = 8 * float(np.finfo(np.float64).eps) * s[0] ** 2 / np.maximum(s, 1e-300)
    slack = gram if known.kind == "gram" else 8 * entries + 0 * s
    inside = (c.sigma_lower <= s + slack) & (s - slack <= c.sigma_upper)
    return {
        "error": float(np.abs(result.s / s - 1).max()),
        "holds": bool(inside.all()),
        "truth": known.kind,
        "truth_slack": float((slack / s).max()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Factorise one stored matrix in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours", description=main.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--energy", type=float)
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--memory", default="256MiB", help="bytes, or 1.5x the smallest that works")
    parser.add_argument("--center", action="store_true")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--nonfinite", default="raise")
    parser.add_argument("--u", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--save-seconds", type=float, default=30.0)
    parser.add_argument("--max-passes", type=int, default=12)
    parser.add_argument("--certify", choices=("bounds", "estimate"), default="bounds")
    parser.add_argument("--precision", choices=("auto", "single", "double"), default="auto")
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--axis", choices=("rows", "columns"))
    parser.add_argument("--route", choices=("krylov", "gram"))
    parser.add_argument("--through", choices=tuple(DOORS), default="path")
    parser.add_argument("--calibrate", action="store_true", help="plan with measured rates")
    options = vars(parser.parse_args(arguments))
    print(json.dumps(run(**options), default=str))


if __name__ == "__main__":
    main()
