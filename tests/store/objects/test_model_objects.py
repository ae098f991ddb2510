"""The operations that exactly-once stands on, the same on a file system and on S3, and where they differ."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from streamsvd import Model, StoreError, update
from streamsvd.models import repair_model
from streamsvd.store.objects import Objects, checked_key, objects_at
from streamsvd.store.objects.posix import FileSystem, LocalObjects
from streamsvd.store.objects.remote import RemoteObjects
from streamsvd.store.versions import ModelSettings, ModelStore
from tests.faults.model_kit import applied, assert_chain, assert_serial, block_of


@pytest.fixture(params=["local", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a model that does not exist yet."""
    if request.param == "local":
        return str(tmp_path / "below" / "model")
    return f"{request.getfixturevalue('bucket')}/below/model"


@pytest.fixture
def objects(address: str) -> Objects:
    return objects_at(address)


# The contract -----------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_listed(objects: Objects) -> None:
    assert objects.names("versions") == []
    assert objects.keys("versions") == []
    objects.write("versions/1", {"a": b"x", "b/c/0": b"", "b/zarr.json": b"{}"})
    assert objects.read("versions/1/a") == b"x"
    assert objects.read("versions/1/b/c/0") == b""
    assert objects.names("versions") == ["1"]
    assert objects.names("versions/1") == ["a", "b"]
    assert objects.keys("versions/1") == [f"versions/1/{n}" for n in ("a", "b/c/0", "b/zarr.json")]
    with pytest.raises(FileNotFoundError):
        objects.read("versions/1/none")
    with pytest.raises(FileNotFoundError):
        objects.read("versions/1/a/below")


def test_an_object_is_created_once(objects: Objects) -> None:
    assert objects.create("log/1.json", b"first")
    assert not objects.create("log/1.json", b"second")
    assert objects.read("log/1.json") == b"first"
    objects.replace("head.json", b"1")
    objects.replace("head.json", b"22")
    assert objects.read("head.json") == b"22"


def test_of_many_that_create_at_once_one_succeeds(objects: Objects) -> None:
    with ThreadPoolExecutor(8) as pool:
        for i in range(10):
            tries = list(pool.map(lambda w, i=i: objects.create(f"log/{i}", b"%d" % w), range(8)))
            assert tries.count(True) == 1
            assert objects.read(f"log/{i}") == b"%d" % tries.index(True)
    assert objects.strays(-10) == []


def test_clearing_leaves_what_is_to_be_kept(objects: Objects) -> None:
    objects.write("versions/1", {"a": b"x", "b/c/0": b"y"})
    objects.write("versions/2", {"a": b"x"})
    assert objects.clear("versions/1", {"versions/1/b/c/0"}) == 1
    assert objects.keys("versions/1") == ["versions/1/b/c/0"]
    assert objects.clear("versions/1") == 1
    assert objects.names("versions") == ["2"]
    objects.remove(["versions/2/a", "versions/2/none"])
    assert objects.keys("versions") == []
    assert objects.clear("versions/none") == 0


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/passwd", "", "a//b", ".", "a/.", "a b", "a\\b", "é", "a\0"]
)
def test_keys_that_would_leave_the_root_are_refused(objects: Objects, key: str) -> None:
    for call in (
        objects.read,
        objects.names,
        objects.keys,
        lambda k: objects.create(k, b""),
        lambda k: objects.replace(k, b""),
        lambda k: objects.remove([k]),
        lambda k: objects.write("versions", {k: b""}) if k != "" else checked_key(k),
    ):
        with pytest.raises(StoreError, match="would leave the model or is no name"):
            call(key)


# Models on both ---------------------------------------------------------------------------------------


def test_a_model_lives_there(address: str) -> None:
    """Environment variables are all that an object store needs."""
    model = Model.create(address, 3, keep=2, u=True)
    for i in range(8):
        assert model.update(block_of(f"b{i}"), f"b{i}").version == i + 1
    assert model.update(block_of("b3"), "b3").skip_reason == "known"
    again = Model.open(address)
    assert assert_serial(again) == [f"b{i}" for i in range(8)]
    assert again.U[:].shape == (32, 3)
    assert again.verify() == []
    assert again.rollback(7).version == 9
    assert again.collect() >= 0
    assert len(assert_serial(Model.open(address))) == 7
    assert_chain(address)
    with pytest.raises(StoreError, match="is a model already"):
        Model.create(address, 3)


def test_update_begins_a_model_where_there_is_none(address: str) -> None:
    assert update(address, block_of("a"), "a", rank=3).version == 1
    assert update(address, block_of("a"), "a", rank=3).skip_reason == "known"
    assert update(address, block_of("b"), "b").version == 2
    assert_serial(Model.open(address))


def test_writers_in_turn_and_at_once_lose_nothing(address: str) -> None:
    Model.create(address, 3, keep=2)
    names = [[f"w{w}-{i}" for i in range(8)] for w in range(3)]

    def write(own: list[str]) -> None:
        for name in own:
            assert update(address, block_of(name), name).n_absorbed

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, names))
    model = Model.open(address)
    assert sorted(assert_serial(model)) == sorted(n for own in names for n in own)
    assert_chain(address)
    assert model.verify() == []
    assert ModelStore(objects_at(address)).head() == model.version


def test_what_is_lost_is_named_and_repaired(address: str) -> None:
    model = Model.create(address, 3)
    for i in range(4):
        model.update(block_of(f"b{i}"), f"b{i}")
    objects = objects_at(address)
    objects.remove(["log/000000000004.json"])
    with pytest.raises(StoreError, match=r"log/000000000004.json is missing"):
        Model.open(address)
    model, damage = repair_model(address)
    assert [d.key for d in damage] == ["log/000000000004.json"]
    assert applied(model) == ["b0", "b1", "b2"]
    assert model.update(block_of("b3"), "b3").n_absorbed
    assert assert_serial(Model.open(address)) == ["b0", "b1", "b2", "b3"]


def test_what_is_no_model_is_said_to_be_none(address: str) -> None:
    with pytest.raises(StoreError, match="is not a model: it has no model.json|does not exist"):
        Model.open(address)


# Only object stores -----------------------------------------------------------------------------------


class Lying:
    """A store that takes the condition of a put and ignores it."""

    def __init__(self, store: object) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes, mode: str | None = None) -> object:
        return self._store.put(key, data)


def test_a_store_that_ignores_conditions_is_refused() -> None:
    obstore = pytest.importorskip("obstore", reason="obstore is not installed")
    store = obstore.store.MemoryStore()
    with pytest.raises(StoreError, match="ignores conditional puts"):
        RemoteObjects(Lying(store), "memory").create("log/1", b"")
    assert [m["path"] for batch in store.list() for m in batch] == []
    honest = RemoteObjects(store, "memory")
    assert honest.create("log/1", b"")
    assert not honest.create("log/1", b"other")


class Forgetful:
    """A store whose answers to the first put of each key are lost; the client's own retry sees its object."""

    def __init__(self, store: object) -> None:
        self._store, self._seen = store, set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes, mode: str | None = None) -> object:
        if mode == "create" and key.startswith("log/") and key not in self._seen:
            self._seen.add(key)
            self._store.put(key, data, mode=mode)
        return self._store.put(key, data, mode=mode or "overwrite")


def test_a_put_whose_answer_was_lost_is_recognised_as_our_own(tmp_path: Path) -> None:
    obstore = pytest.importorskip("obstore", reason="obstore is not installed")
    store = ModelStore(RemoteObjects(Forgetful(obstore.store.MemoryStore()), "memory"))
    spec = Model.create(tmp_path / "like", 3).spec
    store.create(ModelSettings(1, spec, 2, False))
    model = Model(store, store.settings())
    for i in range(3):
        done = model.update(block_of(f"b{i}"), f"b{i}")
        assert (done.version, done.n_absorbed, done.versions) == (i + 1, 4, 1)
    assert_serial(model)


def test_what_an_object_store_says_is_translated(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"bucket exists.*AWS_ENDPOINT_URL"):
        Model.create("s3://no-such-bucket-here/model", 3)
    monkeypatch.setattr(
        "streamsvd.store.objects.where.RETRIES",
        {"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot read .*AWS_ACCESS_KEY_ID"):
        Model.open(f"{bucket}/model")
    with pytest.raises(StoreError, match="cannot write .*AWS_ACCESS_KEY_ID"):
        Model.create(f"{bucket}/model", 3)
    assert time.monotonic() - began < 30
    with pytest.raises(StoreError, match="unknown kind nonsense"):
        objects_at("nonsense://x/y")


# Only file systems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["versions", "log", "model.json", "head.json"])
def test_links_are_never_followed(tmp_path: Path, which: str) -> None:
    path = tmp_path / "model"
    Model.create(path, 3).update(block_of("a"), "a")
    elsewhere = tmp_path / "elsewhere"
    (path / which).rename(elsewhere)
    (path / which).symlink_to(elsewhere)
    with pytest.raises(StoreError, match="is a link, which a model has none of"):
        Model.open(path)
    with pytest.raises(StoreError, match="is a link"):
        Model.open(path).update(block_of("b"), "b")


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    Model.create(tmp_path / "link" / "model", 3).update(block_of("a"), "a")
    assert Model.open(tmp_path / "real" / "model").version == 1


def test_half_made_files_are_strays_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(FileSystem):
        """A process that ends between the write and the rename, and tidies nothing."""

        def rename(self, source: Path, target: Path) -> None:
            raise OSError("gone")

        def remove(self, path: Path) -> None:
            raise OSError("gone")

    objects = LocalObjects(tmp_path / "model")
    objects.replace("head.json", b"1")
    with pytest.raises(OSError, match="gone"):
        LocalObjects(tmp_path / "model", Dying()).replace("head.json", b"2")
    (partial,) = (tmp_path / "model").glob("head.json.*.tmp")
    (tmp_path / "model" / "mine.tmp").write_bytes(b"")
    assert objects.strays(3600) == []
    later = time.time() + 3700
    monkeypatch.setattr("time.time", lambda: later)
    assert objects.strays(3600) == [partial.name]


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    Model.create(f"file://{tmp_path}/model", 3).update(block_of("a"), "a")
    assert Model.open(tmp_path / "model").version == 1
