"""Every command that reads a matrix, and every pipeline, is told what numbers without a header are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamsvd.errors import DescriptionError
from streamsvd.pipelines.description import read_pipeline
from tests.cli.conftest import run  # noqa: F401 - fixture

A = np.random.default_rng(0).standard_normal((60, 7)).astype("f4")
S = np.linalg.svd(A, compute_uv=False)
TOLD = ("--dtype", "float32", "--shape", "60,7", "--byte-offset", "4")


def singular_values(done):
    return json.loads(done.out)["singular_values"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"head" + A.tobytes())
    np.savez(tmp_path / "a.npz", x=A, y=A * 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_read_a_file_without_a_header(run, folder):  # noqa: F811 - the fixture
    done = run("svd", "a.bin", *TOLD, "--rank", "2", "--json", "--quiet")
    np.testing.assert_allclose(singular_values(done), S[:2], rtol=1e-3)
    for command in (["info"], ["plan"], ["plan", "pca"]):
        more = [] if command == ["info"] else ["--rank", "2"]
        assert run(*command, "a.bin", *TOLD, *more).code == 0
    assert run("update", "m.model", "a.bin", *TOLD, "--rank", "2", "--quiet").code == 0


def test_what_is_lacking_or_wrong_is_said_in_options(run, folder):  # noqa: F811
    done = run("svd", "a.bin", "--rank", "2")
    assert (done.code, "pass --dtype and --shape" in done.err) == (2, True)
    done = run("svd", "a.bin", *TOLD[:-2], "--rank", "2")
    assert (done.code, "has 1,684 bytes from byte 0 on" in done.err) == (1, True)
    done = run("svd", "a.bin", "--shape", "60,x", "--rank", "2")
    assert (done.code, "Pass the extents: --shape 1000,50" in done.err) == (2, True)


def test_a_path_may_name_the_array(run, folder):  # noqa: F811
    done = run("svd", "a.npz:/y", "--rank", "2", "--json", "--quiet")
    np.testing.assert_allclose(singular_values(done), 2 * S[:2], rtol=1e-3)


def write_pipeline(folder, source):
    (folder / "p.toml").write_text(
        f"[sources.a]\n{source}\n[[steps]]\nname = 'f'\nsvd = {{source = 'a', rank = 2}}\n"
    )
    return folder / "p.toml"


def test_pipelines_are_told_the_same(run, folder):  # noqa: F811
    told = "path = 'a.bin'\ndtype = 'float32'\nshape = [60, 7]\noffset = 4"
    for source in (told, "path = 'a.npz:/x'", "path = 'a.npz'\nvariable = 'x'"):
        path = write_pipeline(folder, source)
        done = run("run", str(path), "--json")
        assert done.code == 0, done
    before = {p.name for p in (folder / "p.runs").rglob("*") if p.is_dir()}
    np.savez(folder / "a.npz", x=A * 3, y=A)  # another file is another key
    assert run("run", str(path), "--json").code == 0
    assert {p.name for p in (folder / "p.runs").rglob("*") if p.is_dir()} != before


def test_of_a_collection_they_say_nothing(folder):
    path = folder / "p.toml"
    path.write_text(
        "[sources.a]\npath = 'a.safetensors'\ndtype = 'f4'\n[[steps]]\nname = 'f'\ncompress = {source = 'a', error = 0.1}\n"
    )
    with pytest.raises(DescriptionError, match=r"\.dtype"):
        read_pipeline(path)
