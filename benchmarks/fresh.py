"""Measured runs: each in a process of its own, competitors in turns, medians over the rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, Any]
Command = Sequence[Any]


class RunFailed(RuntimeError):
    """A measured process that did not print its figures."""


def fresh(module: str, *arguments: Any, timeout_s: float = 3600) -> Figures:
    """Figures that ``python -m module arguments`` prints as the last line of its output.

    Raises
    ------
    RunFailed
        If it fails or takes too long; with the end of what it said.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise RunFailed(f"{' '.join(command[2:])} took more than {timeout_s:g} s") from error
    if done.returncode:
        raise RunFailed(
            f"{' '.join(command[2:])} left with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def interleaved(commands: Mapping[str, Command], rounds: int = 3) -> dict[str, Figures]:
    """Medians over some rounds of every command, run in turns so that a slow moment strikes them alike."""
    runs: dict[str, list[Figures]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (module, *arguments) in commands.items():
            runs[name].append(fresh(module, *arguments))
    return {name: median(found) for name, found in runs.items()}


def median(runs: Sequence[Figures]) -> Figures:
    """Median of each number; of everything else what the first run says."""
    first = runs[0]
    out: Figures = {"runs": len(runs)}
    for key, value in first.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        out[key] = statistics.median([run[key] for run in runs]) if number else value
    return out
