"""Saves exist once, whole; a damaged one gives way to the one before."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.errors import ConflictError, StoreError
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.store.objects.posix import FileSystem

ARRAYS = {"a.b": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 4)), "c": np.float32([1.5])}


def saved(place, count):
    store = Checkpoint.from_address(place, "test")
    store.newest()
    for number in range(count):
        store.save({"number": number, "exact": 0.1 + 0.2}, ARRAYS)
    return store


def test_what_was_saved_comes_back_to_the_bit(tmp_path):
    saved(tmp_path, 3)
    plain, arrays = Checkpoint.from_address(tmp_path, "test").newest()
    assert plain == {"number": 2, "exact": 0.1 + 0.2}
    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype


def test_only_the_last_saves_stay(tmp_path):
    saved(tmp_path, 7)
    assert sorted(p.name for p in (tmp_path / "log").iterdir()) == [
        "000000000006.json", "000000000007.json",
    ]  # fmt: skip
    assert len(list((tmp_path / "saves").iterdir())) == 2


def test_nothing_is_nothing(tmp_path):
    assert Checkpoint.from_address(tmp_path / "none", "test").newest() is None
    saved(tmp_path, 2).clear()
    assert Checkpoint.from_address(tmp_path, "test").newest() is None


def test_a_damaged_save_gives_way_to_the_one_before(tmp_path):
    saved(tmp_path, 2)
    newest = max((tmp_path / "saves").iterdir())
    victim = next(p for p in newest.rglob("*") if p.is_file() and p.parent.name != newest.name)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert Checkpoint.from_address(tmp_path, "test").newest()[0]["number"] == 0
    for path in (tmp_path / "log").iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(
        StoreError, match=r"no save in .* is whole: .* does not match\. Remove it to begin"
    ):
        Checkpoint.from_address(tmp_path, "test").newest()


def test_two_runs_that_save_to_one_place_are_told(tmp_path):
    first, second = (Checkpoint.from_address(tmp_path, "test") for _ in range(2))
    first.newest(), second.newest()
    first.save({}, {})
    with pytest.raises(ConflictError, match="another run saves to"):
        second.save({}, {})
    assert Checkpoint.from_address(tmp_path, "test").newest() == ({}, {})


def test_a_run_that_knows_nothing_of_the_saves_there_is_told(tmp_path):
    late = Checkpoint.from_address(tmp_path, "test")
    assert late.newest() is None
    other = saved(tmp_path, 5)  # the numbers that the late one begins with are free again
    with pytest.raises(
        ConflictError, match="another run saves to .* Give every run a checkpoint of its own"
    ):
        late.save({}, {})
    other.save({}, {})
    other.clear()
    late.save({}, {})  # the other has ended


def test_saves_that_another_run_removes_meanwhile_are_said_to_be(tmp_path):
    ours, other = (saved(tmp_path / "a", 1), Checkpoint.from_address(tmp_path / "a", "test"))

    class Ending(FileSystem):
        def write(self, path, data):
            if path.name == "zarr.json":
                other.clear()
            super().write(path, data)

    ours.objects.files = Ending()
    with pytest.raises(ConflictError, match="was removed meanwhile: another run used it, and has"):
        ours.save({}, ARRAYS)

    saved(tmp_path / "b", 1)
    reader, other = (Checkpoint.from_address(tmp_path / "b", "test") for _ in range(2))
    other.newest()
    read = reader.objects.read

    def slow(key):
        for _ in range(3):
            other.save({}, {})
        return read(key)

    reader.objects.read = slow
    with pytest.raises(ConflictError, match="changed while it was read: another run uses it"):
        reader.newest()
    reader.objects.read = read
    assert reader.newest() == ({}, {})  # a run that was killed goes on


def test_a_place_of_another_purpose_is_refused(tmp_path):
    saved(tmp_path, 1)
    with pytest.raises(StoreError, match="was saved by test, not by other"):
        Checkpoint.from_address(tmp_path, "other").newest()
