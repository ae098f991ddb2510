"""T10: how long until the command line answers, and what has it imported by then?"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from benchmarks.fresh import ROOT
from benchmarks.tables import Row, Size, Table, judged

SECONDS = 0.5
FORBIDDEN = ("distributed", "cupy", "matplotlib")
HEAVY = (*FORBIDDEN, "dask", "zarr", "scipy", "numpy", "rich", "xarray")
PROGRAM = """
import json, sys
from streamsvd.cli.app import run
code = run(["--help"])
print("\\n" + json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def help_seconds() -> float:
    """Wall seconds of ``streamsvd --help`` in a fresh process."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "streamsvd.cli", "--help"], check=True, capture_output=True, cwd=ROOT
    )
    return time.perf_counter() - began


def imported() -> tuple[int, list[str]]:
    """Exit code of ``streamsvd --help``, and the top-level modules that it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, cwd=ROOT
    )
    code, modules = json.loads(done.stdout.strip().splitlines()[-1])
    return int(code), list(modules)


class Startup:
    """asv: the first answer."""

    def time_help(self) -> None:
        help_seconds()

    def track_forbidden_imports(self) -> int:
        return len(set(imported()[1]).intersection(FORBIDDEN))


def table(size: Size = "full", rounds: int = 5) -> Table:
    """Median seconds, and what was imported."""
    rounds = max(rounds, 5) if size == "full" else rounds
    help_seconds()  # the first compiles
    runs = [help_seconds() for _ in range(rounds)]
    floor = statistics.median([_python_seconds() for _ in range(rounds)])
    code, modules = imported()
    heavy = [name for name in HEAVY if name in modules]
    rows = [
        Row(
            "streamsvd --help",
            f"<= {SECONDS:g} s, median of 5",
            f"{statistics.median(runs):.3f} s ({min(runs):.3f} to {max(runs):.3f}); python alone {floor:.3f} s",
            judged(code == 0 and statistics.median(runs) <= SECONDS),
        ),
        Row(
            "imports",
            f"none of {', '.join(FORBIDDEN)}",
            f"of the heavy ones: {', '.join(heavy) or 'none'}",
            judged(not set(heavy).intersection(FORBIDDEN)),
        ),
    ]
    return Table(
        "T10", "start of the command line", rows, (), {"seconds": runs, "modules": modules}
    )


def _python_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began
