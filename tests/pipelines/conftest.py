from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import run, start  # noqa: F401 - fixtures
from tests.pipelines.kit import write_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with sources, whose name has a space."""
    return write_sources(tmp_path / "my data")
