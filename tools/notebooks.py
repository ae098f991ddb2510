"""Run the notebooks of ``docs/notebooks`` and store what they print and draw: ``python -m tools.notebooks``.

Each runs in a folder of its own, which is gone afterwards. Needs the dependency group ``docs`` and the extra ``demo``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"


def execute(path: Path, folder: Path) -> Any:
    """A notebook as it is after all its cells have run in a folder, without what tells of the machine."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def store_all() -> None:
    """Every notebook, with new outputs in its place."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)


if __name__ == "__main__":
    store_all()
