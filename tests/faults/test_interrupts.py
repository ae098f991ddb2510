"""Ctrl-C in the middle: the last whole look is kept where the user asked for it, and nothing half-made."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore

import streamsvd
from streamsvd.engine.events import Event, PassDone, PassStarted, ResultWritten, SpanDone
from streamsvd.factor import run as factorise_module
from streamsvd.store.places import local as local_place
from streamsvd.store.results import writer as result_module
from streamsvd.store.results.reader import read_result
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import Rows, assert_right

KINDS = [PassStarted, SpanDone, PassDone]


@pytest.fixture(scope="module")
def A() -> Any:
    return KnownMatrix("slow", 2000, 200, "float64").rows(0, 2000)


def interrupted(A: Any, kind: type, number: int, **options: Any) -> None:
    """A run that is interrupted by its own callback, once."""
    struck = []

    def strike(event: Event) -> None:
        if isinstance(event, kind) and event.number == number and not struck:
            struck.append(event)
            raise KeyboardInterrupt

    source = Rows(A, 100)
    shape = {k: options[k] for k in ("u", "out") if k in options}
    plan = streamsvd.plan_svd(
        source, 10, axis=options.pop("axis", "rows"), route="krylov", tol=1e-6, **shape
    )
    with pytest.raises(KeyboardInterrupt):
        streamsvd.svd(source, 10, plan=plan, callback=strike, **options)
    assert struck


@pytest.mark.parametrize("u", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_first_pass_has_learnt_is_kept_when_the_second_is_interrupted(
    A, kind, u, tmp_path
):
    out = tmp_path / "M.zarr"
    interrupted(A, kind, 2, out=out, u=u)
    kept = read_result(out)
    assert kept.info.status is streamsvd.Status.INTERRUPTED
    assert kept.rank == 10
    assert kept.U is None
    assert len(kept.info.widths) == 1
    assert_right(kept, A, rank=10)
    assert kept.certificate.relative_width == pytest.approx(kept.info.widths[-1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M.zarr"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_pass_that_is_interrupted_leaves_nothing(A, kind, tmp_path):
    interrupted(A, kind, 1, out=tmp_path / "M.zarr")
    assert not any(tmp_path.iterdir())


def test_without_a_place_nothing_is_written(A, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupted(A, SpanDone, 2)
    assert not any(tmp_path.iterdir())


def test_an_interrupt_while_u_is_written_keeps_the_values_without_it(A, tmp_path):
    seen: list[Event] = []
    source = Rows(A, 100)
    plan = streamsvd.plan_svd(source, 10, axis="rows", route="krylov", u=True, out="x", tol=1e-3)
    streamsvd.svd(source, 10, plan=plan, u=True, out=tmp_path / "whole.zarr", callback=seen.append)
    last = max(e.number for e in seen if isinstance(e, PassStarted))

    def strike(event: Event) -> None:
        if isinstance(event, SpanDone) and event.number == last and event.n_finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamsvd.svd(source, 10, plan=plan, u=True, out=tmp_path / "M.zarr", callback=strike)
    kept, whole = streamsvd.load(tmp_path / "M.zarr"), streamsvd.load(tmp_path / "whole.zarr")
    assert kept.U is None
    assert kept.info.status is streamsvd.Status.INTERRUPTED
    np.testing.assert_array_equal(kept.s, whole.s)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M.zarr", "whole.zarr"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_span_that_is_still_writing_is_waited_for(A, tmp_path, monkeypatch, error):
    """Otherwise what it writes would lie beside the result, or in it, after everything was cleaned up."""
    seen: list[Event] = []
    source = Rows(A, 100)
    plan = streamsvd.plan_svd(source, 10, axis="rows", route="krylov", u=True, out="x")
    plan = replace(plan, workers=2, at_once=2, prefetch=False)
    streamsvd.svd(source, 10, plan=plan, callback=seen.append, out=tmp_path / "whole", u=True)
    last = max(e.number for e in seen if isinstance(e, PassStarted))
    begun = threading.Event()
    original = LocalStore.set

    async def slow(self: Any, key: str, value: Any, *more: Any) -> None:
        if begun.is_set() and key.startswith("c/"):
            await asyncio.sleep(0.5)
        await original(self, key, value, *more)

    def strike(event: Event) -> None:
        if isinstance(event, SpanDone) and event.number == last:
            begun.set()
            if event.n_finished == 2:
                raise error

    monkeypatch.setattr(LocalStore, "set", slow)
    if hasattr(LocalStore, "set_sync"):
        at_once = LocalStore.set_sync

        def slow_sync(self: Any, key: str, value: Any) -> None:
            if begun.is_set() and key.startswith("c/"):
                time.sleep(0.5)
            at_once(self, key, value)

        monkeypatch.setattr(LocalStore, "set_sync", slow_sync)
    with pytest.raises(error):
        streamsvd.svd(source, 10, plan=plan, u=True, out=tmp_path / "M.zarr", callback=strike)
    time.sleep(1)
    kept = ["M.zarr"] if error is KeyboardInterrupt else []
    assert sorted(p.name for p in tmp_path.iterdir()) == [*kept, "whole"]
    if kept:
        assert streamsvd.load(tmp_path / "M.zarr").U is None


def test_an_earlier_result_stays_where_nothing_was_learnt_that_could_replace_it(A, tmp_path):
    out = tmp_path / "M.zarr"
    streamsvd.svd(A, 3, out=out)
    interrupted(A, SpanDone, 1, out=out, overwrite=True)
    assert streamsvd.load(out).rank == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M.zarr"]


def test_along_columns_there_is_no_right_factor_to_keep_yet(A, tmp_path):
    interrupted(A, SpanDone, 2, out=tmp_path / "M.zarr", axis="columns")
    assert not any(tmp_path.iterdir())


def test_an_interrupted_run_does_not_disturb_the_next(A):
    interrupted(A, SpanDone, 2)
    result = streamsvd.svd(Rows(A, 100), 3)
    assert result.info.status is streamsvd.Status.CONVERGED


@pytest.mark.parametrize(
    ("module", "at"), [(result_module, "_write_record"), (local_place, "put_in_place")]
)
def test_a_result_on_its_way_to_disk_arrives_whole(A, tmp_path, monkeypatch, module, at):
    """The interrupt comes when the result is there and has been told of; the one before is gone."""
    out, told = tmp_path / "M.zarr", []
    streamsvd.svd(A, 3, out=out)
    original = getattr(module, at)

    def struck(*arguments: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        original(*arguments, **options)

    monkeypatch.setattr(module, at, struck)
    with pytest.raises(KeyboardInterrupt):
        streamsvd.svd(A, 4, out=out, overwrite=True, callback=told.append)
    assert told[-1] == ResultWritten(str(out))
    assert streamsvd.load(out).rank == 4
    assert read_result(out).info.status is streamsvd.Status.CONVERGED
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M.zarr"]


def test_a_second_interrupt_waits_for_what_the_first_has_left(A, tmp_path, monkeypatch):
    drop = result_module.ResultWriter.drop_u

    def struck(self: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        drop(self)

    monkeypatch.setattr(result_module.ResultWriter, "drop_u", struck)
    interrupted(A, SpanDone, 2, out=tmp_path / "M.zarr", u=True)
    assert streamsvd.load(tmp_path / "M.zarr").info.status is streamsvd.Status.INTERRUPTED
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M.zarr"]


def test_a_clean_up_that_fails_leaves_nothing(A, tmp_path, monkeypatch):
    monkeypatch.setattr(factorise_module, "compute_factors", lambda *_, **__: 1 / 0)
    source = Rows(A, 100)
    plan = streamsvd.plan_svd(source, 10, axis="rows", route="krylov", tol=1e-6)

    def strike(event: Event) -> None:
        if isinstance(event, SpanDone) and event.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError):
        streamsvd.svd(source, 10, plan=plan, out=tmp_path / "M.zarr", callback=strike)
    assert not any(tmp_path.iterdir())
