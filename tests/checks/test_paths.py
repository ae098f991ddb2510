"""Every path that is taken goes through one door: the home folder is meant by ~, and nothing by an empty text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streamsvd
from streamsvd.checks import paths
from streamsvd.errors import SpecError

ROOT = Path(streamsvd.__file__).parent
OWN = {
    "checks/paths.py": "the door",
    "store/explanations.py": "parts of a path that the system named",
    "store/writing/separation.py": "of stores that are open",
    "store/sources/files/npy.py": "of a file that is mapped already",
    "store/objects/posix.py": "what is found below a root",
    "store/writing/trial.py": "the root of a store",
    "models/model.py": "the root of a store",
    "models/loaded_version.py": "the root of a store",
    "models/overlap.py": "the root of a store",
    "engine/worker_report.py": "files of the package",
    "store/places/owners.py": "what the system says of a process",
    "cli/compress.py": "the name of a store, printed",
    "cli/rates.py": "a title",
    "cli/demo/climate.py": "sample data of a package",
    "pipelines/description.py": "a link beside the file, without what the system would follow",
    "pipelines/digests.py": "what is found below a source",
    "pipelines/report_place.py": "a page beside the file, without what the system would follow",
    "pipelines/sources.py": "what is found below a source",
    "pipelines/execution.py": "results below the state",
    "pipelines/publishing.py": "where a link leads",
}
"""Files that may make a path of a variable, and why."""


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/somebody")
    assert paths.local_path("~/a.npy") == Path("/home/of/somebody/a.npy")
    assert paths.local_path(Path("~")) == Path("/home/of/somebody")
    assert paths.local_path(b"~/a.npy") == Path("/home/of/somebody/a.npy")
    assert paths.local_path("a/~/b") == Path("a/~/b")
    assert paths.local_path("~backup-of.npy") == Path("~backup-of.npy")
    assert paths.local_path("file:///a/b") == Path("/a/b")
    assert paths.local_path(".") == Path()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "out is empty, and the current folder is not meant"),
        ("  ", "out is empty"),
        (b"", "out is empty"),
        ("file://", "out is empty"),
        ("a\0b", "null character"),
        ("~nobody-of-this-name/x", "no such home folder"),
        (None, "out=None is no path"),
        (3, "out=3 is no path"),
    ],
)
def test_what_is_no_path_is_said_to_be_none(given, words):
    with pytest.raises(SpecError, match=words):
        paths.local_path(given, "out")


def test_an_address_of_an_object_store_is_none_of_the_local_file_system():
    assert paths.is_url("s3://bucket/name")
    assert not paths.is_url("file:///a")
    assert not paths.is_url("a/b")
    assert not paths.is_url(3)


def _made_of_variables(tree: ast.AST) -> list[int]:
    """Lines on which a path is made of anything but a literal."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Path"
        and node.args
        and not isinstance(node.args[0], ast.Constant)
    ]


def test_no_other_file_makes_a_path_of_what_a_user_gave():
    found = {}
    for file in ROOT.rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        lines = _made_of_variables(ast.parse(file.read_text(encoding="utf-8")))
        if lines and name not in OWN:
            found[name] = lines
    assert not found, "take it through streamsvd.checks.paths.local_path, or say here why not"
