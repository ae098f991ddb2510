"""The proxy does what its rules say, so that tests behind it test what they mean to."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamsvd.store.objects import objects_at
from tests.object_store.proxy import FlakyProxy
from tests.object_store.upstreams import Folder

DATA = bytes(range(256)) * 400


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FlakyProxy]:
    (tmp_path / "a").write_bytes(DATA)
    with FlakyProxy(Folder(tmp_path)) as proxy:
        yield proxy


def ask(
    proxy: FlakyProxy, verb: str = "GET", path: str = "/a", timeout: float = 30, **headers: str
) -> tuple[int, bytes]:
    host = urllib.parse.urlsplit(proxy.url).netloc
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        connection.request(verb, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_it_passes_on_what_is_asked(proxy: FlakyProxy) -> None:
    assert ask(proxy) == (200, DATA)
    assert ask(proxy, range="bytes=3-9") == (206, DATA[3:10])
    assert ask(proxy, range="bytes=-5") == (206, DATA[-5:])
    assert ask(proxy, "HEAD") == (200, b"")
    assert ask(proxy, path="/none")[0] == 404
    assert proxy.count() == 5
    assert proxy.count("GET", "a$") == 3
    assert proxy.counts["HEAD", "/a"] == 1


def test_answers_come_as_often_as_the_rule_says(proxy: FlakyProxy) -> None:
    rule = proxy.answer(503, times=2)
    assert [ask(proxy)[0] for _ in range(4)] == [503, 503, 200, 200]
    assert rule.applied == 2
    proxy.clear()
    proxy.answer(500, every=3)
    assert [ask(proxy)[0] for _ in range(4)] == [500, 200, 200, 500]
    proxy.clear()
    proxy.answer(429, times=1, each=True, key="a")
    ranges = ["bytes=0-1", "bytes=2-3", "bytes=0-1", "bytes=2-3"]
    assert [ask(proxy, range=r)[0] for r in ranges] == [429, 429, 206, 206]


@pytest.mark.parametrize("after", [0, 1000])
def test_a_reset_ends_the_connection(proxy: FlakyProxy, after: int) -> None:
    proxy.add("reset", times=1, after=after)
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        ask(proxy)
    assert ask(proxy) == (200, DATA)


def test_a_body_is_cut(proxy: FlakyProxy) -> None:
    proxy.add("cut", after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(proxy)
    assert caught.value.partial == DATA[:1000]


def test_a_reply_is_lost_after_the_request_was_heard(proxy: FlakyProxy) -> None:
    rule = proxy.add("lose", times=1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(proxy)
    assert rule.happened.is_set()
    assert ask(proxy) == (200, DATA)


@pytest.mark.parametrize("after", [0, 1000])
def test_a_request_hangs_until_the_client_gives_up(proxy: FlakyProxy, after: int) -> None:
    proxy.add("hang", after=after, times=1)
    with pytest.raises(TimeoutError):
        ask(proxy, timeout=0.2)
    assert ask(proxy) == (200, DATA)


def test_delay_and_rate_are_those_that_are_set_and_what_is_in_flight_is_counted(
    proxy: FlakyProxy,
) -> None:
    proxy.delay_s, proxy.bytes_per_second = 0.1, len(DATA) / 0.2
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(proxy), range(4)))
    assert answers == [(200, DATA)] * 4
    assert time.monotonic() - began >= 0.25
    assert 1 < proxy.most_in_flight <= 4


def test_a_server_may_ignore_ranges(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    with FlakyProxy(Folder(tmp_path, ranges=False)) as proxy:
        assert ask(proxy, range="bytes=3-9") == (200, DATA)


def test_objects_pass_in_both_directions(bucket: str, flaky: FlakyProxy) -> None:
    objects = objects_at(f"{bucket}/below")
    objects.replace("b.c", b"abc")
    assert objects.read("b.c") == b"abc"
    path = f"/{bucket.removeprefix('s3://')}/below/b.c"
    assert flaky.counts == {("PUT", path): 1, ("GET", path): 1}


def test_a_lost_reply_is_of_a_write_that_was_made(bucket: str, flaky: FlakyProxy) -> None:
    rule = flaky.add("lose", verb="PUT", times=1)
    objects = objects_at(f"{bucket}/below")
    objects.replace("a", b"abc")  # the client tries again
    assert rule.applied == 1
    assert flaky.count("PUT") == 2
    assert objects.read("a") == b"abc"
