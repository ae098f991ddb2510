"""A stop is clean: Ctrl-C and SIGTERM keep what was asked to be kept, and the exit code is 130."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli import app
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.testing.spectra import KnownMatrix

ENDLESS = ["--rank", "5", "--tol", "1e-12", "--max-passes", "1000000", "--memory", "256MiB"]


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hard") / "hard.npy"
    np.save(path, KnownMatrix("slow", 3000, 1500).rows(0, 3000))
    return path


def _stop_in_pass(child, number: int, signals: list[int]) -> tuple[str, str]:
    for line in child.stderr:
        if f"pass {number} " in line:
            break
    for sent in signals:
        child.send_signal(sent)
    return child.communicate(timeout=60)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_the_last_whole_pass(start, hard, tmp_path, sent) -> None:
    out = tmp_path / "M.zarr"
    child = start("svd", hard, *ENDLESS, "--out", out, "--json")
    text, err = _stop_in_pass(child, 3, [sent])
    assert child.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().endswith(
        f"streamsvd: interrupted; the result of the last whole pass is in {out}."
    )
    record = json.loads(text)
    assert record["status"] == "interrupted"
    assert record["out"] == str(out)
    assert len(record["certificate"]["sigma_lower"]) == 5
    assert zarr.open_group(str(out), mode="r").attrs["streamsvd"]["info"]["status"] == "interrupted"
    assert [path.name for path in tmp_path.iterdir()] == ["M.zarr"]


def test_a_stop_with_nowhere_to_keep_says_so(start, hard) -> None:
    child = start("pca", hard, *ENDLESS, "--json")
    text, err = _stop_in_pass(child, 2, [signal.SIGINT])
    assert child.returncode == 130
    assert json.loads(text)["status"] == "interrupted"
    assert err.rstrip().endswith("streamsvd: interrupted; nothing was kept.")
    assert "Traceback" not in err


def test_a_stop_before_the_first_pass_leaves_nothing(start, hard, tmp_path) -> None:
    child = start("svd", hard, *ENDLESS, "--out", tmp_path / "M.zarr")
    text, err = _stop_in_pass(child, 1, [signal.SIGINT])
    assert child.returncode == 130
    assert "Traceback" not in err
    kept = [path.name for path in tmp_path.iterdir()]
    assert kept in ([], ["M.zarr"])  # the first pass may just have ended
    assert ("nothing was kept" in err) == (kept == [])
    assert (text == "") == (kept == [])


FURTHER = ("kernels.nystrom.nystrom", "kernels.ridge.kernel_ridge", "streams.verb.top_eigenvectors")


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("verb", ["svd", "pca", "nystrom", "krr fit", "top"])
def test_saves_are_spoken_of_where_there_are_any(
    capsys, tmp_path, monkeypatch, verb, saved
) -> None:
    np.save(tmp_path / "A.npy", np.random.default_rng(0).standard_normal((900, 4)))
    np.save(tmp_path / "y.npy", np.zeros(900))

    def stopped(A, *_: object, checkpoint: str = str(tmp_path / "saves"), **__: object) -> None:
        if saved:
            Checkpoint.from_address(checkpoint, "test").save({"row": 7}, {})
        raise KeyboardInterrupt

    for name in ("cli.factor_run.svd", "cli.factor_run.pca", *FURTHER):
        monkeypatch.setattr(f"streamsvd.{name}", stopped)
    target = ["--rank", "2"] if verb in ("svd", "pca") else []
    if verb == "krr fit":
        target = ["--y", tmp_path / "y.npy", "--out", tmp_path / "fit.npz"]
    place = tmp_path / "saves"
    given = [*verb.split(), tmp_path / "A.npy", *target, "--checkpoint", place, "--json"]
    assert app.run([str(each) for each in given], app.StopHandler(got_signal=True)) == 130
    out, err = capsys.readouterr()
    sentence = (
        f"interrupted; what was saved is in {place}, and the same command goes on from it."
        if saved
        else "interrupted; nothing was kept."
    )
    assert json.loads(out)["message"] == sentence
    assert err.endswith(f"streamsvd: {sentence}\n")


def test_more_signals_do_not_spoil_the_first(start, hard, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    child = start("svd", hard, *ENDLESS, "--out", out, "--json")
    text, err = _stop_in_pass(child, 3, [signal.SIGINT, signal.SIGTERM, signal.SIGTERM])
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert json.loads(text)["status"] == "interrupted"


def test_an_error_that_an_interrupt_became_is_an_interrupt(capsys, monkeypatch) -> None:
    stop = app.StopHandler()

    def broken(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            stop(signal.SIGINT, None)
        raise RuntimeError("release unlocked lock")

    monkeypatch.setattr("streamsvd.engine.opening.open", broken)
    assert app.run(["info", "A.zarr"], stop) == 130
    assert capsys.readouterr().err == "streamsvd: interrupted; nothing was kept.\n"


def test_a_second_stop_ends_a_clean_up_and_not_what_is_said_at_the_end(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(app.time, "monotonic", lambda: clock[0])
    stop = app.StopHandler()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stop(signal.SIGINT, None)
        stop(signal.SIGINT, None)  # the same one still
        clock[0] += app.SIGNAL_GAP_S
    stop(signal.SIGTERM, None)  # asked already
    stop.ignores_signals = True
    stop(signal.SIGINT, None)


@pytest.mark.parametrize("wait", [0.0, 0.05])
@pytest.mark.parametrize("kept", [True, False])
def test_any_number_of_stops_is_one(start, hard, tmp_path, wait, kept) -> None:
    out = tmp_path / "M.zarr"
    child = start("svd", hard, *ENDLESS, "--u", "--out", out)
    for line in child.stderr:
        if f"pass {3 if kept else 1} " in line:
            break
    while child.poll() is None:
        child.send_signal(signal.SIGINT)
        time.sleep(wait)
    text, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    last = err.rstrip().splitlines()[-1]
    assert last.startswith("streamsvd: interrupted; ")
    left = [path.name for path in tmp_path.iterdir()]
    if "nothing was kept" in last:
        assert (left, text) == ([], "")
    else:
        assert left == ["M.zarr"]
        assert streamsvd.load(out).rank == 5
        assert "interrupted: 5 singular values certified" in text
