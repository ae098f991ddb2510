"""What arrays say of themselves decides; a consolidated copy of it is a hint, and a remark where it is another."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.sources.zarr_store.hierarchy import hierarchy, own_array

B = np.random.default_rng(0).standard_normal((30, 6))


def written(path, zarr_format, rows=20, **options):
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    options = {"shape": (rows, 6), "chunks": (5, 6), "dtype": "f8"} | options
    group.create_array("x", **options)[...] = B[:rows]
    with pytest.warns() if zarr_format == 3 else _nothing():
        zarr.consolidate_metadata(path)
    return path


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def append(path):
    zarr.open_array(path / "x", mode="r+").append(B[20:])


def replaced(path, **options):
    form = zarr.open_group(path, mode="r").metadata.zarr_format
    group = zarr.open_group(path, mode="r+", zarr_format=form, use_consolidated=False)
    options = {"shape": (20, 6), "chunks": (5, 6), "dtype": "f8"} | options
    array = group.create_array("x", overwrite=True, **options)
    array[...] = B[: options["shape"][0], : options["shape"][1]]


CHANGES = {
    "appended": append,
    "shorter": lambda path: replaced(path, shape=(10, 6)),
    "wider": lambda path: replaced(path, shape=(20, 5)),
    "chunks": lambda path: replaced(path, chunks=(4, 3)),
    "dtype": lambda path: replaced(path, dtype="f4"),
    "packed": lambda path: zarr.open_array(path / "x", mode="r+").update_attributes(
        {"scale_factor": 2.0}
    ),
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("named", [False, True])
def test_a_group_is_read_as_its_array_is(tmp_path, zarr_format, change, named):
    path = written(tmp_path / "A.zarr", zarr_format)
    old = zarr.open_group(path, mode="r")
    held = old["x"]
    assert old.metadata.consolidated_metadata is not None
    assert streamsvd.open(path).remarks == ()
    CHANGES[change](path)
    truth = streamsvd.open(path / "x")
    expected = np.empty(truth.shape, truth.dtype)
    truth.read(slice(0, truth.shape[0]), slice(0, truth.shape[1]), expected)
    variable = "x" if named else None
    for given in (path, str(path), old, held):
        A = streamsvd.open(given, variable=None if given is held else variable)
        assert (A.shape, A.dtype, A.chunks) == (truth.shape, truth.dtype, truth.chunks)
        found = np.empty(A.shape, A.dtype)
        A.read(slice(0, A.shape[0]), slice(0, A.shape[1]), found)
        assert (found == expected).all()
        (remark,) = A.remarks
        assert "out of date" in remark
        assert " x ".join(map(str, zarr.open_array(path / "x", mode="r").shape)) in remark
    assert truth.remarks == ()
    collection = streamsvd.open_collection(path)
    assert collection.members[0].layout.array_shape == truth.shape
    assert len(collection.remarks) == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_members_are_those_that_are_there(tmp_path, zarr_format):
    path = written(tmp_path / "A.zarr", zarr_format)
    group = zarr.open_group(path, mode="r+", zarr_format=zarr_format, use_consolidated=False)
    group.create_array("below/y", shape=(20, 2), dtype="f8")[...] = 1
    collection = streamsvd.open_collection(path)
    assert [m.name for m in collection.members] == ["below/y", "x"]
    assert "'below' is not in them (and 1 more)" in collection.remarks[0]
    assert streamsvd.open(path, variable="below/y").shape == (20, 2)
    assert "'below/y' is not in them" in streamsvd.open(path, variable="below/y").remarks[0]
    del group["x"]
    collection = streamsvd.open_collection(path)
    assert [m.name for m in collection.members] == ["below/y"]
    with pytest.raises(SpecError, match=r"no variable 'x'.*name it, but it has none of its own"):
        streamsvd.open(path, variable="x")
    with pytest.raises(SpecError, match="without a numeric array"):
        streamsvd.open(path)


def test_a_copy_that_cannot_be_read_is_none(tmp_path):
    path = written(tmp_path / "A.zarr", 2)
    (path / ".zmetadata").write_text("{")
    A = streamsvd.open(path)
    assert (A.shape, A.remarks) == ((20, 6), ())
    (path / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": 3}))
    assert streamsvd.open(path).shape == (20, 6)


def test_a_store_that_lists_nothing_is_asked_for_what_the_copy_names(tmp_path, monkeypatch):
    path = written(tmp_path / "A.zarr", 2)
    append(path)
    group = zarr.open_group(path, mode="r")

    def refused(*_, **__):
        raise NotImplementedError("this store cannot list")

    monkeypatch.setattr(zarr.Group, "members", refused)
    assert streamsvd.open(path).shape == (30, 6)
    assert list(hierarchy(group, "A").list_members()[0]) == ["x"]


def test_an_array_without_metadata_of_its_own_is_refused(tmp_path):
    path = written(tmp_path / "A.zarr", 2)
    array = zarr.open_group(path, mode="r")["x"]
    (path / "x" / ".zarray").unlink()
    with pytest.raises(StoreError, match="no array metadata of its own"):
        own_array(array, "A")
    with pytest.raises(StoreError, match="no array metadata of its own"):
        streamsvd.open(array)


def test_a_copy_of_a_group_below_is_a_hint_too(tmp_path):
    zarr.open_group(tmp_path / "A.zarr", mode="w", zarr_format=2)
    path = written(tmp_path / "A.zarr" / "below", 2)
    append(path)
    A = streamsvd.open(tmp_path / "A.zarr", variable="below")
    assert A.shape == (30, 6)
    assert len(A.remarks) == 1
    assert streamsvd.open_collection(tmp_path / "A.zarr").members[0].shape == (30, 6)


def test_the_order_of_keys_is_no_difference(tmp_path):
    path = written(tmp_path / "A.zarr", 2)
    zarr.open_array(path / "x", mode="r+").update_attributes({"b": 1, "a": [float("nan")]})
    zarr.consolidate_metadata(path)
    for name in (".zmetadata", "x/.zattrs", "x/.zarray"):
        record = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(dict(sorted(record.items(), reverse=True))))
    assert streamsvd.open(path).remarks == ()
