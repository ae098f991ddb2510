"""A store that fails in the middle of a pass: an error that names the key, and nothing is made of what was read."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

import streamsvd
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.stores import Fault, FaultyStore
from tests.matrices import run

M, N = 1000, 60
WAYS = [(axis, route) for axis in ("rows", "columns") for route in ("krylov", "gram")]


@pytest.fixture(scope="module")
def store():
    store = MemoryStore()
    array = zarr.create_array(store, shape=(M, N), dtype="f4", chunks=(100, 30))
    array[...] = KnownMatrix("pow1", M, N).rows(0, M)
    return store


@pytest.mark.parametrize(("axis", "route"), WAYS)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("get", r"c/4/1", "EIO"), r"c/4/1.*Input/output error"),
        (Fault("get", r"c/4/1", "drop"), r"'c/4/1'.*is missing.*missing=\"fill\""),
        (Fault("get", r"c/4/1", "truncate", amount=40), r"'c/4/1'.*is damaged"),
        (Fault("get", r"c/4/1", "truncate", amount=0), r"'c/4/1'.*is damaged"),
    ],
    ids=["EIO", "absent", "cut short", "empty"],
)
def test_a_chunk_that_cannot_be_read_is_named(store, fault, words, axis, route, tmp_path):
    broken = FaultyStore(store, fault)
    with pytest.raises(streamsvd.StoreError, match=words):
        run(broken, 5, axis=axis, route=route, out=tmp_path / "M.zarr", u=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("attempt", [0, 1, 2, 3])
def test_a_fault_in_any_pass_is_an_error_and_not_a_wrong_answer(store, attempt):
    """A chunk vanishes before the first, second, third or fourth read of it."""
    broken = FaultyStore(store, Fault("get", r"c/4/1", "drop", attempts=(attempt,)))
    plan = streamsvd.plan_svd(broken, 5, route="krylov", axis="rows", tol=1e-7, u=True)
    try:
        result = streamsvd.svd(broken, 5, plan=plan, u=True)
    except streamsvd.StoreError as error:
        assert "c/4/1" in str(error)
    else:
        assert broken.attempts["get", "c/4/1"] <= attempt  # it was never struck
        assert result.info.status is streamsvd.Status.CONVERGED


def test_a_slow_chunk_changes_nothing(store):
    slow = FaultyStore(store, Fault("get", r"c/3/0", "delay", amount=0.2))
    a, b = (run(s, 5, route="krylov") for s in (store, slow))
    np.testing.assert_array_equal(a.Vh, b.Vh)


def test_a_reader_that_lies_about_its_rows_is_caught():
    class Short:
        shape, dtype, chunks = (100, 5), np.dtype("f8"), (10, 5)

        def read(self, rows):
            return np.zeros((rows.stop - rows.start - 1, 5))

    with pytest.raises(streamsvd.ShapeError, match=r"Short.read\(slice\(\d+, \d+\)\) returned"):
        streamsvd.svd(Short(), 2)


def test_an_error_of_the_users_own_reader_is_not_swallowed():
    class Angry:
        shape, dtype, chunks = (100, 5), np.dtype("f8"), (10, 5)

        def read(self, rows):
            raise ZeroDivisionError("in the reader")

    with pytest.raises(ZeroDivisionError, match="in the reader"):
        streamsvd.svd(Angry(), 2)
