"""A place in an object store is there whole or not at all, whoever dies or comes between; the same laws as of a folder."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.checks.paths import PathOrUrl, Url, place_of
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.archive import CompressedStore
from streamsvd.store.objects import where
from streamsvd.store.places import Location, location_of
from streamsvd.store.places import remote_work as remote_work_module
from streamsvd.store.places.bucket import Bucket, bucket_at
from streamsvd.store.places.claims import SignedClaim
from streamsvd.store.places.owners import Owner, current_owner, lay_down
from streamsvd.store.places.publication import CLAIMS, work_folder
from streamsvd.store.places.remote_work import sweep_prefixes
from tests.object_store.proxy import FlakyProxy

ROOT = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> PathOrUrl:
    if request.param == "local":
        return tmp_path / "R.zarr"
    return place_of(f"{request.getfixturevalue('bucket')}/below/R.zarr")


@pytest.fixture
def url(bucket: str) -> Url:
    found = place_of(f"{bucket}/below/R.zarr")
    assert isinstance(found, Url)
    return found


def write_group(place: PathOrUrl, text: bytes, *, chunks: int = 3, overwrite: bool = False) -> None:
    """A group of one array, each of whose chunks has the same bytes."""
    work = location_of(place).begin()
    fill(work.location, text, chunks)
    work.publish(overwrite=overwrite)


def fill(place: Location, text: bytes, chunks: int = 3) -> None:
    for i in range(chunks):
        place.write(f"a/c/{i}", text)
    place.write("a/zarr.json", text)
    place.write("zarr.json", ROOT + text)


def contents(place: PathOrUrl) -> dict[str, bytes]:
    here = location_of(place)
    return {key: here.read(key) for key in here.keys("")}


def beside(place: PathOrUrl) -> list[str]:
    return location_of(place.parent).names()


def a_dead_owner() -> Owner:
    """A process of this machine that has ended."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True)  # fmt: skip
    return msgspec.structs.replace(current_owner(), number=int(done.stdout))


# The same of folders and of prefixes ---------------------------------------------------------------------


def test_what_is_published_is_there_and_nothing_beside_it(place: PathOrUrl) -> None:
    work = location_of(place).begin()
    work.scratch.put("b/1", b"second")
    work.scratch.put("b/0", b"lost")
    work.scratch.put("b/0", b"first ")
    work.scratch.put("c/0", b"other")
    fill(work.location, b"x")
    assert not location_of(place).exists()
    assert b"".join(work.scratch.take("b")) == b"first second"
    assert pickle.loads(pickle.dumps(work.scratch)).names("c") == ["c/0"]
    work.scratch.remove("b")
    assert work.scratch.names("") == ["c/0"]
    work.publish(overwrite=False)
    assert beside(place) == ["R.zarr"]
    assert contents(place) == {f"a/c/{i}": b"x" for i in range(3)} | {"a/zarr.json": b"x", "zarr.json": ROOT + b"x"}  # fmt: skip


def test_what_is_removed_leaves_nothing(place: PathOrUrl) -> None:
    location_of(place.parent).write("other", b"")
    work = location_of(place).begin()
    work.scratch.put("b/1", b"x")
    fill(work.location, b"x")
    work.remove()
    assert beside(place) == ["other"]


def test_what_came_meanwhile_is_not_replaced_unless_asked(place: PathOrUrl) -> None:
    mine = location_of(place).begin()
    fill(mine.location, b"mine", chunks=5)
    write_group(place, b"theirs")
    theirs = contents(place)
    with pytest.raises(StoreError, match=r"R.zarr was made by another run meanwhile"):
        mine.publish(overwrite=False)
    assert contents(place) == theirs
    mine.remove()
    write_group(place, b"new", chunks=1, overwrite=True)
    assert set(contents(place)) == {"a/c/0", "a/zarr.json", "zarr.json"}
    assert beside(place) == ["R.zarr"]


def test_a_file_is_there_whole_or_not_at_all(place: PathOrUrl) -> None:
    file = location_of(place.with_name("R.bin"))
    with pytest.raises(KeyboardInterrupt), file.replacement() as out:
        out.write(b"half")
        raise KeyboardInterrupt
    assert not file.exists()
    with file.replacement(overwrite=False) as out:
        out.write(b"whole")
    with (
        pytest.raises(StoreError, match="made by another run"),
        file.replacement(overwrite=False) as out,
    ):
        out.write(b"again")
    assert file.read() == b"whole"
    with file.replacement() as out:
        out.write(b"new")
    assert file.read() == b"new"
    assert file.size() == 3


# Writers that die ----------------------------------------------------------------------------------------


def test_what_the_dead_have_left_is_swept_and_what_the_living_write_is_not(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dead = a_dead_owner()
        patch.setattr(remote_work_module, "current_owner", lambda: dead)
        left = location_of(url).begin()
        fill(left.location, b"x")
        foreign = msgspec.structs.replace(dead, machine="another", token="f" * 32)
        patch.setattr(remote_work_module, "current_owner", lambda: foreign)
        elsewhere = location_of(url).begin()
        assert not left.location.exists()  # the second swept the first
    fill(elsewhere.location, b"y")
    location_of(work_folder(url)).write(
        f"{'b' * 32}/scratch/b/0", b"by a task of a run that is over"
    )
    mine = location_of(url).begin()
    assert {name for name in location_of(work_folder(url)).names()} == {
        "f" * 32,
        mine.folder.parent.name,
    }
    assert sweep_prefixes(url) == []
    fill(mine.location, b"mine")
    mine.publish(overwrite=False)
    assert contents(url)["a/c/0"] == b"mine"


def test_a_publication_that_was_killed_is_finished_by_the_next(url: Url, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    for there, overwrite in ((False, False), (True, True)):
        if there:
            write_group(url, b"old", chunks=6, overwrite=True)
        work = location_of(url).begin()
        fill(work.location, b"new")
        with monkeypatch.context() as patch:
            dead = a_dead_owner()
            patch.setattr(
                "streamsvd.store.places.publication.current_owner", lambda dead=dead: dead
            )
            patch.setattr(Bucket, "create", stop_at("zarr.json", Bucket.create))
            with pytest.raises(KeyboardInterrupt):
                work.publish(overwrite=overwrite)
        assert "zarr.json" not in contents(url)
        work.remove()  # as its writer does, whatever happened
        location_of(url).settle()
        assert contents(url) == {f"a/c/{i}": b"new" for i in range(3)} | {"a/zarr.json": b"new", "zarr.json": ROOT + b"new"}  # fmt: skip
        assert beside(url) == ["R.zarr"]
        location_of(url).clear("")


def stop_at(end: str, call):
    """The call, until it is of a key that ends so: an interrupt then."""

    def stopping(self, key, *rest):
        if key.endswith(f"R.zarr/{end}"):
            raise KeyboardInterrupt
        return call(self, key, *rest)

    return stopping


def test_a_publication_that_fails_is_finished_by_the_same_process(
    url: Url, flaky: FlakyProxy
) -> None:
    A = np.random.default_rng(0).standard_normal((300, 5))
    flaky.answer(403, verb="PUT", key=r"below/R.zarr/U/c/0/0$")
    with pytest.raises(StoreError, match=r"cannot write 'below/R.zarr/U/c/0/0'"):
        streamsvd.svd(A, 2, u=True, out=url)
    flaky.clear()
    with pytest.raises(StoreError, match="exists already"):
        streamsvd.svd(A, 2, u=True, out=url)
    np.testing.assert_array_equal(streamsvd.load(url).U[...], streamsvd.svd(A, 2, u=True).U)
    assert beside(url) == ["R.zarr"]


def test_another_machine_that_publishes_is_waited_for_in_words(url: Url) -> None:
    foreign = msgspec.structs.replace(current_owner(), machine="far", number=7)
    claim = msgspec.json.encode(SignedClaim(foreign, "R.zarr.partial/t", False))
    location_of(work_folder(url)).write(f"{CLAIMS}/000004.json", claim)
    with pytest.raises(StoreError, match=r"process 7 on far is at work: others may not publish .*R.zarr meanwhile. .* remove all below"):  # fmt: skip
        streamsvd.svd(np.eye(30, 4), 2, out=url)
    with pytest.raises(StoreError, match="process 7 on far is at work"):
        write_group(url, b"x")
    assert not location_of(url).exists()


KILLED = """
import sys, numpy as np, streamsvd
streamsvd.svd(np.random.default_rng(0).standard_normal((2000, 10)), 3, u=True, out=sys.argv[1])
"""


@pytest.mark.parametrize(
    "key", [r"/content/U/c/", pytest.param(r"R.zarr/zarr.json$", marks=pytest.mark.slow)]
)
def test_a_process_that_is_killed_leaves_nothing_to_see(
    key: str, url: Url, flaky: FlakyProxy
) -> None:
    hanging = flaky.add("hang", verb="PUT", key=key)
    env = {**os.environ, "PYTHONPATH": str(Path(streamsvd.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(url)], env=env)
    assert hanging.happened.wait(120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    flaky.clear()
    with pytest.raises(StoreError, match=r"R.zarr is not a result of streamsvd"):
        streamsvd.load(url)
    assert beside(url)  # what it left
    A = np.random.default_rng(0).standard_normal((2000, 10))
    if "content" in key:
        streamsvd.svd(A, 3, u=True, out=url)
    else:  # all was there: the next run finishes it, and finds it
        with pytest.raises(StoreError, match=r"R.zarr exists already"):
            streamsvd.svd(A, 3, u=True, out=url)
    np.testing.assert_array_equal(streamsvd.load(url).U[...], streamsvd.svd(A, 3, u=True).U)
    assert beside(url) == ["R.zarr"]


# Writers that meet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_two_that_publish_at_once_nothing_is_mixed(overwrite: bool, url: Url) -> None:
    for _ in range(2):
        works = [location_of(url).begin() for _ in range(2)]
        for i, work in enumerate(works):
            fill(work.location, b"%d" % i, chunks=3 + 2 * i)
        start, outcomes = threading.Barrier(2), [""] * 2

        def publish(i: int, works=works, start=start, outcomes=outcomes) -> None:
            start.wait()
            try:
                works[i].publish(overwrite=overwrite)
            except StoreError as error:
                outcomes[i] = str(error)
                works[i].remove()

        threads = [threading.Thread(target=publish, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for words in filter(None, outcomes):
            assert (
                "is at work" in words or "another run meanwhile" in words or "all the time" in words
            )
        found = contents(url)
        if found:  # both may have made way for the other
            (winner,) = {value for key, value in found.items() if key.startswith("a/c/")}
            assert len(found) == 5 + 2 * int(winner)
            assert found["zarr.json"] == ROOT + winner
            assert not outcomes[int(winner)]
        else:
            assert all(outcomes)
        location_of(url).clear("")
        assert location_of(work_folder(url)).keys("") == []


# What a store does -----------------------------------------------------------------------------------------


def test_a_store_that_ignores_conditions_is_refused_before_the_first_pass(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bucket, "create", lambda self, key, data: self.write(key, data) or True)
    with pytest.raises(StoreError, match=r"s3://.* ignores conditional puts"):
        streamsvd.svd(np.eye(30, 4), 2, out=url)
    assert beside(url) == []


@pytest.mark.parametrize(
    ("verb", "words"),
    [("PUT", r"cannot write '.*below/R.zarr.*s3://.*403"), ("POST", r"cannot remove '.*403"), ("GET", r"cannot list .*403")],
)  # fmt: skip
def test_rights_are_tried_before_the_first_pass(
    verb: str, words: str, url: Url, flaky: FlakyProxy
) -> None:
    flaky.answer(403, verb=verb)
    with pytest.raises(StoreError, match=words) as caught:
        streamsvd.svd(np.eye(30, 4), 2, out=url)
    assert "Debug" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_above_that_may_not_be_read_are_no_results(url: Url, flaky: FlakyProxy) -> None:
    flaky.answer(403, verb="GET", key=r"/below/zarr.json$")
    streamsvd.svd(np.eye(30, 4), 2, out=url)
    assert streamsvd.load(url).rank == 2


def test_a_store_that_fails_is_called_neither_damaged_nor_empty(
    url: Url, flaky: FlakyProxy
) -> None:
    A = np.random.default_rng(0).standard_normal((300, 5))
    kept = streamsvd.svd(A, 2, u=True, out=url)
    flaky.answer(403, verb="GET", key=r"R.zarr")
    for call in (lambda: streamsvd.load(url), lambda: kept.U[...]):
        with pytest.raises(StoreError, match=r"403 AccessDenied") as caught:
            call()
        assert "damaged" not in str(caught.value)
        assert "Debug" not in str(caught.value)


def test_a_put_whose_answer_is_lost_is_put_again(url: Url, flaky: FlakyProxy) -> None:
    flaky.add("lose", verb="PUT", times=1, each=True)
    bucket = bucket_at(url)
    assert bucket.create("x", b"mine")
    assert not bucket.create("x", b"another")
    bucket.write("y", b"1")
    bucket.copy([("y", "z")])
    assert bucket.read("z") == b"1"
    write_group(url, b"x")
    assert contents(url)["a/c/2"] == b"x"


def test_a_body_that_is_long_on_its_way_is_waited_for(
    url: Url, flaky: FlakyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(where.LIMITS, "read_timeout", timedelta(milliseconds=50))
    flaky.delay_s = 0.3
    bucket_at(url).write("x", b"1")
    assert flaky.count("PUT") == 1


def test_a_chunk_that_is_gone_is_an_error_and_no_zeros(url: Url) -> None:
    kept = streamsvd.svd(np.random.default_rng(0).standard_normal((300, 5)), 2, u=True, out=url)
    location_of(url).remove("U/c/0/0")
    with pytest.raises(StoreError, match=r"U lacks chunk c/0/0: it was replaced since"):
        kept.U[...]
    with pytest.raises(StoreError, match=r"R.zarr lacks 1 of the 1 chunks of U"):
        streamsvd.load(url)


def test_a_result_is_read_by_other_tools(url: Url) -> None:
    import obstore
    from zarr.storage import ObjectStore

    A = np.random.default_rng(0).standard_normal((300, 5))
    found = streamsvd.svd(A, 2, u=True, out=url)
    store = obstore.store.from_url(str(url), client_options={"allow_http": True})
    group = zarr.open(ObjectStore(store, read_only=True), mode="r")
    np.testing.assert_array_equal(group["U"][...], found.U[...])


def test_owners_tell_the_dead_from_the_living() -> None:
    mine, dead = current_owner(), a_dead_owner()
    assert not mine.is_gone
    assert dead.is_gone
    lay_down(mine)
    assert mine.is_gone
    assert msgspec.structs.replace(
        mine, start=mine.start - 100
    ).is_gone  # its number was given again
    for other in ({"machine": "another"}, {"system": "another boot"}, {"machine": ""}):
        assert not msgspec.structs.replace(dead, **other).is_gone


# What is not ours ---------------------------------------------------------------------------------------


def test_what_users_named_like_our_work_is_left_alone(url: Url) -> None:
    A = np.arange(60.0).reshape(20, 3)
    streamsvd.svd(A, rank=2, out=f"{url}.partial")
    bucket = bucket_at(url)
    bucket.write(f"{url.key}.partial/mine/notes.txt", b"mine")
    bucket.write(f"{url.key}.partial/trial-balloon", b"mine")
    bucket.write(f"{url.key}.partial/{'a' * 32}/notes.txt", b"mine")
    before = contents(place_of(f"{url}.partial"))
    streamsvd.svd(A, rank=2, out=str(url))
    assert contents(place_of(f"{url}.partial")) == before


def test_what_users_named_like_an_unfinished_conversion_is_in_the_way(place: PathOrUrl) -> None:
    A = np.arange(60.0).reshape(20, 3)
    streamsvd.convert(A, f"{place}.unfinished")
    before = contents(place_of(f"{place}.unfinished"))
    with pytest.raises(StoreError, match="is not what streamsvd writes there.*Move it"):
        streamsvd.convert(A, str(place))
    assert contents(place_of(f"{place}.unfinished")) == before
    assert not location_of(place).exists()


def test_a_trial_that_could_not_be_removed_goes_with_a_later_run(url: Url) -> None:
    bucket, dead, living = bucket_at(url), a_dead_owner(), current_owner()
    for owner in (dead, living):
        bucket.write((work_folder(url) / f"trial-{owner.token}").key, msgspec.json.encode(owner))
    write_group(url, b"new")
    assert location_of(work_folder(url)).names() == [f"trial-{living.token}"]
    lay_down(living)


def test_an_interrupt_waits_until_what_is_replaced_has_made_way(url: Url, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    write_group(url, b"old")
    work = location_of(url).begin()
    fill(work.location, b"new")
    copy = Bucket.copy

    def interrupted(bucket: Bucket, pairs: list[tuple[str, str]]) -> None:
        signal.raise_signal(signal.SIGINT)
        copy(bucket, pairs)

    monkeypatch.setattr(Bucket, "copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work.publish(overwrite=True)
    assert contents(url)["zarr.json"] == ROOT + b"new"


def test_of_two_that_compress_to_one_place_the_second_is_refused(
    place: PathOrUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"a": np.random.default_rng(0).standard_normal((8, 6))}
    mark = CompressedStore.mark

    def late(store: CompressedStore) -> bool:
        monkeypatch.setattr(CompressedStore, "mark", mark)
        streamsvd.compress(weights, place.with_name("W"), rank=2)
        return mark(store)

    monkeypatch.setattr(CompressedStore, "mark", late)  # after it has seen that nothing is there
    with pytest.raises(StoreError, match="is a compressed collection already"):
        streamsvd.compress(weights, place.with_name("W"), rank=2)
    assert location_of(place.with_name("W")).keys("log") == ["000000000001.json"]


@pytest.mark.parametrize("text", ["127.0.0.1:9", "localhost", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", text)
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL=.* is no address of a server"):
        streamsvd.svd("s3://bucket/A.npy", rank=2)


def test_a_key_with_a_newline_is_refused(bucket: str) -> None:
    for name in ("a\nb.npy", "a\x01.zarr"):
        with pytest.raises(StoreError, match="control character"):
            streamsvd.svd(f"{bucket}/{name}", rank=1)
        with pytest.raises(SpecError, match="do not take as it stands"):
            streamsvd.svd(np.ones((9, 2)), rank=1, out=f"{bucket}/{name}")
