"""A matrix in a store of objects is the same bits whatever its network does, or an error that says what to do."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import streamsvd
from streamsvd.errors import CorruptChunkError, MissingChunkError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.objects import object_store, ranges, where
from streamsvd.store.sources.opening import open_source
from tests.object_store.matrices import LAYOUTS, SHAPE, upload, values, write_array
from tests.object_store.proxy import FlakyProxy

DATA = r"/c/|/\d+\.\d+$"
"""Keys of chunks of both formats."""


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test of what never comes is quick."""
    retries = {"max_retries": 1, "retry_timeout": timedelta(seconds=60)}
    monkeypatch.setattr(where, "RETRIES", retries)


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of some kilobytes are fetched as large ones are."""
    for name in ("WHOLE_BYTES", "PIECE_BYTES"):
        monkeypatch.setattr(ranges, name, 5_000)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(layout: str, bucket: str, flaky: FlakyProxy, tmp_path: Path) -> str:
    """An array in a bucket, behind the proxy."""
    write_array(tmp_path / "A.zarr", layout)
    upload(tmp_path / "A.zarr", f"{bucket}/below/A.zarr")
    flaky.clear()
    return f"{bucket}/below/A.zarr"


@pytest.fixture
def plain_url(bucket: str, flaky: FlakyProxy, tmp_path: Path) -> str:
    """The same of one layout."""
    write_array(tmp_path / "A.zarr", "v3")
    upload(tmp_path / "A.zarr", f"{bucket}/below/A.zarr")
    flaky.clear()
    return f"{bucket}/below/A.zarr"


REQUESTS = {"v3": 6, "v2": 12, "plain": 6, "sharded": 3 * 2}
"""Of a pass: one a chunk; of a shard its index and, as they lie side by side, all of its inner chunks in one."""


def read_all(source: Source) -> Any:
    out = np.empty(source.shape, source.dtype)
    source.read(slice(None), slice(None), out)
    return out


def test_it_is_read_whole_and_in_part_by_one_request_a_chunk(
    url: str, flaky: FlakyProxy, layout: str
) -> None:
    source = pickle.loads(pickle.dumps(open_source(url)))
    assert source.name == url
    opening = flaky.count()
    assert opening <= 5
    assert_array_equal(read_all(source), values())
    assert flaky.count() - opening == REQUESTS[layout]
    assert flaky.count("HEAD") == 0
    out = np.empty((50, 11))
    source.read(slice(35, 85), slice(15, 26), out)
    assert_array_equal(out, values()[35:85, 15:26])


@pytest.mark.usefixtures("small_requests")
def test_large_chunks_are_fetched_by_ranges(url: str, flaky: FlakyProxy) -> None:
    flaky.delay_s = 0.02
    source = open_source(url)
    opening = flaky.count()
    assert_array_equal(read_all(source), values())
    lengths = [
        int(last) - int(first) + 1
        for r in flaky.requests[opening:]
        for first, last in [r.headers.get("range", "bytes=0-0")[6:].split("-")]
        if first
    ]
    assert max(lengths) <= 5_000
    assert (
        1 < flaky.most_in_flight < 2 * ranges.IN_FLIGHT
    )  # the server sees the end of an answer late


def test_the_index_of_a_shard_is_read_once(bucket: str, flaky: FlakyProxy, tmp_path: Path) -> None:
    write_array(tmp_path / "A.zarr", "sharded")
    upload(tmp_path / "A.zarr", f"{bucket}/A.zarr")
    source = open_source(f"{bucket}/A.zarr")
    for start in range(0, SHAPE[0], 10):
        out = np.empty((10, SHAPE[1]))
        source.read(slice(start, start + 10), slice(None), out)
        assert_array_equal(out, values()[start : start + 10])
    suffixes = [r for r in flaky.requests if r.headers.get("range", "").startswith("bytes=-")]
    assert len(suffixes) == 3


FAULTS = {
    "503, 500 and 429 once each": lambda p: [p.answer(s, times=1, key=DATA) for s in (503, 500, 429)],
    "503 of a fifth": lambda p: p.answer(503, every=5),
    "resets of a fifth": lambda p: p.add("reset", every=5),
    "bodies cut": lambda p: p.add("cut", key=DATA, after=50, times=4),
    "resets within bodies": lambda p: p.add("reset", key=DATA, after=50, times=2),
    "slow connections": lambda p: setattr(p, "bytes_per_second", 200_000),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["v3", "sharded"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_network_does_changes_no_bit(url: str, flaky: FlakyProxy, fault: str) -> None:
    FAULTS[fault](flaky)
    assert_array_equal(read_all(open_source(url)), values())


HOPELESS = {
    "503 for ever": (
        lambda p: p.answer(503, key=DATA),
        r"cannot read 'c/\d/0' of s3://b\w+/below/A.zarr: s3://b\w+ answers 503 SlowDown, 2 tries in",
    ),
    "resets for ever": (lambda p: p.add("reset", key=DATA), "broke off before all had come, 2 tries"),
    "bodies cut for ever": (lambda p: p.add("cut", key=DATA, after=9), "broke off before all"),
    "a request that hangs": (lambda p: p.add("hang", key=DATA), "gave no answer in time, 2 tries"),
    "a body that stalls": (lambda p: p.add("hang", key=DATA, after=9), "gave no answer in time"),
    "403": (lambda p: p.answer(403, key=DATA), r"s3://b\w+ does not allow it \(403 AccessDenied\)"),
    "401": (lambda p: p.answer(401, key=DATA), "credentials for s3://b"),
}  # fmt: skip


@pytest.mark.usefixtures("few_tries")
@pytest.mark.parametrize("fault", HOPELESS)
def test_what_never_comes_ends_in_a_sentence(
    plain_url: str, flaky: FlakyProxy, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject, words = HOPELESS[fault]
    opened = pickle.dumps(open_source(plain_url))
    patience = {name: timedelta(seconds=1) for name in where.LIMITS}
    monkeypatch.setattr(where, "LIMITS", patience)  # of what is opened from here on
    inject(flaky)
    source = pickle.loads(opened)
    with pytest.raises(StoreError, match=words) as caught:
        read_all(source)
    said = str(caught.value)
    assert "c/" in said
    assert "AWS_ENDPOINT_URL" in said
    assert "Debug" not in said
    assert "\n" not in said
    assert str(pickle.loads(pickle.dumps(caught.value))) == said


@pytest.mark.usefixtures("few_tries")
@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "does not allow it"), (503, "answers 503"), (401, "credentials")],
)
def test_opening_says_it_too(plain_url: str, flaky: FlakyProxy, status: int, words: str) -> None:
    flaky.answer(status)
    with pytest.raises(StoreError, match=words) as caught:
        streamsvd.open(plain_url)
    assert "A.zarr" in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
    assert "Restore" not in str(caught.value)


@pytest.mark.parametrize("layout", ["v2"], indirect=True)
def test_a_bucket_that_may_not_be_listed_refuses_what_it_has_not(
    url: str, flaky: FlakyProxy
) -> None:
    flaky.answer(403, key=r"zarr\.json$|\.zgroup$")
    assert_array_equal(read_all(open_source(url)), values())
    flaky.answer(403, key=r"\.zattrs$")
    with pytest.raises(StoreError, match="'.zattrs' of .* does not allow it"):
        open_source(url)


@pytest.mark.usefixtures("few_tries")
def test_a_store_that_is_not_there_is_told_from_an_array_that_is_not(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="holds no zarr array or group"):
        open_source(f"{bucket}/none.zarr")
    with pytest.raises(StoreError, match=r"there is no bucket s3://no-such-bucket-here"):
        open_source("s3://no-such-bucket-here/A.zarr")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"nothing answers there.*AWS_ENDPOINT_URL"):
        open_source(f"{bucket}/A.zarr")
    with pytest.raises(StoreError, match="unknown kind foo://"):
        open_source("foo://there/A.zarr")


@pytest.mark.usefixtures("few_tries")
def test_without_credentials_the_variables_are_named(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # where a client would look
    with pytest.raises(StoreError, match=r"s3://b\w+ needs credentials.*AWS_SECRET_ACCESS_KEY"):
        open_source(f"{bucket}/A.zarr")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(StoreError, match=r"credentials for s3://b\w+ are not whole"):
        open_source(f"{bucket}/A.zarr")


def test_what_is_missing_or_damaged_is_named(plain_url: str) -> None:
    store = object_store(plain_url)
    store.delete("c/2/0")
    with pytest.raises(MissingChunkError, match=r"chunk 'c/2/0' of s3://"):
        read_all(open_source(plain_url))
    filled = read_all(open_source(plain_url, missing="fill"))
    assert_array_equal(filled[80:120], 0)
    assert_array_equal(filled[:80], values()[:80])
    store.put("c/2/0", b"none of zstd")
    with pytest.raises(CorruptChunkError, match=r"chunk 'c/2/0' of s3://"):
        read_all(open_source(plain_url))
    store.put("c/2/0", bytes(1 << 20))
    with pytest.raises(CorruptChunkError, match="1,048,576 bytes; at most"):
        read_all(open_source(plain_url))


def test_a_shard_that_is_written_again_meanwhile_is_noticed(bucket: str, tmp_path: Path) -> None:
    write_array(tmp_path / "A.zarr", "sharded")
    upload(tmp_path / "A.zarr", f"{bucket}/A.zarr")
    source = open_source(f"{bucket}/A.zarr")
    out = np.empty((10, SHAPE[1]))
    source.read(slice(0, 10), slice(None), out)
    store = object_store(f"{bucket}/A.zarr")
    store.put("c/0/0", bytes(store.get("c/1/0").bytes()))
    with pytest.raises(StoreError, match="has changed while it was read"):
        source.read(slice(10, 20), slice(None), out)


def test_a_store_that_a_user_opened_has_its_address_as_name(plain_url: str) -> None:
    zarr_storage = pytest.importorskip("zarr.storage")
    source = open_source(zarr_storage.ObjectStore(object_store(plain_url), read_only=True))
    assert source.name == plain_url
    assert_array_equal(read_all(source), values())


def test_svd_of_a_url_is_that_of_the_folder(url: str, tmp_path: Path) -> None:
    there = streamsvd.svd(url, 5, memory="256MiB")
    here = streamsvd.svd(tmp_path / "A.zarr", 5, memory="256MiB")
    assert_array_equal(there.s, here.s)
    assert_array_equal(there.Vh, here.Vh)


def test_workers_read_it_by_their_own_environment(plain_url: str, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        client = distributed.Client(cluster)
        there = streamsvd.svd(plain_url, 5, memory="256MiB")
        client.close()
    here = streamsvd.svd(tmp_path / "A.zarr", 5, memory="256MiB")
    assert_array_equal(there.Vh, here.Vh)
