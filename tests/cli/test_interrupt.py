"""A stop is clean: Ctrl-C and SIGTERM keep what was asked to be kept, and the exit code is 130."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import zarr

from streamsvd.cli import app
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


def test_more_signals_do_not_spoil_the_first(start, hard, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    child = start("svd", hard, *ENDLESS, "--out", out, "--json")
    text, err = _stop_in_pass(child, 3, [signal.SIGINT, signal.SIGTERM, signal.SIGTERM])
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert json.loads(text)["status"] == "interrupted"


def test_an_error_that_an_interrupt_became_is_an_interrupt(capsys, monkeypatch) -> None:
    stop = app.Stop()

    def broken(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            stop(signal.SIGINT, None)
        raise RuntimeError("release unlocked lock")

    monkeypatch.setattr("streamsvd.drivers.opening.open", broken)
    assert app.run(["info", "A.zarr"], stop) == 130
    assert capsys.readouterr().err == "streamsvd: interrupted; nothing was kept.\n"
    stop(signal.SIGTERM, None)  # asked already
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGINT, None)
