"""All targets, each as a table of what was asked, what was measured, and the verdict.

``python -m benchmarks.run --size full --json figures.json --markdown tables.md`` makes the data it needs (in
``$STREAMSVD_CACHE``, about 7 GB) and measures everything; a quiet machine is needed for what has seconds in it.
``--only T1 T4`` restricts it, ``--size small`` runs everything in minutes and judges only what holds at any size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.fresh import RunFailed
from benchmarks.peers import versions
from benchmarks.tables import Row, Size, Table

MODULES = {
    "T1": "passes",
    "T2": "equal_accuracy",
    "T3": "pass_cost",
    "T4": "memory",
    "T5": "cluster",
    "T6": "updates",
    "T7": "grids",
    "T8": "planner",
    "T9": "graphs",
    "T10": "startup",
    "T11": "device_pass",
    "T12": "ordinary",
    "T16": "tiny",
    "P1": "shared_read",
    "W1": "cluster_simulation",
    "I1": "conversion",
    "Z1": "sparse_pass",
    "Z2": "cells",
    "Z3": "sparse_peers",
    "G1": "node_embeddings",
    "O1": "object_store",
    "S1": "streams",
    "S2": "sweep_start",
    "K1": "kernels",
    "K2": "device_kernels",
    "C1": "concat",
    "C2": "network",
}

EVERYWHERE = [target for target in MODULES if target not in ("T11", "K2")]
"""What needs no CUDA device."""


def table(target: str, size: Size, rounds: int | None = None) -> Table:
    """The table of one target; a run that fails is a row that says so."""
    make: Callable[..., Table] = import_module(f"benchmarks.{MODULES[target]}").table
    try:
        return make(size) if rounds is None else make(size, rounds)
    except RunFailed as error:
        row = Row(
            MODULES[target], "to run", f"failed: {' '.join(str(error).split())[-600:]}", "MISSED"
        )
        return Table(target, MODULES[target].replace("_", " "), [row])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "versions": versions("scipy", "dask"),
        "command": f"python -m benchmarks.run {' '.join(sys.argv[1:])}".strip(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure the targets and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=main.__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=tuple(MODULES), default=EVERYWHERE, metavar="TARGET"
    )
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument(
        "--rounds", type=int, help="runs that a median is taken of [each target's own]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    options = parser.parse_args(arguments)
    on, tables = machine(), []
    text = [
        f"{on['system']}, {on['cores']} cores, python {on['python']}, "
        + ", ".join(f"{name} {version}" for name, version in on["versions"].items())
        + f"; load before {on['load_before']:.2f}; `{on['command']}`"
    ]
    for target in options.only:
        began = time.perf_counter()
        tables.append(table(target, options.size, options.rounds))
        text.append(tables[-1].markdown())
        print(f"{text[-1]}\n\n({time.perf_counter() - began:.0f} s)\n", flush=True)
        if options.json is not None:  # as far as it is: a full run takes an hour
            record = {"machine": on, "size": options.size, "tables": [asdict(t) for t in tables]}
            options.json.write_text(json.dumps(record, indent=1, default=str))
        if options.markdown is not None:
            options.markdown.write_text("\n\n".join(text) + "\n")
    sys.exit(any(t.missed for t in tables))


if __name__ == "__main__":
    main()
