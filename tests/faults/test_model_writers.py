"""Many writers, stopped writers, and readers beside them (P2, P6, P7, P16)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streamsvd import ConflictError, Model, SpecError, StoreError, update
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.store.objects import objects_at
from streamsvd.store.objects.posix import FileSystem, LocalObjects
from streamsvd.store.versions import (
    ModelStore,
    check_store,
    lease,
    leased_versions,
    release,
    republish,
)
from tests.faults.model_kit import (
    applied,
    assert_chain,
    assert_serial,
    block_of,
    model_with,
    serial,
)

WRITERS, BLOCKS = 4, 50


def write_blocks(path: str, names: list[str], told: Connection) -> None:
    """Absorb these; every one is acknowledged."""
    for name in names:
        done = update(path, block_of(name), name, rank=3)
        assert done.n_absorbed
        told.send(name)
    told.send("done")


def read_for_ever(path: str, told: Connection) -> None:
    """Open the model again and again; every version seen must be whole."""
    model = Model.open(path)
    told.send("ready")
    seen = 0
    newest = 0
    while True:
        model = Model.open(path) if seen % 2 else model.refresh()
        assert model.version >= newest, "a reader went back in time"
        newest = model.version
        if newest:
            names = applied(model)
            assert model.n_rows == 4 * len(names)
            np.testing.assert_allclose(model.s, serial(names), rtol=1e-9)
            assert model.summary.n_rows == model.n_rows
        seen += 1
        told.send(seen)


def verify_for_ever(path: str, told: Connection) -> None:
    """A check beside writers finds no damage where there is none."""
    told.send("ready")
    seen = 0
    while True:
        damage = Model.open(path).verify()
        assert damage == [], str(damage[0])
        seen += 1
        told.send(seen)


def drained(told: Connection) -> list[object]:
    found = []
    try:
        while told.poll():
            found.append(told.recv())
    except (EOFError, OSError):
        pass
    return found


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["streamsvd.models", "tests.faults.model_kit"])
    return context


def start(server: multiprocessing.context.ForkServerContext, target: object, *args: object):
    here, there = server.Pipe(duplex=False)
    process = server.Process(target=target, args=(*args, there), daemon=True)
    process.start()
    there.close()
    return process, here


def test_many_writers_lose_nothing_and_readers_see_whole_versions(
    tmp_path: Path, server: multiprocessing.context.ForkServerContext
) -> None:
    """Four processes, fifty blocks each, few versions kept, a reader and a check beside them."""
    path = tmp_path / "model"
    Model.create(path, 3, keep=2)
    lists = [[f"w{w}-{i}" for i in range(BLOCKS)] for w in range(WRITERS)]
    writers = [start(server, write_blocks, str(path), names) for names in lists]
    beside = [start(server, work, str(path)) for work in (read_for_ever, verify_for_ever)]
    acknowledged: set[object] = set()
    for (process, told), names in zip(writers, lists, strict=True):
        process.join(120)
        found = drained(told)
        assert found[-1:] == ["done"], f"a writer failed after {found[-1:]}"
        acknowledged |= set(found[:-1])
        assert found[:-1] == names
    for process, told in beside:
        alive = process.is_alive()
        process.kill()
        process.join()
        assert alive, "a reader failed beside the writers"
        assert len(drained(told)) > 3
    model = Model.open(path)
    assert set(assert_serial(model)) == acknowledged
    assert len(acknowledged) == WRITERS * BLOCKS
    assert_chain(path)
    assert ModelStore(objects_at(path)).head() == model.version, "the head is not behind"
    assert model.verify() == []


class Stopping(FileSystem):
    """Stops the process before one of its calls, as a machine that hangs does."""

    def __init__(self, call: str) -> None:
        self._call = call

    def _stop(self, call: str, path: Path) -> None:
        if call == self._call and "leases" not in path.parts:
            self._call = ""
            os.kill(os.getpid(), signal.SIGSTOP)

    def link(self, source: Path, target: Path) -> None:
        self._stop("link", target)
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._stop("rename", target)
        super().rename(source, target)

    def write(self, path: Path, data: bytes) -> None:
        if "versions" in path.parts:
            self._stop("write", path)
        super().write(path, data)


def write_stopped(path: str, call: str, told: Connection) -> None:
    done = model_with(Path(path), Stopping(call)).update(block_of("zombie"), "zombie")
    told.send((done.skip_reason, done.n_absorbed, done.version))


@pytest.mark.parametrize("call", ["write", "link", "rename"])
def test_a_writer_that_was_stopped_cannot_fork_the_lineage(
    tmp_path: Path, server: multiprocessing.context.ForkServerContext, call: str
) -> None:
    """Others take its place, and collect what it had begun; then it goes on."""
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2)
    for i in range(3):
        model.update(block_of(f"b{i}"), f"b{i}")
    process, told = start(server, write_stopped, str(path), call)
    for _ in range(2000):
        if "T (stopped)" in Path(f"/proc/{process.pid}/status").read_text():
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the writer never stopped")
    for i in range(3, 9):
        model.update(block_of(f"b{i}"), f"b{i}")
    model.collect()
    assert model.verify() == []
    before = {entry.version: entry for entry in model.versions}
    os.kill(process.pid, signal.SIGCONT)
    assert told.poll(60), "the writer did not come back"
    skipped, absorbed, version = told.recv()
    process.join()
    assert skipped == ""
    assert absorbed == 4
    after = Model.open(path)
    assert sorted(assert_serial(after)) == sorted([f"b{i}" for i in range(9)] + ["zombie"])
    assert_chain(path)
    assert {e.version: e for e in after.versions if e.version in before} == before
    assert version == after.version if call != "rename" else version == 4
    assert ModelStore(objects_at(path)).head() == after.version, "the head did not go back"
    assert after.verify() == []


def test_a_commit_with_a_number_that_is_taken_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3)
    model.update(block_of("a"), "a")
    store = ModelStore(objects_at(path))
    first = store.manifest(1)
    model.update(block_of("b"), "b")
    with pytest.raises(ConflictError, match="another writer"):
        republish(store, first, 1, "rollback")
    assert len(list((path / "versions").iterdir())) == 2
    assert_serial(Model.open(path))


# Readers and collection -------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["open", "load", "begin", "publish"])
@pytest.mark.parametrize("options", [{}, {"rank": 3}, {"rank": 2}, {"keep": 4}])
def test_writers_that_both_make_the_model_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, options: dict[str, int]
) -> None:
    """Another writer makes it while we do; both blocks are in, or the options are told to differ."""
    path = tmp_path / "m"
    owner = {"open": Model, "load": LoadedVersion}.get(moment, ModelStore)
    real = getattr(owner, moment)

    def overtaken(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, moment, real)
        update(path, block_of("b"), "b", rank=3, keep=5)
        return real(*arguments, **named)

    monkeypatch.setattr(owner, moment, overtaken)
    if options in ({}, {"rank": 3}):
        assert update(path, block_of("a"), "a", **options).n_rows == 8
        assert applied(Model.open(path)) == ["b", "a"]
    else:
        with pytest.raises(SpecError, match=r"was asked, the model was made with (rank=3|keep=5)"):
            update(path, block_of("a"), "a", **options)
        assert applied(Model.open(path)) == ["b"]
    found = ModelStore(objects_at(path))
    assert (found.settings().keep, found.settings().spec.rank) == (5, 3)
    assert check_store(found)[0] == []


def test_two_processes_make_one_model(tmp_path: Path) -> None:
    for trial in range(8):
        path = str(tmp_path / f"m{trial}")
        here, there = multiprocessing.Pipe()
        names = ["a", "b"]
        started = [
            multiprocessing.Process(target=write_blocks, args=(path, [name], there))
            for name in names
        ]
        for one in started:
            one.start()
        for one in started:
            one.join(60)
        assert [one.exitcode for one in started] == [0, 0]
        assert sorted(assert_serial(Model.open(path))) == names
        here.close()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_version_that_is_not_finite_is_not_written(tmp_path: Path, value: float) -> None:
    model = Model.create(tmp_path / "m", 3)
    model.update(block_of("a"), "a")
    store, manifest = model._held.store, model._held.manifest
    assert manifest is not None
    wrong = msgspec.structs.replace(
        manifest, version=2, summary=msgspec.structs.replace(manifest.summary, error=value)
    )
    with pytest.raises(StoreError, match=r"version 2 of .*is not finite .*summary.error"):
        store.publish(store.draft(2), wrong)
    assert Model.open(tmp_path / "m").version == 1
    assert check_store(store) == ([], 1)


def test_a_leased_version_outlives_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2, u=True)
    for i in range(3):
        model.update(block_of(f"b{i}"), f"b{i}")
    store = ModelStore(objects_at(path))
    held = lease(store, 2)
    for i in range(3, 12):
        model.update(block_of(f"b{i}"), f"b{i}")
    model.collect()
    old = Model.open(path, version=2)
    assert assert_serial(old) == ["b0", "b1"]
    assert old.U[:].shape == (8, 3)
    with pytest.raises(StoreError, match="missing"):
        Model.open(path, version=1)
    release(store, held)
    assert model.collect() == 0  # whoever reads left vectors of an earlier version has leased it
    assert old.U[2:5].shape == (3, 3)
    for key in store.objects.keys("leases"):
        release(store, key)
    assert model.collect() > 0
    with pytest.raises(StoreError, match="missing"):
        Model.open(path, version=2)
    assert model.verify() == []


def test_a_lease_that_has_run_out_or_names_nothing_protects_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2)
    for i in range(4):
        model.update(block_of(f"b{i}"), f"b{i}")
    store = ModelStore(objects_at(path))
    lease(store, 1, seconds=-1.0)
    lease(store, 10**9)
    assert model.collect() > 0
    lease(store, 1)  # too late: it is gone, and collecting goes on
    model.update(block_of("more"), "more")
    assert model.collect() > 0
    with pytest.raises(StoreError, match="missing"):
        Model.open(path, version=1)
    assert len(leased_versions(store)) == 2


@pytest.mark.parametrize("keep", [2, 3, 5])
def test_as_many_versions_are_kept_as_were_asked_for(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=keep)
    for i in range(8):  # the eighth collects by itself
        model.update(block_of(f"b{i}"), f"b{i}")
    assert len(list((path / "versions").iterdir())) == keep
    for version in range(8 - keep + 1, 9):
        assert len(Model.open(path, version=version).blocks) == version
    model.rollback(8 - keep + 1)
    assert len(assert_serial(Model.open(path))) == 8 - keep + 1


def test_the_draft_of_a_writer_at_work_is_not_collected(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2, u=True)
    for i in range(4):
        model.update(block_of(f"b{i}"), f"b{i}")
    store = ModelStore(LocalObjects(path))
    draft = store.draft(5)
    draft.add({"u-0": np.ones((2, 3))})
    store.flush(draft)
    model.collect()
    assert sorted(p.name for p in (path / draft.folder).iterdir()) == ["u-0", "zarr.json"]
    model.update(block_of("taken"), "taken")  # now it can never be committed
    model.collect()
    assert not (path / draft.folder).exists()


def test_versions_that_were_rolled_back_stay_whole_while_they_are_kept(tmp_path: Path) -> None:
    """Left vectors belong to blocks that the newest version does not have, and a kept one does."""
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2, u=True)
    for i in range(5):
        model.update(block_of(f"b{i}"), f"b{i}")
    model.rollback(4)
    model.collect()
    assert model.verify() == []
    assert len(Model.open(path, version=5).blocks) == 5
    assert Model.open(path, version=5).U[:].shape == (20, 3)
    model.rollback(5)
    assert len(assert_serial(model)) == 5
    assert model.U[:].shape == (20, 3)


def test_blocks_beyond_a_segment_are_folded_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2)
    for i in range(70):
        model.update(block_of(f"b{i}"), f"b{i}")
    again = Model.open(path)
    assert applied(again) == [f"b{i}" for i in range(70)]
    assert again.update(block_of("b3"), "b3").skip_reason == "known"
    again.collect()
    assert check_store(ModelStore(objects_at(path))) == ([], 70)
