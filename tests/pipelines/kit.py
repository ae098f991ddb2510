"""What the tests of pipelines share: small sources, files that describe pipelines, and callbacks that count or raise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from streamsvd.engine.events import Event
from streamsvd.errors import DescriptionError
from streamsvd.pipelines.description import Pipeline, read_pipeline
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import PipelineRecord

ROWS, COLUMNS = 240, 12

SVD = """
[sources.a]
path = "A.npy"

[[steps]]
name = "eof"
svd = {source = "a", rank = 3}
"""
"""One source, one step."""

CHAIN = """
[sources.a]
path = "a.zarr"

[[steps]]
name = "eof"
pca = {source = "a", rank = 3}

[[steps]]
name = "model"
update = {source = "a", model = "a.model", rank = 3}

[[steps]]
name = "proof"
verify = {result = "eof", source = "a"}

[[checks]]
step = "eof"
quantity = "width"
at_most = 0.1

[[publish]]
step = "eof"
to = "latest/eof"

[[publish]]
step = "model"
to = "latest/model"
"""
"""A factorisation, a model of the same rows, and a verification of the first."""


def matrix(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Rows that fall off quickly; the first of more are those of fewer."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((COLUMNS, COLUMNS)) * 0.5 ** np.arange(COLUMNS)[:, None]
    return (np.random.default_rng(seed + 1).standard_normal((rows, COLUMNS)) @ mix).astype("f4")


def write_zarr(path: Path, A: np.ndarray) -> Path:
    """An array of chunks of 40 rows, over what is there."""
    chunks = (40, A.shape[1])
    zarr.create_array(str(path), shape=A.shape, dtype=A.dtype, chunks=chunks, overwrite=True)[:] = A
    return path


def grow(path: Path, rows: int, seed: int = 0) -> None:
    """More rows behind those that are there."""
    array = zarr.open_array(str(path), mode="r+")
    seen = array.shape[0]
    array.resize((seen + rows, array.shape[1]))
    array[seen:] = matrix(seen + rows, seed)[seen:]


def write_matrix(folder: Path) -> Path:
    """A matrix as a file, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "A.npy", matrix())
    return folder


def write_sources(folder: Path) -> Path:
    """A matrix as zarr and as a file, a target for its rows, and a collection."""
    folder.mkdir(parents=True, exist_ok=True)
    A = matrix()
    write_zarr(folder / "a.zarr", A)
    np.save(folder / "A.npy", A)
    np.save(folder / "y.npy", A @ np.ones(COLUMNS, np.float32))
    blocks = folder / "blocks"
    blocks.mkdir(exist_ok=True)
    rng = np.random.default_rng(2)
    basis = rng.standard_normal((20, 4))
    for number in range(4):
        np.save(blocks / f"b{number}.npy", (basis @ rng.standard_normal((4, 10))).astype("f4"))
    return folder


def write(folder: Path, text: str, *settings: str, name: str = "p.toml") -> Pipeline:
    """The pipeline that a text describes, in a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_pipeline(path, settings)


def refusal(folder: Path, text: str, *settings: str) -> str:
    """What is said of a text that is no pipeline."""
    with pytest.raises(DescriptionError) as caught:
        write(folder, text, *settings)
    said = str(caught.value)
    assert said.startswith(f"{folder / 'p.toml'}: ")
    return said.removeprefix(f"{folder / 'p.toml'}: ")


def statuses(record: PipelineRecord) -> dict[str, str]:
    """How each step ended."""
    return {step.name: step.status for step in record.steps}


def made(record: PipelineRecord) -> list[str]:
    """Steps that were made."""
    return [step.name for step in record.steps if step.status == "done"]


def place_of(record: PipelineRecord, name: str) -> Path:
    """Where the result of a step is."""
    return Path(next(step.place for step in record.steps if step.name == name))


class StopError(Exception):
    """Raised by a callback."""


class Watch:
    """A callback that keeps what it is told, and raises at one event.

    Parameters
    ----------
    at
        Which event, from 1; 0 for none.
    raised
        What it raises then.
    """

    def __init__(self, at: int = 0, raised: type[BaseException] = StopError) -> None:
        self.at, self.raised = at, raised
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) == self.at:
            raise self.raised


def factors(path: Path) -> dict[str, Any]:
    """The arrays of a stored result, by name."""
    group = zarr.open_group(str(path), mode="r")
    return {name: np.asarray(array[...]) for name, array in group.arrays()}


def assert_same_bits(a: Path, b: Path) -> None:
    """Two stored results hold the same numbers."""
    mine, its = factors(a), factors(b)
    assert mine.keys() == its.keys()
    assert mine, "there is nothing to compare"
    for name, values in mine.items():
        np.testing.assert_array_equal(values, its[name], err_msg=name)


@contextmanager
def folder_of_work(path: Path) -> Iterator[None]:
    """Another current folder for a while."""
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


def run_text(folder: Path, text: str, *settings: str, callback: Any = None) -> PipelineRecord:
    """The record of one run of a text."""
    return run_pipeline(write(folder, text, *settings), callback=callback or Watch())
