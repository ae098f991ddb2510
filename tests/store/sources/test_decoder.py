from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib

import numcodecs
import numpy as np
import pytest

from streamsvd.store.sources.zarr_store.codecs import DamagedError, decode_step
from streamsvd.store.sources.zarr_store.decoder import decoder_v2, decoder_v3

A = np.round(np.random.default_rng(0).standard_normal((32, 25)), 2).astype("<f4")


def encoded(name, data=A):
    return np.frombuffer(bytes(numcodecs.get_codec({"id": name}).encode(data)), np.uint8)


def chain(*codecs, data=A):
    for name in codecs:
        data = encoded(name, data)
    names = [
        {"name": name if name in ("zstd", "blosc", "gzip", "crc32c") else f"numcodecs.{name}"}
        for name in codecs
    ]
    return data, decoder_v3(
        A.shape, A.dtype, [{"name": "bytes", "configuration": {"endian": "little"}}, *names]
    )


CHAINS = [
    ("zstd",), ("blosc",), ("lz4",), ("gzip",), ("zlib",), ("bz2",), ("lzma",),
    ("zstd", "crc32c"), ("crc32c", "zstd"), ("crc32c", "blosc", "crc32c"), ("gzip", "zstd"),
]  # fmt: skip


@pytest.mark.parametrize("codecs", CHAINS, ids="-".join)
def test_a_chunk_is_decoded_into_its_place(codecs):
    data, decoder = chain(*codecs)
    assert len(data) <= decoder.encoded_limit
    place = np.full(A.shape, np.nan, "f4")
    assert decoder.fits(place)
    decoder.decode(data, place)
    np.testing.assert_array_equal(place, A)
    np.testing.assert_array_equal(decoder.decode(data), A)


@pytest.mark.parametrize("codecs", CHAINS, ids="-".join)
def test_no_length_but_the_right_one_is_accepted(codecs):
    data, decoder = chain(*codecs)
    place = np.zeros(A.shape, "f4")
    for count in (0, 1, 3, 4, 7, 15, 16, 17, len(data) // 2, len(data) - 1):
        with pytest.raises(DamagedError):
            decoder.decode(data[:count], place)
    for other in (A[1:], np.vstack([A, A]), A[:0]):
        longer, _ = chain(*codecs, data=other)
        with pytest.raises(DamagedError):
            decoder.decode(longer, place)
        with pytest.raises(DamagedError):
            decoder.decode(longer)


@pytest.mark.parametrize("codecs", [c for c in CHAINS if "crc32c" in c], ids="-".join)
def test_every_flipped_bit_under_a_checksum_is_found(codecs):
    data, decoder = chain(*codecs)
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 100):
        flipped = data.copy()
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            values = decoder.decode(flipped)
        except DamagedError:
            continue
        # A compressor around the checksum may not use a bit; then nothing changed.
        np.testing.assert_array_equal(values, A)


def zstd_bomb(blocks, declared=None):
    """Frame of run-length blocks, 4 bytes for each 128 KiB, with or without its size in the header."""
    header = b"\x00\x38" if declared is None else b"\xc0\x38" + declared.to_bytes(8, "little")
    body = b"".join(
        ((index == blocks - 1) | 1 << 1 | 1 << 17 << 3).to_bytes(3, "little") + b"\x07"
        for index in range(blocks)
    )
    return np.frombuffer(b"\x28\xb5\x2f\xfd" + header + body, np.uint8)


BOMB = 256 << 20
BOMBS = {
    "zstd": zstd_bomb(BOMB >> 17, BOMB),
    "zstd, size not declared": zstd_bomb(1 << 9),
    "zstd, size lied about": zstd_bomb(1 << 9, A.nbytes),
    "blosc": np.frombuffer(numcodecs.Blosc("zstd").encode(bytes(BOMB >> 2)), np.uint8),
    "lz4": np.frombuffer((BOMB).to_bytes(4, "little") + bytes(100), np.uint8),
    "gzip": np.frombuffer(gzip.compress(bytes(BOMB >> 8)), np.uint8),
    "zlib": np.frombuffer(zlib.compress(bytes(BOMB >> 8)), np.uint8),
    "bz2": np.frombuffer(bz2.compress(bytes(BOMB >> 8)), np.uint8),
    "lzma": np.frombuffer(lzma.compress(bytes(BOMB >> 8)), np.uint8),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("after", [(), ("zstd",), ("crc32c",)], ids=["", "zstd", "crc32c"])
def test_a_bomb_is_not_inflated(bomb, after):
    _, decoder = chain(*after, bomb.split(",")[0])
    tracemalloc.start()
    try:
        with pytest.raises(
            DamagedError, match=r"more bytes|would decode|decompression error|does not say|bytes"
        ):
            decoder.decode(BOMBS[bomb])
        dictionary = 10 << 20 if bomb == "lzma" else 0
        assert tracemalloc.get_traced_memory()[1] < 500_000 + dictionary
    finally:
        tracemalloc.stop()


def test_a_zstd_stream_without_its_size_is_read():
    decoder = decoder_v3((2 << 17,), np.dtype("u1"), [{"name": "bytes"}, {"name": "zstd"}])
    assert (decoder.decode(zstd_bomb(2)) == 7).all()


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_byte_order_and_transposition_are_undone(endian, order):
    stored = A.transpose(order).astype(">f4" if endian == "big" else "<f4")
    codecs = [
        {"name": "transpose", "configuration": {"order": order}},
        {"name": "bytes", "configuration": {"endian": endian}},
    ]
    decoder = decoder_v3(A.shape, A.dtype, codecs)
    np.testing.assert_array_equal(decoder.decode(np.frombuffer(stored.tobytes(), np.uint8)), A)


@pytest.mark.parametrize(
    "filters",
    [
        [{"id": "delta", "dtype": "<f4"}],
        [{"id": "shuffle", "elementsize": 4}],
        [{"id": "fixedscaleoffset", "scale": 100, "offset": 0, "dtype": "<f4", "astype": "<i2"}],
        [{"id": "bitround", "keepbits": 20}],
        [{"id": "fletcher32"}],
    ],
    ids=lambda filters: filters[0]["id"],
)
@pytest.mark.parametrize("compressor", [None, {"id": "zstd"}, {"id": "blosc"}])
def test_filters_of_zarr_v2_are_undone(filters, compressor):
    data = np.ascontiguousarray(A)
    for config in [*filters, *([compressor] if compressor else [])]:
        data = numcodecs.get_codec(dict(config)).encode(data)
    data = np.frombuffer(bytes(numcodecs.compat.ensure_bytes(data)), np.uint8)
    decoder = decoder_v2(A.shape, A.dtype, "C", compressor, filters)
    np.testing.assert_allclose(decoder.decode(data), A, atol=1e-5)
    assert decoder_v2(A.shape, A.dtype, "F", compressor, filters).axes == (1, 0)


@pytest.mark.parametrize("name", ["pickle", "msgpack2", "json2", "vlen-utf8", "nobody's"])
def test_codecs_that_do_more_than_numbers_are_refused(name):
    with pytest.raises(NotImplementedError, match=f"the codec {name}"):
        decode_step(name, {})


def test_a_codec_is_refused_by_name_when_its_configuration_is_wrong():
    with pytest.raises(NotImplementedError, match="the codec delta"):
        decode_step("delta", {"unheard": 1})
    with pytest.raises(NotImplementedError, match="the codec lzma"):
        decode_step("lzma", {"format": 3})
    with pytest.raises(NotImplementedError, match="the codec sharding_indexed"):
        decoder_v3(A.shape, A.dtype, [{"name": "sharding_indexed", "configuration": {}}])
