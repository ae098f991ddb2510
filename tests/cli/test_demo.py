"""The demo, at a size for tests: real data, known data, figures, and nothing large left behind."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple

import pytest

pytest.importorskip("h5py")
pytest.importorskip("matplotlib")
pytest.importorskip("iris_sample_data")

FIGURES = ("eofs.png", "components.png", "variance.png", "certificate.png")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Folder and outcome of one demo, as JSON."""
    import subprocess

    out = tmp_path_factory.mktemp("demo") / "out"
    command = [
        sys.executable,
        "-m",
        "streamsvd.cli",
        "demo",
        "--size",
        "8MB",
        "--out",
        str(out),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return out, json.loads(done.stdout), done.stderr


def test_the_first_eof_holds_the_known_share(shown) -> None:
    shares = shown[1]["climate"]["explained_variance_ratio"]
    assert shares[:4] == pytest.approx([0.7187, 0.0652, 0.0491, 0.0332], abs=1e-4)
    assert shown[1]["climate"]["relative_width"] <= 1e-6


def test_the_truth_lies_in_every_interval(shown) -> None:
    known = shown[1]["known"]
    assert known["truth"]["inside"] == known["result"]["rank"] == 50
    assert max(known["truth"]["certified_width"]) <= 1e-3
    assert max(known["truth"]["true_error"]) <= 1e-3
    assert known["result"]["passes"] == pytest.approx(known["planned"]["passes"], abs=1)


def test_memory_keeps_its_promise(shown) -> None:
    result = shown[1]["known"]["result"]
    assert result["peak_bytes"] <= result["projected_bytes"] <= result["budget_bytes"] == 256 << 20


def test_figures_are_pictures(shown) -> None:
    out, record, _ = shown
    named = [*record["climate"]["figures"], *record["known"]["figures"]]
    assert named == [str(out / name) for name in FIGURES]
    for name in FIGURES:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert (out / name).stat().st_size > 20_000


def test_the_story_goes_to_stderr_and_nothing_large_stays(shown) -> None:
    out, _, story = shown
    for part in (
        "1. Annual mean air temperature",
        "2. ",
        "$ streamsvd svd",
        "true error",
        "written in",
    ):
        assert part in story
    assert not (out / "known.zarr").exists()
    assert (out / "eofs.zarr").exists()


def test_it_can_be_run_again_and_keep(shown, run) -> None:
    out = shown[0]
    done = run("demo", "--size", "1MB", "--out", out, "--keep", "--quiet")
    assert done.code == 0
    assert (out / "known.zarr").exists()
    assert done.out == ""


def test_a_full_disk_is_refused_before_writing(run, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 9 * 10**9, 10**9))
    done = run("demo", "--out", tmp_path / "out", "--quiet")
    assert done.code == 1
    assert "has 1 GB free, the demo needs 4 GB for a while" in done.err
    assert not (tmp_path / "out" / "known.zarr").exists()


def test_a_folder_of_something_else_is_refused(run, tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = run("demo", "--out", tmp_path)
    assert done.code == 1
    assert "holds something else. Choose another folder with --out." in done.err
    assert run("demo", "--out", tmp_path / "x", "--size", "tiny").code == 2
    blocked = tmp_path / "thesis.txt" / "out"
    assert "cannot write" in run("demo", "--out", blocked).err


def test_without_its_extra_it_says_what_to_install(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    done = run("demo", "--out", tmp_path / "out")
    assert done.code == 1
    assert "the demo needs h5py, which come" in done.err
    assert "pip install 'streamsvd[demo]'" in done.err
    assert not (tmp_path / "out").exists()
