"""Every error is one sentence on stderr, one object where JSON was asked for, and the right exit code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

import streamsvd
from streamsvd.cli import app

CASES = [
    # arguments, exit code, class, sentence
    ("info nothere.zarr", 1, "StoreError", r"nothere\.zarr does not exist\."),
    (
        "info row.npy",
        2,
        "ShapeError",
        r"row\.npy has 1 dimension\(s\), shape \(60,\); a matrix needs two",
    ),
    ("info objects.npy", 1, "StoreError", r"objects\.npy is not a complete \.npy file of numbers"),
    (
        "plan grid.zarr --rank 2",
        2,
        "SpecError",
        r"\(time: 40, lat: 5, lon: 6\).* --rows time; the others",
    ),
    (
        "info grid.zarr --rows time,",
        2,
        "UsageError",
        r"Invalid value for '--rows': a name is empty",
    ),
    ("info grid.zarr --rows depth", 2, "SpecError", r"has no dimension 'depth'"),
    ("info grid.zarr --variable u10", 2, "SpecError", r"has no variable 'u10'; it holds 't2m'"),
    ("plan verify A.zarr", 2, "UsageError", r"Missing argument 'SOURCE'"),
    ("svd A.zarr", 2, "SpecError", r"Pass --rank, --energy or --tol\."),
    ("svd A.zarr --rank 0", 2, "ShapeError", r"--rank 0 is below 1"),
    (
        "svd A.zarr --rank 61",
        2,
        "ShapeError",
        r"--rank 61 is more than the 60 singular values of A",
    ),
    (
        "svd A.zarr --rank five",
        2,
        "UsageError",
        r"Invalid value for '--rank': 'five' is not a valid integer",
    ),
    (
        "svd A.zarr --rank 5 --energy 0.5",
        2,
        "SpecError",
        r"--rank 5 and --energy 0\.5 exclude each other",
    ),
    ("svd A.zarr --energy 1.5", 2, "SpecError", r"--energy 1\.5 is no share of the energy"),
    ("svd A.zarr --rank 5 --tol 7", 2, "SpecError", r"--tol 7\.0 is out of range"),
    ("svd A.zarr --rank 5 --delta 2", 2, "SpecError", r"--delta 2\.0 is no probability"),
    ("svd A.zarr --rank 5 --seed -3", 2, "SpecError", r"--seed -3 is out of range"),
    ("svd A.zarr --rank 5 --max-passes 0", 2, "SpecError", r"--max-passes 0 leaves nothing to do"),
    ("svd A.zarr --rank 5 --memory lots", 2, "SpecError", r"--memory lots is no size"),
    ("svd A.zarr --rank 5 --memory 1MB", 1, "BudgetError", r"allows 1,000,000\. .* --memory \d+\."),
    (
        "svd A.zarr --rank 5 --u",
        2,
        "UsageError",
        r"--u writes the left factor to disk; say where with --out",
    ),
    ("svd A.zarr --rank 5 --bogus", 2, "UsageError", r"No such option '?--bogus'?"),
    (
        "svd A.zarr --rank 5 --certify maybe",
        2,
        "UsageError",
        r"'maybe' is not one of 'bounds', 'estimate'",
    ),
    ("svd A.zarr --rank 5 --workers 0", 2, "UsageError", r"0 is not in the range x>=1"),
    ("svd A.zarr --rank 5 --row-weights no.npy", 2, "UsageError", r"File 'no\.npy' does not exist"),
    (
        "svd A.zarr --rank 5 --row-weights objects.npy",
        2,
        "SpecError",
        r"--row-weights objects\.npy is no \.npy file of numbers",
    ),
    (
        "svd A.zarr --rank 5 --row-weights column_weights.npy",
        2,
        "ShapeError",
        r"--row-weights has shape \(60,\), the matrix has 600 rows",
    ),
    (
        "svd nan.npy --rank 5",
        1,
        "NonFiniteError",
        r"NaN at row 77, column 3 .* --nonfinite zero, mean or",
    ),
    (
        "svd A.zarr --rank 5 --out A.zarr",
        2,
        "SpecError",
        r"--out A\.zarr and '.*A\.zarr', which is read, are the same",
    ),
    (
        "svd A.zarr --rank 5 --out A.zarr --overwrite",
        2,
        "SpecError",
        r"--out A\.zarr and '.*A\.zarr', which is read, are the same",
    ),
    (
        "svd A.zarr --rank 5 --out objects.npy",
        1,
        "StoreError",
        r"objects\.npy exists already\. Pass --overwrite to replace",
    ),
    (
        "svd A.zarr --rank 5 --out objects.npy --overwrite",
        1,
        "StoreError",
        r"objects\.npy exists and is not a result of streamsvd; it will not be replaced",
    ),
    (
        "svd A.zarr --rank 5 --scheduler tcp://x:1 --workers 2",
        2,
        "SpecError",
        r"--scheduler tcp://x:1 and --workers 2 exclude each other",
    ),
    (
        "svd A.zarr --rank 5 --scheduler nowhere",
        1,
        "StoreError",
        r"no scheduler answers at nowhere: ",
    ),
    ("verify A.zarr A.zarr", 1, "StoreError", r"A\.zarr is not a result of streamsvd"),
    ("verify nothere A.zarr", 1, "StoreError", r"nothere does not exist"),
    ("frobnicate", 2, "UsageError", r"No such command 'frobnicate'"),
    ("svd", 2, "UsageError", r"Missing (argument|parameter)"),
]


@pytest.mark.parametrize(("line", "code", "kind", "sentence"), CASES)
def test_an_error_is_one_sentence_and_one_object(
    run, data, monkeypatch, line, code, kind, sentence
) -> None:
    monkeypatch.chdir(data)
    before = sorted(path.name for path in data.iterdir())
    quiet = (
        [] if line.split()[0] in ("info", "plan", "frobnicate") or line == "svd" else ["--quiet"]
    )
    plain = run(*line.split(), *quiet)
    assert plain.code == code
    assert plain.out == ""
    assert plain.err.startswith("streamsvd: ")
    assert plain.err.count("\n") == 1
    assert re.search(sentence, plain.err), plain.err
    told = run(*line.split(), *quiet, "--json")
    assert told.code == code
    assert told.record["status"] == "error"
    assert told.record["error"] == kind
    assert told.record["exit_code"] == code
    assert told.record["streamsvd"] == streamsvd.__version__
    assert "version" not in told.record
    assert re.search(sentence, told.record["message"])
    assert sorted(path.name for path in data.iterdir()) == before


def test_an_unexpected_error_is_a_sentence_unless_debugging(run, data, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the sky\nfell")

    monkeypatch.delenv("STREAMSVD_DEBUG", raising=False)
    monkeypatch.setattr("streamsvd.engine.opening.open", broken)
    done = run("info", data / "A.zarr")
    assert done.code == 1
    assert done.err.startswith(
        "streamsvd: unexpected RuntimeError: the sky fell. This is a fault of streamsvd"
    )
    assert "STREAMSVD_DEBUG=1" in done.err
    monkeypatch.setenv("STREAMSVD_DEBUG", "1")
    with pytest.raises(RuntimeError, match="the sky"):
        app.run(["info", str(data / "A.zarr")])


def test_errors_of_the_system_are_sentences(run, data, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "A.zarr")

    monkeypatch.setattr("streamsvd.engine.opening.open", refuse)
    assert (
        run("info", data / "A.zarr").err
        == "streamsvd: A.zarr: Permission denied. Mend access to it and run again.\n"
    )
    monkeypatch.setattr("streamsvd.engine.opening.open", lambda *_, **__: bytearray(1 << 62))
    done = run("info", data / "A.zarr")
    assert done.code == 1
    assert done.err.startswith("streamsvd: out of memory")


def test_json_after_two_dashes_is_no_option() -> None:
    assert app.wants_json(["svd", "--json"])
    assert not app.wants_json(["info", "--", "--json"])


def test_a_reader_that_leaves_early_is_no_fault(start, data) -> None:
    child = start("svd", data / "A.zarr", "--rank", "5", "--quiet")
    child.stdout.close()
    _, err = child.communicate(timeout=60)
    assert err == ""
    assert child.returncode == 1


def _in_shell(data, line: str, redirected: str) -> subprocess.CompletedProcess[str]:
    """A command line in a shell, which can close what no pipe can."""
    command = f"{shlex.quote(sys.executable)} -m streamsvd.cli {line} {redirected}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=data,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(
    "line", ["svd A.zarr --rank 5 --out no.zarr", "info A.zarr --json", "--help"]
)
def test_a_closed_stdout_is_one_sentence_before_any_work(data, line) -> None:
    done = _in_shell(data, line, ">&-")
    assert done.returncode == 1
    assert done.stderr == (
        "streamsvd: standard output is closed, where results go. Redirect it to a file or to /dev/null.\n"
    )
    assert not (data / "no.zarr").exists()


def test_a_closed_stderr_is_as_good_as_quiet(data) -> None:
    done = _in_shell(data, "svd A.zarr --rank 5", "2>&-")
    assert done.returncode == 0
    assert "converged: 5 singular values certified" in done.stdout
    assert _in_shell(data, "svd A.zarr --rank 5", ">&- 2>&-").returncode == 1


@pytest.mark.parametrize("line", ["svd A.zarr --rank 5 --json", "svd nothere --rank 5 --json"])
def test_a_pipe_whose_reader_is_gone_costs_no_traceback(start, data, monkeypatch, line) -> None:
    monkeypatch.chdir(data)
    child = start(*line.split(), "--quiet")
    child.stdout.close()
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert child.returncode == 1


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_of_both_streams_that_leaves_early_is_no_fault(data, lines) -> None:
    line = f"(svd A.zarr --rank 5 --out both.zarr; echo $? >both.code) 2>&1 | head -{lines}"
    command = line.replace("svd", f"{shlex.quote(sys.executable)} -m streamsvd.cli svd", 1)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=data,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.count("\n") == lines
    assert done.stderr == ""
    assert (data / "both.code").read_text() in ("0\n", "1\n")
    (data / "both.code").unlink()
    assert not list(data.glob("both.zarr.partial-*"))
