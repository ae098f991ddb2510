"""A matrix of known singular values, factorised in much less memory than it takes, against the truth."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.report.figures import factorisations
from streamsvd.testing.spectra import KnownMatrix

RANK, TOL, MEMORY = 50, 1e-3, "256MiB"
TRUTH_RTOL = 3e-7
"""What rounding the entries to float32 does to the singular values, relative (measured)."""


def make_matrix(size: int) -> KnownMatrix:
    """About ``size`` bytes of float32 with ``s_i = 1/i``: 250 000 x 2 000 at 2 GB."""
    columns = 2000 if size >= 32_000_000 else 200
    return KnownMatrix("pow1", max(columns, size // (4 * columns)), columns)


def require_room(folder: Path, needed: int) -> None:
    """Refuse early where the disk cannot hold what will be written.

    Raises
    ------
    StoreError
        Naming what is free and what is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"{folder} has {free / 1e9:.3g} GB free, the demo needs {needed / 1e9:.3g} GB for a while. Free some, "
            "choose another disk with --out, or a smaller matrix with --size."
        )


def arguments(path: Path, out: Path) -> list[str]:
    """What follows ``streamsvd`` to factorise the matrix."""
    command = ["svd", str(path), "--rank", str(RANK), "--tol", f"{TOL:g}", "--memory", MEMORY]
    return [*command, "--out", str(out), "--overwrite"]


def factorise(path: Path, out: Path, *, quiet: bool) -> dict[str, Any]:
    """What the command prints as JSON, run in a process of its own so that its peak of memory is its own.

    Raises
    ------
    StreamSVDError
        If it fails.
    """
    command = [sys.executable, "-m", "streamsvd.cli", *arguments(path, out), "--json"]
    command += ["--quiet"] if quiet else []
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        answer, _ = child.communicate()
    except BaseException:
        child.terminate()  # it stops cleanly, unless the terminal's Ctrl-C has reached it already
        child.wait()
        raise
    record = json.loads(answer) if answer.strip() else {}
    if child.returncode:
        reason = record.get("message") or record.get("status") or f"exit code {child.returncode}"
        raise StreamSVDError(f"the factorisation of {path} failed: {reason}")
    assert isinstance(record, dict)
    return record


def compare(A: KnownMatrix, record: dict[str, Any]) -> dict[str, Any]:
    """Intervals against the truth, value by value."""
    s = np.asarray(record["singular_values"])
    truth = A.s[: s.size]
    low, high = (np.asarray(record["certificate"][end]) for end in ("sigma_lower", "sigma_upper"))
    inside = (low <= truth * (1 + TRUTH_RTOL)) & (truth * (1 - TRUTH_RTOL) <= high)
    return {
        "truth": truth,
        "true_error": np.abs(s / truth - 1),
        "certified_width": (high - low) / high,
        "inside": int(inside.sum()),
    }


def draw(A: KnownMatrix, record: dict[str, Any], path: Path) -> Path:
    """Certified intervals against the truth."""
    s, c = np.asarray(record["singular_values"]), record["certificate"]
    fields = {name: c[name] for name in Certificate.__slots__}
    fields |= {name: np.asarray(c[name]) for name in ("sigma_lower", "sigma_upper")}
    fields |= {"kind": Kind(c["kind"])}
    return factorisations.against_truth(
        path,
        s,
        Certificate(**fields),
        A.s[: s.size],
        title=f"{A.n_rows:,} x {A.n_cols:,} of known spectrum: what is certified, what is true",
        tol=TOL,
        known_to=TRUTH_RTOL,
    )
