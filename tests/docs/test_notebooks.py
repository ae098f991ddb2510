"""Notebooks run: their cells as a script every day, and as Jupyter runs them in the long tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tools.notebooks import FOLDER, execute

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> Path:
    """One notebook after another, in a folder of its own."""
    pytest.importorskip("matplotlib").use("Agg")
    if "iris_sample_data" in request.param.read_text(encoding="utf-8"):
        pytest.importorskip("iris_sample_data")
        pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    return request.param


def cells(path: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 3


def test_cells_run_one_after_another(notebook, monkeypatch):
    module = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", module)
    for number, cell in enumerate(cells(notebook), start=1):
        exec(compile(cell, f"{notebook.name}[{number}]", "exec"), module.__dict__)
    sys.modules["matplotlib.pyplot"].close("all")


def test_nothing_of_the_machine_that_ran_it_is_stored(notebook):
    text = notebook.read_text(encoding="utf-8")
    assert '"output_type": "error"' not in text
    assert str(Path.home()) + "/" not in text
    assert "/tmp/" not in text
    assert len(text) < 300_000


@pytest.mark.slow
def test_jupyter_runs_it(notebook, tmp_path):
    for package in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(package, reason="pip install --group docs")
    content = execute(notebook, tmp_path)
    assert len(content.cells) == len(json.loads(notebook.read_text(encoding="utf-8"))["cells"])
