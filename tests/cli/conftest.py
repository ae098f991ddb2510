from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from streamsvd.cli import app
from streamsvd.testing.writing import write_grid


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        """The one object on stdout; anything else there is an error."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A command in this process."""

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = app.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return command


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """A command in a process of its own, which heeds signals whatever this one does."""

    def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "streamsvd.cli", *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=_default_signals,
        )

    return command


def _default_signals() -> None:
    import signal

    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a shell ignores it for what it runs in the background


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of small sources."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((600, 60)) * 0.8 ** np.arange(60)).astype(np.float32)
    array = zarr.create_array(
        str(folder / "A.zarr"), shape=A.shape, dtype=A.dtype, chunks=(100, 60)
    )
    array[...] = A
    np.save(folder / "A.npy", A)
    B = A.copy()
    B[77, 3] = np.nan
    np.save(folder / "nan.npy", B)
    np.save(folder / "double.npy", 2 * A)
    np.save(folder / "narrow.npy", A[:, :50])
    np.save(folder / "row.npy", A[0])
    np.save(folder / "objects.npy", np.array([["a"]], dtype=object), allow_pickle=True)
    np.save(folder / "row_weights.npy", rng.random(600))
    np.save(folder / "column_weights.npy", rng.random(60))
    values = rng.integers(0, 1000, (40, 5, 6)).astype(np.int16)
    attributes = {"_FillValue": -99, "scale_factor": 0.1}
    write_grid(folder / "grid.zarr", "t2m", values, ("time", "lat", "lon"), attributes, chunk=10)
    return folder
