"""All that needs a CUDA device, in one command that ends within fifteen minutes: the tests marked ``gpu``, then T11, then K2.

``python -m benchmarks.gpu`` runs all three, ``python -m benchmarks.gpu tests T11`` those that are named. Each has a limit of its
own, and what does not end within it counts as failed. Needs cupy, a CUDA device, and what tests need.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

STEPS: dict[str, tuple[int, Sequence[str]]] = {
    "tests": (360, ("pytest", "-q", "-m", "gpu", "-n", "0", "-p", "no:cacheprovider", "tests")),
    "T11": (330, ("benchmarks.run", "--size", "full", "--only", "T11")),
    "K2": (180, ("benchmarks.device_kernels", "400000", "30", "4096")),
}
"""Seconds that each may take, and the module with its arguments."""


def run_step(name: str) -> bool:
    """Whether a step ended well within its time."""
    seconds, (module, *arguments) = STEPS[name]
    command = [sys.executable, "-m", module, *arguments]
    print(f"== {name}, at most {seconds} s: {' '.join(command[1:])}", flush=True)
    began = time.perf_counter()
    try:
        good = subprocess.run(command, timeout=seconds, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        good = False
    verdict = "done" if good else "FAILED"
    print(f"== {name}: {verdict} after {time.perf_counter() - began:.0f} s", flush=True)
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=main.__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)} [all]")
    chosen = parser.parse_args(arguments).steps or list(STEPS)
    unknown = [name for name in chosen if name not in STEPS]
    if unknown:
        parser.error(f"no step is called {unknown[0]!r}: there are {', '.join(STEPS)}")
    return 0 if all([run_step(name) for name in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
