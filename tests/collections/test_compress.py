"""Compressed collections: what comes back, what one matrix costs to read, additions, conflicts and damage."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import ConflictError, ShapeError, SpecError, StoreError
from streamsvd.store.collections import open_collection, write_collection
from streamsvd.store.collections.archive import CompressedStore
from streamsvd.store.objects.posix import FileSystem, LocalObjects
from tests.collections.blocks import d7, name_blocks, orthonormal


@pytest.fixture
def weights():
    """Of several types and shapes: 32-bit and 16-bit floats, integers, a tensor, a vector, zeros, noise."""
    rng = np.random.default_rng(3)
    B = orthonormal(rng, 48, 3)
    made = {f"enc.{i}/w": (B @ rng.standard_normal((3, 20))).astype(np.float32) for i in range(6)}
    made |= {f"half/{i}": (B @ rng.standard_normal((3, 20))).astype(np.float16) for i in range(3)}
    made["counts"] = np.rint(40 * B @ rng.standard_normal((3, 30)) + 300).astype(np.int16)
    made["tensor"] = (B @ rng.standard_normal((3, 7))).reshape(6, 8, 7)
    made["bias"] = (B @ rng.standard_normal(3)).astype(np.float32)
    made["zero"] = np.zeros((48, 4))
    made["empty"] = np.zeros((48, 0), np.float32)
    made["noise"] = rng.standard_normal((48, 40)).astype(np.float32)
    return made


def error_of(A, B):
    A = np.asarray(A, dtype=np.float64)
    norm = np.linalg.norm(A)
    return float(np.linalg.norm(A - np.asarray(B, dtype=np.float64)) / norm) if norm else 0.0


def assert_all_there(held, arrays):
    assert list(held) == list(arrays)
    for name, A in arrays.items():
        B = held[name]
        assert (B.shape, B.dtype) == (A.shape, A.dtype)
        assert error_of(A, B) <= held.block_errors[name] <= 0.05 or held.options.mode != "block"
        assert error_of(A, B) <= held.block_errors[name]


@pytest.mark.parametrize("backend", ["primal", "propose"])
@pytest.mark.parametrize("mode", ["block", "cluster", "global"])
def test_names_shapes_types_and_errors_come_back(weights, tmp_path, mode, backend):
    done = streamsvd.compress(weights, tmp_path / "c.zarr", 0.05, mode=mode, backend=backend)
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert_all_there(held, weights)
    assert done.reads == (1.0 if backend == "primal" else 2.0)
    assert done.labels == held.labels
    assert done.version == held.version == 1
    if mode == "block":  # in other modes large numbers beside it may hide it
        np.testing.assert_array_equal(held["noise"], weights["noise"])  # kept as it is
        assert held.clusters[held.labels["noise"]].raw
        assert held.block_errors["noise"] == 0


@pytest.mark.parametrize("target", ["o.zarr", "folder", "o.safetensors"])
def test_decompressed_collections_are_collections_again(weights, tmp_path, target):
    streamsvd.compress(weights, tmp_path / "c.zarr", mode="block")
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    written = streamsvd.decompress(tmp_path / "c.zarr", tmp_path / target)
    assert written == tuple(weights)
    again = open_collection(tmp_path / target)
    for part in again.parts:
        for member, A in again.matrices(part):
            np.testing.assert_array_equal(member.layout.array(A), held[member.name])
            assert A.dtype == weights[member.name].dtype
    assert len(again.members) == len(weights)
    some = streamsvd.decompress(tmp_path / "c.zarr", tmp_path / "some", ["enc.*", "bias"])
    assert set(some) == {"bias", *(k for k in weights if k.startswith("enc"))}
    with pytest.raises(SpecError, match="name='x' matches no name"):
        streamsvd.decompress(tmp_path / "c.zarr", tmp_path / "none", "x")
    with pytest.raises(StoreError, match="exists already"):
        streamsvd.decompress(tmp_path / "c.zarr", tmp_path / target)
    with pytest.raises(SpecError, match="lie in one another"):
        streamsvd.decompress(tmp_path / "c.zarr", tmp_path / "c.zarr", overwrite=True)


def test_bfloat16_goes_through_as_bfloat16(tmp_path):
    rng = np.random.default_rng(0)
    B = orthonormal(rng, 40, 2)
    low = {str(i): (B @ rng.standard_normal((2, 30))).astype(np.float32) for i in range(4)}
    low["raw"] = rng.standard_normal((40, 30)).astype(np.float32)
    shapes = {k: ("bfloat16", A.shape) for k, A in low.items()}
    write_collection(tmp_path / "w.safetensors", shapes, low.items())
    done = streamsvd.compress(tmp_path / "w.safetensors", tmp_path / "c.zarr", 0.05, mode="block")
    assert done.bytes_before == 5 * 40 * 30 * 2
    streamsvd.decompress(tmp_path / "c.zarr", tmp_path / "o.safetensors")
    before, after = (
        open_collection(tmp_path / "w.safetensors"),
        open_collection(tmp_path / "o.safetensors"),
    )
    assert {m.kind for m in after.members} == {"bfloat16"}
    for a, b in zip(before.parts, after.parts, strict=True):
        ((member, A),), ((_, C),) = list(before.matrices(a)), list(after.matrices(b))
        assert error_of(A, C) <= done.block_errors[member.name] <= 0.05
    assert done.block_errors["raw"] == 0


@pytest.mark.parametrize(("transpose", "columns"), [("*", None), (None, 16), ("*", 24)])
def test_views_are_undone(tmp_path, transpose, columns):
    rng = np.random.default_rng(1)
    A = {str(i): rng.standard_normal((12, 1)) @ rng.standard_normal((1, 32)) for i in range(3)}
    source = open_collection(A, transpose=transpose, columns=columns)
    streamsvd.compress(source, tmp_path / "c.zarr", 0.01)
    assert_all_there(streamsvd.open_compressed(tmp_path / "c.zarr"), A)


def counted(monkeypatch):
    reads = []
    whole = LocalObjects.read

    def read(self, key):
        reads.append(key)
        return whole(self, key)

    monkeypatch.setattr(LocalObjects, "read", read)
    return reads


def test_one_matrix_is_read_without_the_others(weights, tmp_path, monkeypatch):
    streamsvd.compress(weights, tmp_path / "c.zarr")
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    reads = counted(monkeypatch)
    record = held._contents.members["enc.3/w"]
    basis = held._contents.clusters[record.cluster].basis
    held["enc.3/w"]
    assert set(reads) == {f"{f}/{k}" for f in (record.array, basis) for k in ("zarr.json", "c/0/0")}
    assert len(reads) == 4
    reads.clear()
    held["enc.4/w"]  # the basis of its cluster is held
    assert len(reads) == 2
    reads.clear()
    held["noise"]
    assert len(reads) == 2


def test_bytes_after_are_those_on_disk(weights, tmp_path):
    done = streamsvd.compress(weights, tmp_path / "c.zarr")
    files = [p for p in (tmp_path / "c.zarr/versions").rglob("*") if p.is_file()]
    arrays = [p for p in files if p.name != "manifest.json"]
    assert done.bytes_after == sum(p.stat().st_size for p in arrays)
    assert done.bytes_before == sum(A.nbytes for A in weights.values())
    group = zarr.open_group(str(next((tmp_path / "c.zarr/versions").iterdir())), mode="r")
    assert group["u0"].shape[0] == 48  # any reader of zarr finds bases and coefficients


def test_additions_go_to_bases_that_hold_them_else_to_their_own(tmp_path):
    rng = np.random.default_rng(5)
    B, D = orthonormal(rng, 60, 3), orthonormal(rng, 60, 2)
    make = lambda basis, n: basis @ rng.standard_normal((basis.shape[1], n))  # noqa: E731
    first = {f"a{i}": make(B, 25) for i in range(4)}
    before = streamsvd.compress(first, tmp_path / "c.zarr", 0.02)
    basis = CompressedStore.from_address(tmp_path / "c.zarr").newest().clusters[0].basis
    second = {
        "in": make(B, 10) + 1e-4 * rng.standard_normal((60, 10)),
        "out0": make(D, 9),
        "out1": make(D, 9),
    }
    second |= {
        "noise": rng.standard_normal((60, 60)),
        "thin": make(B[:, :1], 2),
        "zero": np.zeros((60, 3)),
    }
    done = streamsvd.compress(second, tmp_path / "c.zarr", append=True)
    assert (before.version, done.version, done.reads) == (1, 2, 1.0)
    labels = done.labels
    assert labels["in"] == labels["a0"]
    assert labels["out0"] == labels["out1"] not in (labels["a0"], labels["noise"])
    assert done.clusters[labels["noise"]].raw
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert_all_there(held, first | second)
    assert held._contents.clusters[0].basis == basis  # nothing is written again
    assert held.clusters[0].error_upper <= 0.02
    stacked = np.concatenate([*first.values(), second["in"]], axis=1)
    s = np.linalg.svd(stacked, compute_uv=False)
    best = np.linalg.norm(s[3:]) / np.linalg.norm(s)
    assert held.clusters[0].error_lower <= best * (1 + 1e-9)
    assert best <= held.clusters[0].error_upper


def test_what_cannot_be_added(weights, tmp_path):
    streamsvd.compress(weights, tmp_path / "c.zarr")
    with pytest.raises(SpecError, match=r"block 'bias', and 1 others is in .* already"):
        streamsvd.compress(
            {k: weights[k] for k in ("bias", "zero")}, tmp_path / "c.zarr", append=True
        )
    with pytest.raises(ShapeError, match="block 'x' has 7 rows, those in .* have 48"):
        streamsvd.compress({"x": np.ones((7, 2))}, tmp_path / "c.zarr", append=True)
    with pytest.raises(SpecError, match=r"error=0\.1 was passed, but additions are held"):
        streamsvd.compress({"x": np.ones((48, 2))}, tmp_path / "c.zarr", 0.1, append=True)
    with pytest.raises(SpecError, match="append=True adds, overwrite=True replaces"):
        streamsvd.compress(
            {"x": np.ones((48, 2))}, tmp_path / "c.zarr", append=True, overwrite=True
        )
    with pytest.raises(streamsvd.BudgetError, match="adding 1 blocks to .* is memory="):
        streamsvd.compress({"x": np.ones((48, 2))}, tmp_path / "c.zarr", append=True, memory="1MiB")
    with pytest.raises(StoreError, match="is no compressed collection"):
        streamsvd.compress({"x": np.ones((48, 2))}, tmp_path / "nothing", append=True)
    assert streamsvd.open_compressed(tmp_path / "c.zarr").version == 1


def test_places_that_are_taken(weights, tmp_path):
    streamsvd.compress(weights, tmp_path / "c.zarr")
    with pytest.raises(StoreError, match="is a compressed collection already"):
        streamsvd.compress(weights, tmp_path / "c.zarr")
    few = {k: weights[k] for k in ("bias", "zero")}
    done = streamsvd.compress(few, tmp_path / "c.zarr", overwrite=True)
    assert (done.version, list(streamsvd.open_compressed(tmp_path / "c.zarr"))) == (2, list(few))
    assert len(list((tmp_path / "c.zarr/versions").iterdir())) == 1  # what was replaced is gone
    np.save(tmp_path / "mine.npy", np.ones(3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    for name in ("mine", "mine.npy"):
        with pytest.raises(StoreError, match="holds something else .* never replaced"):
            streamsvd.compress(few, tmp_path / name, overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_of_two_additions_at_once_one_wins_and_the_other_is_told(tmp_path):
    blocks = name_blocks(d7())
    first = {k: blocks[k] for k in list(blocks)[:24]}
    streamsvd.compress(first, tmp_path / "c.zarr")

    def overtaken(event):
        if type(event).__name__ == "PassDone":
            streamsvd.compress({"theirs": blocks["00030"]}, tmp_path / "c.zarr", append=True)

    with pytest.raises(ConflictError, match="its version 2 is there, and nothing of this run"):
        streamsvd.compress(
            {"ours": blocks["00031"]}, tmp_path / "c.zarr", append=True, callback=overtaken
        )
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert set(held) == {*first, "theirs"}
    assert len(list((tmp_path / "c.zarr/versions").iterdir())) == 2
    streamsvd.compress({"ours": blocks["00031"]}, tmp_path / "c.zarr", append=True)
    assert streamsvd.open_compressed(tmp_path / "c.zarr").version == 3


def test_a_full_disk_leaves_the_version_before(weights, tmp_path, monkeypatch):
    few = {k: weights[k] for k in ("bias", "zero", "noise")}
    streamsvd.compress(few, tmp_path / "c.zarr")
    whole, left = FileSystem.write, [0]

    def write(self, path, data):
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device")
        whole(self, path, data)

    monkeypatch.setattr(FileSystem, "write", write)
    for limit in range(1, 8):
        left[0] = limit
        with pytest.raises(StoreError, match="No space left on device"):
            streamsvd.compress({"x": weights["enc.0/w"]}, tmp_path / "c.zarr", append=True)
        held = streamsvd.open_compressed(tmp_path / "c.zarr")
        assert (held.version, list(held)) == (1, list(few))


def test_every_damaged_object_is_named_and_no_value_is_invented(weights, tmp_path):
    few = {k: weights[k] for k in ("enc.0/w", "enc.1/w", "counts")}
    streamsvd.compress(few, tmp_path / "c.zarr", mode="block")
    objects = [p for p in (tmp_path / "c.zarr").rglob("*") if p.is_file()]
    seen = 0
    for path in objects:
        data = path.read_bytes()
        for damaged in (data[:-1], bytes([data[0] ^ 1]) + data[1:], None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            try:
                held = streamsvd.open_compressed(tmp_path / "c.zarr")
                for name, A in few.items():
                    assert error_of(A, held[name]) <= 0.05
            except StoreError as error:
                assert path.name.split(".")[0] in str(error) or path.parent.name in str(error)
                seen += 1
            path.write_bytes(data)
    assert (
        seen >= 3 * len(objects) - 6
    )  # the group's own metadata, and a hint that is absent, say nothing
    assert_all_there(streamsvd.open_compressed(tmp_path / "c.zarr"), few)


def test_a_newer_format_is_refused(weights, tmp_path):
    from streamsvd.store.versions.records import seal

    streamsvd.compress({"bias": weights["bias"]}, tmp_path / "c.zarr")
    (tmp_path / "c.zarr/collection.json").write_bytes(seal({"format": 99}))
    with pytest.raises(StoreError, match="has format 99"):
        streamsvd.open_compressed(tmp_path / "c.zarr")


def test_safetensors_in_and_out(tmp_path):
    rng = np.random.default_rng(7)
    B = orthonormal(rng, 32, 2)
    weights = {f"l.{i}.weight": (B @ rng.standard_normal((2, 16))).astype("f4") for i in range(3)}
    weights |= {"l.up": (rng.standard_normal((64, 2)) @ B.T).astype("f4")}
    shapes = {k: (A.dtype.name, A.shape) for k, A in weights.items()}
    write_collection(tmp_path / "w.safetensors", shapes, weights.items())
    source = open_collection(tmp_path / "w.safetensors", transpose="l.up")
    done = streamsvd.compress(source, tmp_path / "c.zarr", 0.01)
    assert len(done.clusters) == 1
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    for name, A in weights.items():
        assert held[name].shape == A.shape
        assert error_of(A, held[name]) <= held.block_errors[name] <= 0.01 + 1e-12


def test_numbers_at_both_ends_of_float64(tmp_path):
    rng = np.random.default_rng(0)
    low = {i: rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20)) for i in range(4)}
    A = {f"a{s}": low[i] * 10.0**s for i, s in enumerate([300, 150, -150, -300])}
    A |= {"least": np.full((30, 4), 5e-324), "most": np.full((30, 4), 1.7e308)}
    streamsvd.compress(A, tmp_path / "c.zarr", 0.05, mode="block")
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    for name, values in A.items():
        size = np.abs(values).max()
        assert error_of(values / size, held[name] / size) <= held.block_errors[name] <= 0.05
