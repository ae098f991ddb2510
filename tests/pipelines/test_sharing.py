"""Steps of one source share one read: the store is asked once, every result is the same bits, and a fault stays where it is."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
import zarr

from streamsvd import Model
from streamsvd.engine.events import PassStarted, SourceRemarked
from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import RunLog
from streamsvd.store.sources.views.shared import SharedReading, SharedSource
from streamsvd.store.sources.zarr_store.array import ZarrSource
from tests.pipelines.kit import (
    StopError,
    Watch,
    assert_same_bits,
    made,
    place_of,
    refusal,
    run_text,
    statuses,
    write,
)

THREE = """
memory = "1GiB"

[sources.a]
path = "wide.zarr"
share = {share}

[[steps]]
name = "eof"
pca = {{source = "a", rank = 3, memory = "64MiB", seed = 1}}

[[steps]]
name = "model"
update = {{source = "a", model = "{share}.model", rank = 3, memory = "64MiB", seed = 1}}

[[steps]]
name = "rows"
sample_rows = {{source = "a", size = 20, memory = "64MiB", seed = 1}}

[[publish]]
step = "eof"
to = "{share}.latest"
"""

SHARED, APART = THREE.format(share="true"), THREE.format(share="false")
NAMES = ("eof", "model", "rows")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The folder of a matrix of some forty chunks, and what is read where each step reads for itself."""
    folder = tmp_path_factory.mktemp("wide folder")
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((8000, 5)) @ rng.standard_normal((5, 60)) + 0.01 * rng.standard_normal((8000, 60))).astype("f4")  # fmt: skip
    zarr.create_array(str(folder / "wide.zarr"), shape=A.shape, dtype=A.dtype, chunks=(200, 60))[:] = A  # fmt: skip
    return folder


@pytest.fixture
def asked(monkeypatch):
    """Bytes that were asked of the store, by everybody."""
    sizes, lock = [], threading.Lock()
    original = ZarrSource.read

    def counted(self, rows, columns, out, /):
        with lock:
            sizes.append(out.nbytes)
        return original(self, rows, columns, out)

    monkeypatch.setattr(ZarrSource, "read", counted)
    return sizes


@pytest.fixture
def narrow(monkeypatch):
    """Chunks that wait take little memory, so that steps go side by side."""
    original = SharedReading.__init__

    def small(self, whole, n_readers, window_bytes):
        original(self, whole, n_readers, 6 * 200 * 60 * 4)

    monkeypatch.setattr(SharedReading, "__init__", small)


@pytest.mark.parametrize("window", ["whole", "narrow"])
def test_three_steps_read_once_and_find_the_same_bits(wide, tmp_path, asked, request, window):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    if window == "narrow":
        request.getfixturevalue("narrow")
    bytes_alone = {}
    for name in NAMES:
        head, *steps = APART.partition("[[publish]]")[0].split("[[steps]]")
        (step,) = (text for text in steps if f'name = "{name}"' in text)
        asked.clear()
        run_text(tmp_path, f"{head}[[steps]]{step.replace('false', 'alone')}", f"state={name}.runs")
        bytes_alone[name] = sum(asked)
    apart = run_text(tmp_path, APART, "state=apart.runs")
    asked.clear()
    together = run_text(tmp_path, SHARED, "state=together.runs")
    assert made(together) == list(NAMES)
    assert sum(asked) <= 1.15 * max(bytes_alone.values()) < 0.8 * sum(bytes_alone.values())
    (read,) = together.reads
    assert read.steps == NAMES
    assert 0 < read.bytes_read < read.asked_bytes
    assert read.peak_bytes <= read.projected_bytes <= 1 << 30
    assert apart.reads == ()
    for name in ("eof", "rows"):
        assert_same_bits(place_of(apart, name), place_of(together, name))
    mine, its = (Model.open(tmp_path / f"{share}.model").as_svd() for share in ("true", "false"))
    np.testing.assert_array_equal(mine.s, its.s)
    np.testing.assert_array_equal(mine.Vh, its.Vh)


def test_steps_that_need_one_another_or_are_there_already_do_not_share(wide, tmp_path):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    text = SHARED.replace('name = "rows"', 'name = "rows"\nneeds = ["eof"]')
    record = run_text(tmp_path, text)
    assert [read.steps for read in record.reads] == [("eof", "model")]
    assert run_text(tmp_path, text).reads == ()
    record = run_text(tmp_path, text, "steps.eof.pca.rank=2")
    assert [read.steps for read in record.reads] == [("eof", "model")]  # a model may have new rows
    assert statuses(record) == {"eof": "done", "model": "unchanged", "rows": "done"}


def test_steps_that_do_not_fit_together_run_one_after_another(wide, tmp_path):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    record = run_text(tmp_path, SHARED, "memory=4MiB")
    assert made(record) == list(NAMES)
    assert record.reads == ()


def test_a_small_source_is_read_by_each_step_unless_it_is_said_to_be_shared(wide, tmp_path):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    assert run_text(tmp_path, SHARED.replace("share = true\n", "")).reads == ()


def test_a_step_that_fails_does_not_take_others_with_it(wide, tmp_path, monkeypatch):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    original = SharedSource.read

    def broken(self, rows, columns, out, /):
        if self.reader == 0 and rows.stop > 4000:
            raise StoreError("this chunk is gone")
        return original(self, rows, columns, out)

    monkeypatch.setattr(SharedSource, "read", broken)
    record = run_text(tmp_path, SHARED)
    assert record.status == "failed"
    assert record.error == "step eof: this chunk is gone"
    assert statuses(record) == {"eof": "failed", "model": "done", "rows": "done"}
    assert not (tmp_path / "true.latest").is_symlink()
    monkeypatch.undo()
    again = run_text(tmp_path, SHARED)
    assert statuses(again) == {"eof": "done", "model": "unchanged", "rows": "unchanged"}


@pytest.mark.parametrize("raised", [StopError, KeyboardInterrupt])
def test_a_callback_that_raises_stops_all_of_them_and_the_next_run_ends_it(wide, tmp_path, raised):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")

    class AtFirstPass(Watch):
        def __call__(self, event):
            if isinstance(event, PassStarted):
                raise self.raised

    with pytest.raises(raised):
        run_text(tmp_path, SHARED, callback=AtFirstPass(raised=raised))
    assert not [
        t for t in threading.enumerate() if t.is_alive() and t.name.startswith("streamsvd-step")
    ]
    (record,) = RunLog(tmp_path / "p.runs").records()
    assert record.status == ("interrupted" if raised is KeyboardInterrupt else "failed")
    assert statuses(record)["eof"] in ("interrupted", "failed")
    assert run_text(tmp_path, SHARED).status == "done"


def test_ctrl_c_in_the_middle_of_a_read_leaves_nothing_that_runs(wide, tmp_path, monkeypatch):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    original, sent = SharedSource.read, threading.Event()

    def interrupt(self, rows, columns, out, /):
        if rows.start >= 1000 and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, rows, columns, out)

    monkeypatch.setattr(SharedSource, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_text(tmp_path, SHARED)
    assert not [
        t for t in threading.enumerate() if t.is_alive() and t.name.startswith("streamsvd-step")
    ]
    (record,) = RunLog(tmp_path / "p.runs").records()
    assert record.status == "interrupted"
    monkeypatch.setattr(SharedSource, "read", original)
    together = run_text(tmp_path, SHARED)
    apart = run_text(tmp_path, APART, "state=apart.runs")
    for name in ("eof", "rows"):
        assert_same_bits(place_of(apart, name), place_of(together, name))


def test_who_watches_is_told_that_steps_share_a_read(wide, tmp_path):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    watch = Watch()
    run_text(tmp_path, SHARED, callback=watch)
    said = [event.text for event in watch.events if isinstance(event, SourceRemarked)]
    assert any("for eof, model, rows" in text for text in said)


def test_memory_of_a_pipeline_is_a_size(wide, tmp_path):
    said = refusal(tmp_path, SHARED.replace('"1GiB"', '"much"'))
    assert said.endswith("at $.memory.")
    assert "much" in said


def test_shared_steps_with_nothing_said_of_memory_share_what_is_left(wide, tmp_path):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    record = run_text(tmp_path, SHARED.replace(', memory = "64MiB"', ""), "memory=256MiB")
    (read,) = record.reads
    assert read.peak_bytes <= read.projected_bytes <= 256 << 20


def test_the_error_of_a_step_names_it_and_other_errors_come_as_they_are(
    wide, tmp_path, monkeypatch
):
    (tmp_path / "wide.zarr").symlink_to(wide / "wide.zarr")
    original = SharedSource.read

    def broken(self, rows, columns, out, /):
        if self.reader == 1:
            raise OSError("the cable is out")
        return original(self, rows, columns, out)

    monkeypatch.setattr(SharedSource, "read", broken)
    with pytest.raises((OSError, StreamSVDError), match="the cable is out"):
        run_pipeline(write(tmp_path, SHARED))
    (record,) = RunLog(tmp_path / "p.runs").records()
    assert statuses(record) == {"eof": "done", "model": "failed", "rows": "done"}
