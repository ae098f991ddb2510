"""A stdout that takes nothing is one sentence and exit code 1, of every verb and with --json; stderr never ends a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import streamsvd
from streamsvd.cli import app, commands

FULL = Path("/dev/full")
SENTENCE = (
    "streamsvd: standard output cannot be written: No space left on device. Redirect it to a place that has "
    "room.\n"
)

LINES = {
    "info": "info a.npy",
    "report": "report M --out page.html",
    "plot": "plot M --kind scree --out plot.png",
    "plan": "plan a.npy --rank 2",
    "svd": "svd a.npy --rank 2 --quiet",
    "pca": "pca a.npy --rank 2 --quiet",
    "cells": "cells counts.npy --genes 3 --rank 2 --flavor seurat --quiet",
    "project": "project M a.npy --out scores --quiet",
    "reconstruct": "reconstruct M --source a.npy --out back --quiet",
    "rotate": "rotate M",
    "top": "top a.npy --quiet",
    "convert": "convert a.npy converted --quiet",
    "transpose": "transpose a.npz converted --quiet",
    "shuffle": "shuffle a.npy --out shuffled --quiet",
    "nystrom": "nystrom a.npy --n-centres 4 --quiet",
    "krr": "krr fit a.npy --y y.npy --n-centres 4 --out k.npz --quiet",
    "sample": "sample a.npy --size 5 --quiet",
    "lstsq": "lstsq a.npy --b y.npy --quiet",
    "embed": "embed g.npy --dim 3 --out embedded --quiet",
    "eigenvectors": "eigenvectors g.npy --rank 2 --quiet",
    "cluster": "cluster many --quiet",
    "compress": "compress many --out packed --quiet",
    "rates": "rates many --quiet",
    "decompress": "decompress compressed --out plain.zarr --quiet",
    "update": "update M a.npy --block-id more --quiet",
    "watch": "watch b.npy M2 --looks 1 --quiet",
    "log": "log M",
    "verify": "verify M",
    "repair": "repair M",
    "rollback": "rollback M 1",
    "merge": "merge M N --out joint",
    "export": "export M --out x.npz",
    "run": "run p.toml --quiet",
    "runs": "runs p.toml",
    "check": "check p.toml",
    "publish": "publish p.toml",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One of everything that a verb takes."""
    root = tmp_path_factory.mktemp("kept")
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 4))
    np.save(root / "a.npy", A)
    np.save(root / "counts.npy", rng.poisson(3.0, (40, 6)))
    np.save(root / "b.npy", A[:30])
    sparse.save_npz(root / "a.npz", sparse.csr_array(A), compressed=False)
    np.save(root / "g.npy", np.abs(A @ A.T))
    np.save(root / "y.npy", A[:, 0])
    (root / "many").mkdir()
    for name in "xyz":
        np.save(root / "many" / f"{name}.npy", rng.standard_normal((9, 3)))
    step = 'steps = [{name = "s", svd = {source = "a", rank = 1}}]\n'
    (root / "p.toml").write_text(step + '[sources.a]\npath = "a.npy"\n')
    streamsvd.compress({"a": A}, root / "compressed")
    streamsvd.update(root / "M", A + 1, "m", rank=2)
    streamsvd.update(root / "N", A + 2, "n", rank=2)
    return root


@pytest.fixture
def told(kept, monkeypatch) -> Callable[..., tuple[int, str]]:
    """Exit code and stderr of a command whose stdout is full, in this process."""
    monkeypatch.chdir(kept)

    def command(*arguments: str) -> tuple[int, str]:
        with FULL.open("w") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", app.wrap_stream(full, needed=True))
            code = app.run(list(arguments))
            sys.stdout.flush()  # nothing is left that the end of the interpreter would complain of
        return code, ""

    return command


@pytest.mark.skipif(not FULL.exists(), reason="no such device")
@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("verb", LINES)
def test_a_full_stdout_is_one_sentence_of_every_verb(told, capsys, tmp_path, verb, json):
    if verb == "plot":
        pytest.importorskip("matplotlib")
    line = LINES[verb].split()
    for at, word in enumerate(line):
        if word in ("M2", "converted") or line[at - 1] == "--out":
            line[at] = str(tmp_path / word)
    capsys.readouterr()
    code, _ = told(*line, *(["--json"] if json else []))
    said = capsys.readouterr().err
    assert code == 1
    assert said.endswith(SENTENCE)
    assert "Traceback" not in said


def test_every_verb_is_held_to_it():
    assert set(LINES) | {"demo", "serve"} == set(
        commands.VERBS
    )  # serve stays, and only its runs print


@pytest.mark.skipif(not FULL.exists(), reason="no such device")
@pytest.mark.parametrize("line", ["--help", "--version", "svd --help", "info a.npy --json"])
def test_a_process_with_a_full_stdout_ends_with_one_sentence(kept, line):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "streamsvd.cli", *line.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=kept, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, SENTENCE)


@pytest.mark.skipif(not FULL.exists(), reason="no such device")
def test_an_error_with_a_full_stdout_is_said_once(told, capsys):
    code, _ = told("svd", "a.npy", "--rank", "99", "--json")
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert "--rank 99" in said


@pytest.mark.skipif(not FULL.exists(), reason="no such device")
def test_a_full_stderr_ends_no_run(kept):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "streamsvd.cli", "svd", "a.npy", "--rank", "2", "--json"],
            stdout=subprocess.PIPE, stderr=full, text=True, cwd=kept, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith('{"kind": "svd", "status": "converged"')
