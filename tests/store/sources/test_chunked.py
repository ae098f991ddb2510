from __future__ import annotations

import shutil
import time
import warnings

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.storage import LocalStore, MemoryStore

from streamsvd.errors import AccessError, CorruptChunkError, MissingChunkError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.testing.stores import CountingStore, Fault, FaultyStore

# No chunk of it is a fill value, none equals another.
A = np.round(np.random.default_rng(0).standard_normal((100, 60)) * 100).astype("f4") + 0.5

LAYOUTS = {
    "v2": {"zarr_format": 2, "chunks": (20, 30)},
    "v2-blosc": {"zarr_format": 2, "chunks": (20, 30), "compressors": numcodecs.Blosc()},
    "v2-raw": {"zarr_format": 2, "chunks": (20, 30), "compressors": None},
    "zstd": {"chunks": (20, 30)},
    "raw": {"chunks": (20, 30), "compressors": None},
    "crc": {"chunks": (20, 30), "compressors": Crc32cCodec()},
    "zstd-crc": {"chunks": (20, 30), "compressors": [ZstdCodec(), Crc32cCodec()]},
    "zstd-checked": {"chunks": (20, 30), "compressors": ZstdCodec(checksum=True)},
    "blosc": {"chunks": (20, 30), "compressors": BloscCodec(cname="lz4")},
    "gzip": {"chunks": (20, 30), "compressors": GzipCodec()},
    "sharded": {"chunks": (10, 15), "shards": (20, 30)},
    "sharded-raw": {"chunks": (10, 15), "shards": (20, 30), "compressors": None},
    "sharded-crc": {"chunks": (10, 15), "shards": (20, 30), "compressors": Crc32cCodec()},
}  # fmt: skip
CHECKED = ["crc", "zstd-crc", "zstd-checked", "sharded-crc"]
SHARDED = ["sharded", "sharded-raw", "sharded-crc"]


@pytest.fixture(params=["local", "any store"])
def reopen(request, tmp_path):
    """The array in the folder as a source, read from its files directly or through zarr."""

    def open_again(**options):
        store = LocalStore(tmp_path, read_only=True)
        return open_source(store if request.param == "local" else CountingStore(store), **options)

    return open_again


def create(path, layout, values=A, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numcodecs and zarr disagree on what is deprecated
        array = zarr.create_array(
            path, shape=values.shape, dtype=values.dtype, **LAYOUTS[layout], **options
        )
    array[...] = values
    return array


def chunk_file(path, layout, row=2, column=1):
    return path / (f"{row}.{column}" if layout.startswith("v2") else f"c/{row}/{column}")


def named(path, file):
    return rf"chunk '{file.relative_to(path)}[^']*' of {path} is"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_chunk_is_an_error_that_names_it_or_is_filled(tmp_path, reopen, read, layout):
    create(tmp_path, layout, fill_value=7)
    file = chunk_file(tmp_path, layout)
    file.unlink()
    with pytest.raises(MissingChunkError, match=named(tmp_path, file)) as caught:
        read(reopen())
    assert caught.value.key.startswith(str(file.relative_to(tmp_path)))
    expected = A.copy()
    expected[40:60, 30:] = 7
    np.testing.assert_array_equal(read(reopen(missing="fill")), expected)
    np.testing.assert_array_equal(read(reopen(), slice(0, 40)), A[:40])  # the rest is intact


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("missing", ["error", "fill"])
def test_a_chunk_of_another_length_is_an_error_that_names_it(
    tmp_path, reopen, read, layout, missing
):
    create(tmp_path, layout)
    file = chunk_file(tmp_path, layout)
    whole = file.read_bytes()
    shorter = [whole[:count] for count in (0, 1, len(whole) // 2, len(whole) - 1)]
    # What precedes a shard's index does not matter as long as it is not pointed to.
    longer = [whole + bytes(5_000)] + [whole + whole] * (layout not in SHARDED)
    for damaged in (*shorter, *longer):
        file.write_bytes(damaged)
        with pytest.raises(CorruptChunkError, match=named(tmp_path, file)):
            read(reopen(missing=missing))
    file.write_bytes(whole)
    np.testing.assert_array_equal(read(reopen(missing=missing)), A)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chunk_of_rubbish_is_an_error_that_names_it(tmp_path, reopen, read, layout):
    if layout in ("raw", "v2-raw", "sharded-raw"):
        pytest.skip("any bytes of the right number are values")
    create(tmp_path, layout)
    file = chunk_file(tmp_path, layout)
    size = file.stat().st_size
    for damaged in (bytes(size), b"\xff" * size, np.random.default_rng(1).bytes(size)):
        file.write_bytes(damaged)
        with pytest.raises(CorruptChunkError, match=named(tmp_path, file)):
            read(reopen())


@pytest.mark.parametrize("layout", CHECKED)
def test_no_flipped_bit_goes_unnoticed_under_a_checksum(tmp_path, reopen, read, layout):
    create(tmp_path, layout)
    source, file = reopen(), chunk_file(tmp_path, layout)
    whole = np.fromfile(file, np.uint8)
    rng, found = np.random.default_rng(2), 0
    for bit in rng.integers(0, 8 * len(whole), 60):
        flipped = whole.copy()
        flipped[bit // 8] ^= 1 << bit % 8
        flipped.tofile(file)
        try:
            np.testing.assert_array_equal(read(source, slice(40, 60), slice(30, 60)), A[40:60, 30:])
        except StoreError:  # missing or damaged: a flip in the index of a shard is found too
            found += 1
    assert found >= 55  # some bits of a frame mean nothing


@pytest.mark.parametrize("layout", SHARDED)
def test_an_inner_chunk_missing_from_a_shard_is_an_error_that_names_it(
    tmp_path, reopen, read, layout
):
    values = A.copy()
    values[50:60, 30:45] = 7  # zarr leaves out what equals the fill value
    create(tmp_path, layout, values, fill_value=7)
    with pytest.raises(MissingChunkError, match=r"chunk 'c/2/1, inner chunk \(1, 0\)' of"):
        read(reopen())
    np.testing.assert_array_equal(read(reopen(), slice(0, 50)), values[:50])
    np.testing.assert_array_equal(read(reopen(missing="fill")), values)


@pytest.mark.parametrize("location", ["start", "end"])
def test_the_index_of_a_shard_is_checked(tmp_path, reopen, read, location):
    sharding = zarr.codecs.ShardingCodec(chunk_shape=(10, 15), index_location=location)
    array = zarr.create_array(
        tmp_path,
        shape=A.shape,
        dtype=A.dtype,
        chunks=(20, 30),
        serializer=sharding,
        compressors=None,
    )
    array[...] = A
    np.testing.assert_array_equal(read(reopen()), A)
    file = tmp_path / "c" / "2" / "1"
    whole = np.fromfile(file, np.uint8)
    whole[20 if location == "start" else -20] ^= 1
    whole.tofile(file)
    with pytest.raises(CorruptChunkError, match=r"chunk 'c/2/1' .* in the index, its checksum is"):
        read(reopen(missing="fill"))


@pytest.mark.parametrize(
    ("start", "length"), [(10**6, 600), (0, 10**9), (2**63, 600), (0, 0), (0, 2**64 - 1)]
)
def test_an_index_that_points_nowhere_is_damage(tmp_path, reopen, read, start, length):
    sharding = zarr.codecs.ShardingCodec(
        chunk_shape=(10, 15),
        codecs=[zarr.codecs.BytesCodec()],
        index_codecs=[zarr.codecs.BytesCodec()],
    )
    array = zarr.create_array(
        tmp_path,
        shape=A.shape,
        dtype=A.dtype,
        chunks=(20, 30),
        serializer=sharding,
        compressors=None,
    )
    array[...] = A
    file = tmp_path / "c" / "2" / "1"
    data = file.read_bytes()
    file.write_bytes(data[:-64] + np.array([start, length], "<u8").tobytes() + data[-48:])
    with pytest.raises(CorruptChunkError, match=r"chunk 'c/2/1, inner chunk \(0, 0\)' of"):
        read(reopen())


@pytest.mark.parametrize("layout", ["zstd", "raw", "crc", "sharded"])
def test_a_store_that_fails_is_an_error_that_names_the_key(tmp_path, read, layout):
    store = MemoryStore()
    create(store, layout)
    source = open_source(FaultyStore(store, Fault("get", "c/2/1", "EIO", attempts=(0,))))
    with pytest.raises(
        StoreError,
        match=r"cannot read .*c/2/1.* of MemoryStore: Input/output error.*Check the disk",
    ):
        read(source)
    np.testing.assert_array_equal(read(source), A)  # the next attempt succeeds


def test_a_file_that_cannot_be_opened_is_an_error_that_names_the_key(tmp_path, read):
    for layout in ("zstd", "raw"):
        create(tmp_path / layout, layout)
        file = chunk_file(tmp_path / layout, layout)
        file.unlink()
        file.symlink_to(file)  # for root no file is forbidden, but a loop is a loop
        with pytest.raises(StoreError, match=r"cannot read c/2/1 of .*: .*symbolic links"):
            read(open_source(tmp_path / layout))


def test_a_folder_in_the_place_of_a_chunk_is_no_chunk(tmp_path, reopen, read):
    create(tmp_path, "raw")
    file = chunk_file(tmp_path, "raw")
    file.unlink()
    file.mkdir()
    with pytest.raises((AccessError, MissingChunkError), match="c/2/1"):
        read(reopen())


@pytest.mark.parametrize("layout", ["zstd", "raw", "sharded"])
def test_every_chunk_is_asked_for_once_in_a_pass(tmp_path, read, layout):
    store = CountingStore(MemoryStore())
    create(store, layout)
    source = open_source(store)
    store.reset()
    step = source.chunks[0]
    for start in range(0, 100, step):
        read(source, slice(start, start + step))
    stored = sum(len(value) for key, value in store._store._store_dict.items() if key[0] == "c")
    if layout == "sharded":  # one index for each shard and row of inner chunks
        indices = 10 * 2 * (4 * 16 + 4)
        assert store.chunk_gets == 10 * 4 + 10 * 2
        assert store.chunk_bytes == stored - indices / 2 + indices
    else:
        assert set(store.gets.values()) == {1}
        assert store.chunk_bytes == stored


def test_small_chunks_of_a_slow_store_are_asked_for_together(read):
    store = MemoryStore()
    create(store, "zstd")
    slow = FaultyStore(store, Fault("get", "c/.*", "delay", amount=0.1))
    begin = time.perf_counter()
    np.testing.assert_array_equal(read(open_source(slow)), A)
    assert time.perf_counter() - begin < 0.6  # ten chunks


def test_chunks_exchanged_between_arrays_of_other_types_are_damage(tmp_path, reopen, read):
    create(tmp_path, "zstd")
    other = zarr.create_array(tmp_path / "other", shape=(100, 60), chunks=(20, 30), dtype="f8")
    other[...] = A
    shutil.copy(tmp_path / "other" / "c" / "2" / "1", tmp_path / "c" / "2" / "1")
    with pytest.raises(
        CorruptChunkError, match="would decode to 4,800 bytes where the chunk has 2,400"
    ):
        read(reopen())
