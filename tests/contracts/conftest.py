"""What the laws share: a cluster of workers in this process, and a place of one's own for what is not to be left behind."""

from __future__ import annotations

import logging
import tempfile

import distributed
import pytest


@pytest.fixture(scope="session")
def workers():
    """Two workers of two threads; a client is each test's own."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None
    ) as machine:
        yield machine


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """What is written without a place of its own is written here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A folder in which whatever a run leaves is seen: the current one, and that of temporary files."""
    for folder in ("here", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path
