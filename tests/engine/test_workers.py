"""What is said of workers that differ, with a client that answers as it is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from distributed.comm.core import CommClosedError

import streamsvd
from streamsvd.engine import worker_checks as module
from streamsvd.engine.worker_checks import inspect_workers, worker_warnings
from streamsvd.engine.worker_report import kernels, report, versions
from streamsvd.errors import BudgetError, SpecError, StoreError, StreamSVDError
from streamsvd.store.sight import FileAddress, Sight, addresses


class Client:
    """Workers that answer as this process would, but for what ``change`` does to an answer."""

    def __init__(self, change: Any = lambda answer, asked: answer, **known: Any) -> None:
        self.change, self.asked, self.calls = change, 0, []
        self.own_version: Any = ValueError()
        self.silent = ""
        self.known = {f"tcp://{i}": {"name": i, "memory_limit": 0} | known for i in (1, 2)}

    @property
    def scheduler(self) -> Any:
        return SimpleNamespace(identity=lambda n_workers: {"workers": self.known})

    def sync(self, function: Any, *asked: Any, callback_timeout: float = 0, **options: Any) -> Any:
        assert callback_timeout or options == {"n_workers": -1}
        return function(*asked, **options)

    def _run(self, function: Any, *asked: Any, workers: Any, on_error: str) -> Any:
        assert on_error == "return"
        if self.silent in workers:
            raise TimeoutError
        if function is int:
            return dict.fromkeys(workers, 0)
        if function is eval:
            return {w: self.own_version for w in workers}
        assert function is report
        self.asked += 1
        self.calls.append(list(workers))
        answer = asyncio.run(function(*asked))
        return {
            w: self.change(dict(answer), self.asked) if w == "tcp://2" else answer for w in workers
        }


@pytest.fixture
def A(tmp_path):
    values = np.random.default_rng(0).standard_normal((40, 5))
    array = zarr.create_array(str(tmp_path / "A.zarr"), shape=(40, 5), chunks=(10, 5), dtype="f8")
    array[...] = values
    return streamsvd.open(tmp_path / "A.zarr")


def changed(**items):
    return lambda answer, _: answer | items


def sights(*, until=99, **items):
    def change(answer, asked):
        one = dict(zip(("metadata", "chunk", "error"), answer["sights"][0], strict=True))
        found = tuple((one | items).values())
        return answer | ({"sights": [found]} if asked <= until else {})

    return change


def test_equal_workers_are_asked_once_in_a_while(A, monkeypatch):
    client = Client()
    inspect_workers(client, A)
    inspect_workers(client, A)
    assert client.calls == [["tcp://1", "tcp://2"]]
    client.known["tcp://3"] = {"name": 3}
    inspect_workers(client, A)
    assert client.calls[1:] == [["tcp://3"]]
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    inspect_workers(client, A)
    assert len(client.calls[2]) == 3


@pytest.mark.parametrize("package", ["streamsvd", "numpy", "zarr", "dask"])
def test_another_version_is_named(A, package):
    other = versions() | {package: "0.1.2.3"}
    said = (
        rf"worker 2 at tcp://2 has {package} 0.1.2.3, this process .* Install {package} .* there\."
    )
    with pytest.raises(StreamSVDError, match=said):
        inspect_workers(Client(changed(versions=other)), A)


def test_other_code_of_the_same_version_is_named(A):
    with pytest.raises(StreamSVDError, match=r"worker 2 .* with other code than this process"):
        inspect_workers(Client(changed(versions=versions() | {"code": "other"})), A)


@pytest.mark.parametrize(
    ("sight", "said"),
    [
        ({"metadata": None, "chunk": None}, r"does not see .*A.zarr: zarr.json is not there"),
        ({"metadata": "other"}, r"sees another .*A.zarr than this process: zarr.json differs"),
        ({"chunk": None}, r"sees .*A.zarr without its chunk 'c/0/0'"),
        ({"chunk": "other"}, r"sees other values in chunk 'c/0/0' of .*A.zarr"),
        ({"error": "[Errno 13] Permission denied"}, r"cannot read .*A.zarr: .*Permission denied"),
    ],
)
def test_what_a_worker_does_not_see_is_said_with_what_to_do(A, sight, said):
    client = Client(sights(**sight))
    with pytest.raises(StoreError, match=said + r".*mount the folder there under the same path"):
        inspect_workers(client, A)
    assert client.asked == module.LOOK_TRIES
    passing = Client(sights(until=1, **sight))  # someone wrote just then
    inspect_workers(passing, A)
    assert passing.asked == 2


def test_the_memory_of_a_worker_is_held_against_what_its_tasks_take(A):
    used, limit = changed(used=100 << 20), 1 << 50  # one answers with what this process takes
    inspect_workers(Client(used, memory_limit=limit), A, needs=limit >> 1)
    inspect_workers(Client(used, memory_limit=0), A, needs=1 << 60)
    said = r"a pass over .*A.zarr needs .* worker 1 at tcp://1, whose limit is 1.02e\+03 TiB, allows.*--memory-limit"
    with pytest.raises(BudgetError, match=said):
        inspect_workers(Client(used, memory_limit=limit), A, needs=limit)


def test_a_worker_with_fewer_threads_takes_less(A):
    used, limit = changed(used=0), 1 << 50
    client = Client(used, memory_limit=limit, nthreads=3)
    client.known["tcp://2"] |= {"nthreads": 1, "memory_limit": limit >> 1}
    inspect_workers(client, A, needs=limit >> 1)
    client.known["tcp://2"] |= {"memory_limit": limit >> 2}
    with pytest.raises(BudgetError, match=r"worker 2 at tcp://2, whose limit is 256 TiB"):
        inspect_workers(client, A, needs=(limit >> 1) + 2)


def test_an_array_in_memory_that_workers_cannot_hold_is_refused_before_it_is_sent():
    values = np.ones((10_000, 1000))
    client = Client(changed(used=100 << 20), memory_limit=150 << 20)
    client.known = {"tcp://2": client.known["tcp://2"]}
    said = r"76.3 MiB that lie in the memory .* worker 2 at tcp://2, whose limit is 150 MiB, has 50 MiB left. Write it to zarr"
    with pytest.raises(SpecError, match=said):
        inspect_workers(client, streamsvd.open(values), needs=20 << 20)
    client.known["tcp://2"]["memory_limit"] = 250 << 20
    inspect_workers(client, streamsvd.open(values), needs=20 << 20)


def test_kernels_that_differ_between_workers_are_a_warning(A):
    assert worker_warnings(None) == []
    same = Client()
    inspect_workers(same, A)
    assert worker_warnings(same) == []
    client = Client(changed(kernels="aarch64, numpy 2"))
    inspect_workers(client, A)
    (warning,) = worker_warnings(client)
    assert "1 has aarch64, numpy 2 (tcp://2)" in warning
    assert kernels() in warning
    del client.known["tcp://2"]
    assert worker_warnings(client) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.0.1", r"worker 2 .* has streamsvd 0.0.1, this process .* Install streamsvd"),
        (ModuleNotFoundError("x"), r"worker 2 at tcp://2 has no streamsvd, this process"),
        (streamsvd.__version__, r"with other code than this process \(ModuleNotFoundError: x\)"),
        (OSError("x"), r"cannot load what this process sends: ModuleNotFoundError: x"),
    ],
)
def test_a_worker_that_cannot_load_the_question_is_asked_for_its_version(A, version, said):
    client = Client(lambda *_: ModuleNotFoundError("x"))
    client.own_version = version
    with pytest.raises(StreamSVDError, match=said):
        inspect_workers(client, A)


@pytest.mark.parametrize(
    "error", [CommClosedError("gone"), ConnectionRefusedError(), TimeoutError()]
)
def test_a_worker_that_left_is_not_waited_for(A, error):
    client = Client(lambda *_: error)
    inspect_workers(client, A)
    inspect_workers(client, A)
    assert client.calls == [["tcp://1", "tcp://2"], ["tcp://2"]]


def test_a_worker_that_hangs_is_named(A):
    client = Client()
    client.silent = "tcp://2"
    with pytest.raises(
        StreamSVDError, match=r"worker tcp://2 gave no answer within 60 s: .*End it"
    ):
        inspect_workers(client, A)


def test_a_worker_that_cannot_be_reached_is_named_unless_it_left(A):
    error = OSError("Timed out trying to connect to tcp://2 after 30 s")
    client = Client(lambda *_: error)
    with pytest.raises(
        StreamSVDError, match=r"worker 2 at tcp://2 cannot be reached, .*: Timed out .* End it"
    ):
        inspect_workers(client, A)

    def leave(*_):
        client.known.pop("tcp://2", None)
        return error

    client.change = leave
    inspect_workers(client, A)


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'streamsvd'"), AttributeError("x")]
)
def test_a_worker_that_cannot_load_us_is_told_what_to_install(A, error):
    said = rf"worker 2 .* cannot load what this process sends: {type(error).__name__}: .*Install"
    with pytest.raises(StreamSVDError, match=said):
        inspect_workers(Client(lambda *_: error), A)


def test_a_worker_that_cannot_open_an_address_is_refused(A):
    with pytest.raises(
        StoreError, match=r"worker 2 .* cannot open what this process reads: .*A.zip"
    ):
        inspect_workers(Client(lambda *_: FileNotFoundError(2, "No such file", "A.zip")), A)


def test_what_cannot_be_sent_is_refused(A, monkeypatch):
    client = Client()
    monkeypatch.setattr(
        client, "_run", lambda *_, **__: (_ for _ in ()).throw(TypeError("cannot pickle"))
    )
    with pytest.raises(
        SpecError, match=r"A.zarr cannot be sent to workers: cannot pickle. Pass a path"
    ):
        inspect_workers(client, A)


def test_what_is_in_memory_is_not_looked_at(tmp_path):
    values = np.ones((20, 3))
    store = zarr.storage.MemoryStore()
    zarr.create_array(store, shape=(20, 3), dtype="f8")[...] = values
    for source in (streamsvd.open(values), streamsvd.open(store)):
        assert addresses(source) == []
    reader = SimpleNamespace(
        shape=(20, 3), dtype=np.dtype("f8"), chunks=(5, 3), read=lambda r: values[r]
    )
    assert addresses(streamsvd.open(reader)) == []
    inspect_workers(Client(), streamsvd.open(values))


def test_a_large_collection_is_looked_at_here_and_there(tmp_path):
    group = zarr.open_group(str(tmp_path / "C.zarr"), mode="w")
    for i in range(40):
        group.create_array(f"x{i:02}", shape=(4, 2), dtype="f8")[...] = i
    found = addresses(streamsvd.open_collection(tmp_path / "C.zarr"))
    assert len(found) == 16
    assert found[0].name.endswith("x00")
    assert found[-1].name.endswith("x39")
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    (one,) = addresses(streamsvd.open(tmp_path / "x.npy"))
    assert one == FileAddress(tmp_path / "x.npy", 128)
    assert one.look().metadata is not None
    (tmp_path / "x.npy").unlink()
    assert one.look() == Sight()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_chunk_that_is_there_is_looked_at(tmp_path, zarr_format, sharded):
    options = {"shards": (20, 5)} if sharded and zarr_format == 3 else {}
    array = zarr.create_array(
        str(tmp_path / "A.zarr"),
        shape=(40, 5),
        chunks=(10, 5),
        dtype="f8",
        zarr_format=zarr_format,
        **options,
    )
    array[30:] = 1.0
    (address,) = addresses(streamsvd.open(tmp_path / "A.zarr"))
    before = address.look()
    assert before.chunk is not None
    array[30:] = 2.0
    assert address.look().chunk != before.chunk
    assert address.look().metadata == before.metadata
    array.update_attributes({"scale_factor": 2.0})
    assert address.look().metadata != before.metadata
