from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import zarr

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources import open_source
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.store.sources.objects.reader import ReaderSource
from streamsvd.store.sources.zarr_store.array import ZarrSource

A = np.arange(12.0).reshape(3, 4)


class Reader:
    shape, dtype, chunks = (3, 4), np.dtype("f8"), None

    def read(self, rows):
        return A[rows]


def test_every_kind_has_its_source(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", data=A)
    np.save(tmp_path / "a.npy", A)
    for given, kind in (
        (A, ArraySource),
        (array, ZarrSource),
        (array.store, ZarrSource),
        (tmp_path / "a.zarr", ZarrSource),
        (str(tmp_path / "a.zarr"), ZarrSource),
        (tmp_path / "a.npy", NpySource),
        (str(tmp_path / "a.npy"), NpySource),
        (Reader(), ReaderSource),
    ):
        source = open_source(given)
        assert type(source) is kind
        assert isinstance(source, Source)
        assert open_source(source) is source
        assert isinstance(source.shape[0], int)
        assert isinstance(source.nbytes, int)
        assert source.read_bytes >= 0
        assert source.name
        assert source.locate(0, 0)


def test_places_without_a_matrix_are_refused(tmp_path):
    with pytest.raises(StoreError, match=f"{tmp_path}/b does not exist"):
        open_source(tmp_path / "b")
    with pytest.raises(
        StoreError, match=r"holds no zarr array or group \(no zarr.json, .zarray or .zgroup\)"
    ):
        open_source(tmp_path)
    for name in ("a.log", "a.h7", "a"):
        (tmp_path / name).write_text("1 2 3")
        with pytest.raises(
            StoreError, match=rf"{name} is a file of a kind that cannot be read\. .*\.npy, .*\.zip"
        ):
            open_source(tmp_path / name)
    (tmp_path / "a.zip").write_text("no zip file")
    with pytest.raises(StoreError, match=rf"{tmp_path}/a.zip cannot be read"):
        open_source(tmp_path / "a.zip")


@pytest.mark.parametrize("given", [None, 3, object()])
def test_other_objects_are_refused_with_the_list_of_what_is_accepted(given):
    with pytest.raises(
        SpecError,
        match=rf"{type(given).__name__} is not a source; accepted are .*\.npy.* read\(rows\)",
    ):
        open_source(given)


@pytest.mark.parametrize("given", [A, Reader()])
def test_options_that_cannot_be_meant_are_refused(given, tmp_path):
    with pytest.raises(SpecError, match="variable='t' belongs to .*a zarr store"):
        open_source(given, "t")
    with pytest.raises(SpecError, match='missing=\'ignore\' must be "error" or "fill"'):
        open_source(given, missing="ignore")
    np.save(tmp_path / "a.npy", A)
    with pytest.raises(
        SpecError, match=rf"variable='t' .*{tmp_path}/a.npy is a .npy file, which has none"
    ):
        open_source(tmp_path / "a.npy", "t")


def test_a_matrix_cannot_be_flattened_again():
    for source in (Reader(), open_source(A)):
        with pytest.raises(
            SpecError, match=r"rows='time' flattens an array; .* is a matrix already"
        ):
            open_source(source, rows="time")
        open_source(source, rows=0)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (
            slice(0, 4),
            slice(None),
            r"rows slice\(0, 4, None\) do not lie inside the 3 rows of ndarray",
        ),
        (slice(-1, 2), slice(None), "do not lie inside the 3 rows"),
        (slice(2, 1), slice(None), "do not lie inside the 3 rows"),
        (slice(None), slice(0, 4, 2), "do not lie inside the 4 columns"),
        (
            slice(None),
            slice(0, 3),
            r"out is float64 \(3, 4\); reading ndarray here gives float64 \(3, 3\)",
        ),
    ],
)
def test_rectangles_outside_the_matrix_are_refused(rows, columns, words):
    with pytest.raises(ShapeError, match=words):
        open_source(A).read(rows, columns, np.empty((3, 4)))


def test_zarr_is_not_imported_before_it_is_needed():
    code = "import sys; from streamsvd.store.sources import open_source; sys.exit('zarr' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_behind_a_path_is_an_array_in_a_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=A, y=A * 2)
    np.save(tmp_path / "a:.npy", A)
    out = np.empty((3, 4))
    open_source(f"{tmp_path}/a.npz:/y").read(slice(0, 3), slice(0, 4), out)
    np.testing.assert_array_equal(out, A * 2)
    zarr.create_group(tmp_path / "g.zarr").create_array("b/c", data=A)
    assert open_source(f"{tmp_path}/g.zarr:/b/c").shape == (3, 4)
    for none in (f"{tmp_path}/:/x", f"{tmp_path}/a.npz:/"):
        with pytest.raises(StoreError, match="does not exist"):
            open_source(none)
    assert open_source(f"{tmp_path}/a.npz", "x").shape == (3, 4)
    with pytest.raises(StoreError, match=f"{tmp_path}/b.npz:/y does not exist"):
        open_source(f"{tmp_path}/b.npz:/y")
    with pytest.raises(SpecError, match="variable='y' belongs to"):
        open_source(f"{tmp_path}/a:.npy:/y")


def test_what_lists_arrays_is_known_by_what_opens_their_kind():
    from streamsvd.store.sources.contents import LISTERS
    from streamsvd.store.sources.kinds import KINDS, STACK

    assert {*LISTERS, STACK} <= {kind.home for kind in KINDS}
