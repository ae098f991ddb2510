"""``top`` and ``shuffle`` as a user meets them."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd

ROOT = Path(__file__).parents[2]


@pytest.fixture
def matrix(tmp_path):
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((4_000, 20)) * ([4] + [1] * 19)).astype("float32")
    zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(10, 20), dtype="f4")[...] = A
    return tmp_path / "a.zarr"


def test_json_says_all_of_it(run, matrix, tmp_path):
    out = run("top", matrix, "--k", "2", "--json", "--out", tmp_path / "v.npz")
    assert out.code == 0
    record = out.record
    assert record["status"] == "done"
    assert len(record["values"]) == 2
    assert record["certificate"]["evidence"] in ("deterministic", "statistical", "none")
    assert record["order"]["random"] is True
    assert record["n_rows"] == 4_000
    same = streamsvd.top_eigenvectors(matrix, 2)
    with np.load(tmp_path / "v.npz") as kept:
        np.testing.assert_array_equal(kept["components"], same.components)
        np.testing.assert_array_equal(kept["values"], same.values)
    assert run("top", matrix, "--out", tmp_path / "v.npz").code == 1
    assert run("top", matrix, "--out", tmp_path / "v.npz", "--overwrite", "--quiet").code == 0


def test_people_read_what_is_proved(run, matrix):
    out = run("top", matrix, "--quiet")
    assert out.code == 0
    for words in (
        "1 eigenvectors of A* A",
        "at least",
        "sine of the largest angle",
        "order",
        "state",
    ):
        assert words in out.out
    assert out.err == ""


def test_sorted_rows_are_told_on_stderr(run, matrix, tmp_path):
    A = zarr.open_array(matrix)[...]
    zarr.create_array(tmp_path / "s.zarr", shape=A.shape, chunks=(500, 20), dtype="f4")[...] = A[
        np.argsort(A[:, 0])
    ]
    with pytest.warns(streamsvd.OrderWarning):
        out = run("top", tmp_path / "s.zarr", "--order", "random", "--quiet", "--json")
    assert "do not come in random order" in out.err
    assert out.record["order"]["random"] is False
    assert (
        run("shuffle", tmp_path / "s.zarr", "--out", tmp_path / "r.zarr", "--json").record["n_rows"]
        == 4_000
    )
    out = run("top", tmp_path / "r.zarr", "--order", "random", "--quiet", "--json")
    assert out.record["order"]["random"] is True
    assert out.err == ""


def frames(blocks):
    out = io.BytesIO()
    for block in blocks:
        np.save(out, block)
    return out.getvalue()


def piped(data, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "streamsvd.cli", "top", "-", *arguments],
        input=data, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def test_blocks_on_standard_input(matrix):
    A = zarr.open_array(matrix)[...]
    data = frames([A[:1], A[1:700], np.asfortranarray(A[700:])])
    done = piped(data, "--json", "--n-rows", "4000")
    assert done.returncode == 0, done.stderr
    expected = streamsvd.top_eigenvectors([A], n_rows=4_000).values[0]
    assert (
        f'"values": [{expected!r}]'.replace("np.float64(", "").replace(")", "")
        in done.stdout.decode()
    )
    assert piped(b"").returncode == 2
    for bad in (b"nonsense", data[:-5], frames([np.array([{}])])):
        done = piped(bad)
        assert done.returncode == 2
        assert b"is no .npy array" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--k", "0"), "--k 0"),
        (("--n-rows", "5"), "--n-rows belongs to standard input"),
        (("--passes", "0"), "--passes 0"),
        (("--memory", "1MiB"), "smallest budget that works is --memory "),
    ],
)
def test_wrong_usage_is_a_sentence(run, matrix, arguments, words):
    out = run("top", matrix, *arguments)
    assert out.code in (1, 2)
    assert words in out.err
    assert "Traceback" not in out.err


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    """SIGKILL while it saves: what is saved is whole, and the answer has the same bits."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60_000, 100)).astype("float32")
    A[:, 7] *= 3
    zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(100, 100), dtype="f4")[...] = A
    code = """
        import sys, streamsvd
        from tests.faults.dying import die_at
        die_at(int(sys.argv[3]))
        streamsvd.top_eigenvectors(sys.argv[1], checkpoint=sys.argv[2], save_seconds=0)
    """
    place = tmp_path / "saves"
    for calls in (3, 50, 77, 120):  # before a save is whole, and in the middle of some
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(code),
            tmp_path / "a.zarr",
            place,
            str(calls),
        ]
        assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    found = streamsvd.top_eigenvectors(tmp_path / "a.zarr", checkpoint=place)
    np.testing.assert_array_equal(
        found.components, streamsvd.top_eigenvectors(tmp_path / "a.zarr").components
    )
