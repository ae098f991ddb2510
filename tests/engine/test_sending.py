"""What cannot be sent to workers is named with what holds it, and what can is counted without a copy."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.sending import sent_bytes
from streamsvd.engine.task import Work
from streamsvd.errors import SpecError

VALUES = np.random.default_rng(0).standard_normal((400, 50))


class Rows:
    """What a user may write."""

    shape, dtype, chunks = VALUES.shape, VALUES.dtype, (100, 50)

    def __init__(self, **things):
        self.__dict__.update(things)

    def read(self, rows):
        return VALUES[rows]


def work(source):
    return Work(MatrixReader(source, None), None, "cpu", "run")


@pytest.mark.parametrize(
    ("things", "said"),
    [
        (lambda: {"lock": threading.Lock()}, r"Rows holds a _thread.lock,"),
        (lambda: {"parts": [{"lock": threading.Lock()}]}, r"Rows holds a _thread.lock,"),
        (lambda: {"go": lambda: None}, None),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_owner(things, said, caplog):
    source = streamsvd.open(Rows(**things()))
    if said is None:
        assert sent_bytes(work(source), source.name) > 0
        return
    with pytest.raises(
        SpecError, match=said + r" which cannot be sent to workers. Open it inside read\(\), or"
    ):
        sent_bytes(work(source), source.name)
    assert not caplog.records


def test_an_open_file_is_said_to_be_open(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    with (
        (tmp_path / "x").open("rb") as file,
        pytest.raises(SpecError, match=r"Rows holds an open _io.BufferedReader"),
    ):
        sent_bytes(work(streamsvd.open(Rows(file=file))), "Rows")


def test_an_open_dataset_is_named_and_not_the_parts_of_its_library(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = VALUES
        with pytest.raises(SpecError, match=r"Rows holds an open h5py.Dataset, which cannot"):
            sent_bytes(work(streamsvd.open(Rows(opened=file["x"]))), "Rows")


def test_arrays_in_memory_are_counted_and_addresses_are_small(tmp_path):
    store = zarr.storage.MemoryStore()
    for place in (store, str(tmp_path / "A.zarr")):
        zarr.create_array(place, data=VALUES, chunks=(100, 50), compressors=None)
    assert VALUES.nbytes < sent_bytes(work(streamsvd.open(VALUES)), "x") < 1.1 * VALUES.nbytes
    assert sent_bytes(work(streamsvd.open(store)), "x") > VALUES.nbytes
    assert sent_bytes(work(streamsvd.open(tmp_path / "A.zarr")), "x") < VALUES.nbytes // 4
