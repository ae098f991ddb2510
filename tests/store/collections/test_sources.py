"""Every kind of collection gives the same matrices, each read once, and what cannot be one is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import ShapeError, SpecError, StoreError
from streamsvd.store.collections import open_collection, write_collection
from streamsvd.store.collections.safetensors import to_bfloat16


def save_file(arrays, path):
    """As the package of that name writes it."""
    shapes = {k: (np.asarray(A).dtype.name, np.shape(A)) for k, A in arrays.items()}
    write_collection(path, shapes, arrays.items(), overwrite=True)


@pytest.fixture
def blocks():
    rng = np.random.default_rng(0)
    return {
        "enc/a": rng.standard_normal((6, 4)).astype(np.float32),
        "enc/b": rng.standard_normal((6, 9)),
        "enc/deep/c": rng.integers(-100, 100, (6, 3)),
        "half": rng.standard_normal((6, 2)).astype(np.float16),
    }


def stored(kind, blocks, tmp_path):
    if kind == "mapping":
        return blocks
    if kind == "pairs":
        return list(blocks.items())
    if kind == "zarr mapping":
        return {k: zarr.array(v, chunks=(4, 2)) for k, v in blocks.items()}
    if kind == "group" or kind == "group 2":
        path = tmp_path / "g.zarr"
        group = zarr.open_group(str(path), mode="a", zarr_format=3 if kind == "group" else 2)
        for name, values in blocks.items():
            group.create_array(name, data=values, chunks=(4, 2))
        return path
    if kind == "npy":
        for i, (name, values) in enumerate(blocks.items()):
            path = tmp_path / "w" / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.asfortranarray(values) if i % 2 else values)
        return str(tmp_path / "w")
    if kind == "shards":
        (tmp_path / "s").mkdir()
        names = list(blocks)
        for i in range(2):
            save_file({n: blocks[n] for n in names[i::2]}, tmp_path / "s" / f"{i}.safetensors")
        return tmp_path / "s"
    save_file(blocks, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


KINDS = ["mapping", "pairs", "zarr mapping", "group", "group 2", "npy", "safetensors", "shards"]


def arrays(collection):
    return {
        member.name: member.layout.array(A)
        for part in collection.parts
        for member, A in collection.matrices(part)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_names_shapes_types_and_values(kind, blocks, tmp_path):
    found = open_collection(stored(kind, blocks, tmp_path))
    assert {m.name: m.kind for m in found.members} == {k: v.dtype.name for k, v in blocks.items()}
    for name, values in arrays(found).items():
        np.testing.assert_array_equal(values, blocks[name])
        assert values.dtype == blocks[name].dtype
    assert found.rows == 6
    assert found.nbytes == sum(v.nbytes for v in blocks.values())


@pytest.mark.parametrize("kind", ["x.zarr", "folder", "x.safetensors"])
def test_what_is_written_is_read_again(kind, blocks, tmp_path):
    shapes = {k: (v.dtype.name, v.shape) for k, v in blocks.items()}
    write_collection(tmp_path / kind, shapes, blocks.items())
    for name, values in arrays(open_collection(tmp_path / kind)).items():
        np.testing.assert_array_equal(values, blocks[name])
        assert values.dtype == blocks[name].dtype
    with pytest.raises(StoreError, match=r"exists already\. Pass overwrite=True"):
        write_collection(tmp_path / kind, shapes, blocks.items())
    write_collection(tmp_path / kind, shapes, blocks.items(), overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {kind}  # nothing beside it is left


def test_the_package_safetensors_reads_what_we_write_and_writes_what_we_read(blocks, tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    package.save_file(blocks, tmp_path / "theirs.safetensors")
    for name, values in arrays(open_collection(tmp_path / "theirs.safetensors")).items():
        np.testing.assert_array_equal(values, blocks[name])
    path = tmp_path / "w.safetensors"
    write_collection(path, {k: (v.dtype.name, v.shape) for k, v in blocks.items()}, blocks.items())
    for name, values in package.load_file(path).items():
        np.testing.assert_array_equal(values, blocks[name])


def test_bfloat16_comes_as_float32_and_goes_back_to_the_nearest(tmp_path):
    values = np.array([[1.0, -2.5, 3e38], [1 + 2**-9, 1 + 2**-8 + 2**-9, 0.0]], np.float32)
    path = tmp_path / "b.safetensors"
    write_collection(path, {"w": ("bfloat16", values.shape)}, [("w", values)])
    package = pytest.importorskip("safetensors")
    with package.safe_open(path, "numpy") as file:
        assert file.get_slice("w").get_dtype() == "BF16"
    found = open_collection(path)
    (member,) = found.members
    assert (member.kind, member.dtype, member.nbytes) == ("bfloat16", np.float32, 12)
    read = arrays(found)["w"]
    assert read[1].tolist() == [1.0, 1 + 2**-6 / 2, 0.0]  # ties to even
    np.testing.assert_allclose(read, values, rtol=2**-8)
    np.testing.assert_array_equal(to_bfloat16(read), to_bfloat16(values))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-3], "its place is"),
        (lambda data: b"\xff" * 8 + data[8:], "promises a header"),
        (lambda data: data[:8] + b"x" + data[9:], "no whole safetensors"),
        (lambda data: b"", "promises a header"),
    ],
)
def test_a_damaged_safetensors_file_is_named(tmp_path, blocks, damage, said):
    path = tmp_path / "w.safetensors"
    save_file(blocks, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=rf"w\.safetensors.*{said}|{said}"):
        open_collection(path)


def test_a_header_that_lies_about_a_place_is_refused(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 20]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(20))
    with pytest.raises(StoreError, match="takes 16 bytes, its place is 0 to 20"):
        open_collection(path)


def written(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def floats(a, b, kind="F32"):
    return {"dtype": kind, "shape": [(b - a) // 4, 1], "data_offsets": [a, b]}


@pytest.mark.parametrize(
    ("header", "size", "said"),
    [
        ({"v": floats(8, 24), "w": floats(0, 16)}, 24, "tensors 'w' and 'v' share bytes: one ends at 16, the other begins at 8"),
        ({"v": floats(0, 16), "w": floats(0, 16)}, 16, "tensors 'v' and 'w' share bytes"),
        ({"v": floats(0, 8), "w": floats(4, 8, "F8_E4M3")}, 8, "tensors 'v' and 'w' share bytes"),
        ({"v": floats(0, 8), "w": floats(16, 24)}, 24, "8 bytes after tensor 'v', before 'w', belong to no tensor"),
        ({"w": floats(8, 24)}, 24, "8 bytes at the beginning, before 'w', belong to no tensor"),
        ({"w": floats(0, 16)}, 24, "8 bytes at the end belong to no tensor"),
        (b'{"w": %s, "v": %s, "w": %s}' % ((json.dumps(floats(0, 8)).encode(),) * 3), 8, "its header names 'w' more than once"),
        (b'{"w": {"dtype": "F32", "shape": [2], "shape": [2], "data_offsets": [0, 8]}}', 8, "names 'shape' more than once"),
        (b"[1, 2]", 0, "its header is no object"),
        (b"[" * 100_000, 0, "no whole safetensors file"),
        ({"w": floats(0, 16) | {"shape": [-4, -1]}}, 16, "tensor 'w' has shape"),
        ({"w": {"dtype": "F32", "shape": "no", "data_offsets": [0, 8]}}, 8, "Expected `array`"),
    ],
)  # fmt: skip
def test_a_header_that_the_format_forbids_is_refused(tmp_path, header, size, said):
    path = written(tmp_path / "w.safetensors", header, bytes(size))
    with pytest.raises(StoreError, match=said):
        open_collection(path)


def test_places_in_any_order_and_tensors_of_nothing_are_allowed(tmp_path):
    header = {"a": floats(8, 16), "b": floats(0, 8), "e": floats(8, 8), "__metadata__": {"x": "y"}}
    data = np.arange(4, dtype="<f4").tobytes()
    path = written(tmp_path / "w.safetensors", header, data)
    found = arrays(open_collection(path, select=["a", "b"]))
    assert [found[name].ravel().tolist() for name in "ab"] == [[2.0, 3.0], [0.0, 1.0]]


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F4", "C64", "WHATEVER"])
def test_a_type_that_is_unknown_is_refused_only_where_it_is_selected(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    written(path, {"a": floats(0, 8), "q": floats(8, 16, kind)}, bytes(16))
    assert [m.name for m in open_collection(path, select="a").members] == ["a"]
    for select in (None, "q", ["a", "q"]):
        with pytest.raises(
            SpecError, match=f"block 'q' holds {kind}, real numbers are needed.*select"
        ):
            open_collection(path, select=select)


@pytest.mark.parametrize("width", [None, 1, 3, 30, 1000])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_cut_array_gives_its_pieces(axis, width, tmp_path):
    A = np.random.default_rng(1).standard_normal((30, 12, 9))
    zarr.create_array(str(tmp_path / "a.zarr"), data=A, chunks=(10, 5, 4))
    cut = axis if width is None else (axis, width)
    found = open_collection(tmp_path / "a.zarr", cut=cut, columns=3)
    steps = range(0, A.shape[axis], width or 1)
    pieces = list(arrays(found).values())
    assert len(pieces) == len(steps)
    for at, piece in zip(steps, pieces, strict=True):
        expected = np.take(A, range(at, min(at + (width or 1), A.shape[axis])), axis)
        np.testing.assert_array_equal(piece, expected.squeeze(axis) if width is None else expected)
    assert [m.name for m in found.members] == sorted(m.name for m in found.members)


def test_a_cut_of_unequal_rows_is_refused_only_then():
    A = np.zeros((10, 4, 3))
    with pytest.raises(ShapeError, match="block '3' has 4 rows, '0' has 12"):
        open_collection(A, cut=(0, 3))


def test_chunks_of_a_cut_array_are_read_once(tmp_path, monkeypatch):
    from streamsvd.store.collections import cutting

    monkeypatch.setattr(cutting, "PART_BYTES", 1000)
    A = np.random.default_rng(1).standard_normal((6, 90))
    zarr.create_array(str(tmp_path / "a.zarr"), data=A, chunks=(6, 10))
    found = open_collection(tmp_path / "a.zarr", cut=(1, 4))
    assert len(found.parts) > 2
    assert found.pass_bytes == A.nbytes
    edges = [(p.edges[0][0], p.edges[-1][1]) for p in found.parts]
    assert all(b % 10 == 0 for _, b in edges)
    some = found.take_members([0, 1, 7])
    assert [m.name for m in some.members] == ["00", "01", "07"]
    np.testing.assert_array_equal(arrays(some)["07"], A[:, 28:32])
    assert some.pass_bytes == (10 + 10 + 10) * 48  # columns 0-8 and 28-32 lie in three chunks


def test_views_of_arrays_that_are_no_matrices():
    A = {"v": np.arange(6.0), "t": np.arange(24.0).reshape(2, 3, 4), "m": np.ones((4, 6))}
    found = open_collection(A, transpose="m")
    assert {m.name: m.shape for m in found.members} == {"v": (6, 1), "t": (6, 4), "m": (6, 4)}
    np.testing.assert_array_equal(arrays(found)["t"], A["t"])
    found = open_collection(A, columns={"m": 2, "t": 2, "*": 1}, select=["m", "t"])
    assert {m.shape for m in found.members} == {(12, 2)}
    with pytest.raises(
        ShapeError, match=r"'t' of shape \(2, 3, 4\) has 24 values, no multiple of columns=5"
    ):
        open_collection({"t": A["t"]}, columns=5)
    with pytest.raises(SpecError, match="columns=0 of 't'"):
        open_collection({"t": A["t"]}, columns=0)


def test_what_is_asked_of_names_that_are_not_there(blocks):
    found = open_collection(blocks, select=["enc/*", "half"])
    assert len(found.members) == 4
    assert [m.name for m in open_collection(blocks, select="enc/?").members] == ["enc/a", "enc/b"]
    for option in ("select", "transpose"):
        with pytest.raises(
            SpecError, match=rf"{option}='dec\*' matches no name; there are 4: 'enc/a'"
        ):
            open_collection(blocks, **{option: "dec*"})


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ({}, ShapeError, "holds no arrays"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((4, 2)), "c": np.zeros((3, 1))}, ShapeError,
         "block 'b' has 4 rows, 'a' has 3 as 2 of 3 have"),
        ({"z": np.zeros((3, 2), complex)}, SpecError, "block 'z' holds complex128"),
        ({"o": np.array([[object()]])}, SpecError, "block 'o' holds object"),
        ({"s": np.array([["a"]])}, SpecError, "block 's' holds <U1"),
        ({"o": [[1, None]]}, SpecError, "block 'o' holds objects"),
        ({"x": np.float64(3)}, ShapeError, "block 'x' is a single number"),
        ([("a", np.zeros((2, 2))), ("a", np.zeros((2, 2)))], SpecError, "block 'a' is there twice"),
        ({1: np.zeros((2, 2)), "1": np.zeros((2, 2))}, SpecError, "block '1' is there twice"),
        (7, SpecError, "int is no collection"),
        ("nowhere", StoreError, "nowhere does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(source, error, said):
    with pytest.raises(error, match=said):
        streamsvd.cluster(source)


def test_the_same_tensor_in_two_shards_is_refused_with_both(tmp_path):
    for name in ("0", "1"):
        save_file({"w": np.zeros((2, 2))}, tmp_path / f"{name}.safetensors")
    with pytest.raises(
        SpecError, match=r"'w' is there twice, in .*0\.safetensors and in .*1\.safe"
    ):
        open_collection(tmp_path)


def test_text_in_a_group_is_refused_unless_it_is_left_out(tmp_path):
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="a")
    group.create_array("w", data=np.ones((3, 2)))
    group.create_array("z", data=np.ones((3, 2), np.complex64))
    with pytest.raises(SpecError, match=r"block 'z' holds complex64.*Put real and imaginary parts"):
        open_collection(tmp_path / "g.zarr")
    assert len(open_collection(tmp_path / "g.zarr", select="w").members) == 1


def test_an_absent_chunk_is_an_error_unless_its_fill_value_is_asked_for(tmp_path):
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="a")
    group.create_array("w", shape=(3, 2), dtype="f8", chunks=(3, 2), fill_value=0)
    with pytest.raises(streamsvd.MissingChunkError, match="missing: reading it"):
        streamsvd.cluster(tmp_path / "g.zarr")
    found = streamsvd.cluster(open_collection(tmp_path / "g.zarr", missing="fill"))
    assert found.clusters[0].rank == 0


def test_a_truncated_npy_file_is_named(tmp_path):
    np.save(tmp_path / "w.npy", np.ones((30, 4)))
    data = (tmp_path / "w.npy").read_bytes()
    (tmp_path / "w.npy").write_bytes(data[:-8])
    with pytest.raises(StoreError, match=r"w\.npy is not a complete .npy file: 952 bytes of 960"):
        open_collection(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a//b", "/x", "."])
@pytest.mark.parametrize("place", ["o.zarr", "folder"])
def test_no_name_leaves_the_place_it_is_written_to(tmp_path, name, place):
    with pytest.raises(SpecError, match="is no name of an array"):
        write_collection(tmp_path / place, {name: ("float64", (1, 1))}, [(name, np.ones((1, 1)))])
    assert not list(tmp_path.iterdir())


def test_an_array_is_no_folder_of_a_zarr_group(tmp_path):
    A = np.ones((2, 2))
    shapes = {"a": ("float64", (2, 2)), "a/b": ("float64", (2, 2))}
    with pytest.raises(SpecError, match="'a/b' would lie inside the array 'a'"):
        write_collection(tmp_path / "o.zarr", shapes, [("a", A), ("a/b", A)])
    write_collection(tmp_path / "o", shapes, [("a", A), ("a/b", A)])
    assert set(arrays(open_collection(tmp_path / "o"))) == {"a", "a/b"}
