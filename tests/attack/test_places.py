"""Where results go: links, and two runs to one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import PassDone
from streamsvd.errors import StoreError
from streamsvd.store.results.reader import read_result

A = np.random.default_rng(0).normal(size=(60, 8))


def test_overwriting_a_link_to_a_result(tmp_path: Path) -> None:
    """The link makes way for the result, what it led to stays, and nothing is left beside."""
    streamsvd.svd(A, 1, out=tmp_path / "first")
    (tmp_path / "link").symlink_to(tmp_path / "first")
    streamsvd.svd(A, 2, out=tmp_path / "link", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "link"]
    assert (tmp_path / "first" / "zarr.json").exists()
    assert not (tmp_path / "link").is_symlink()


def test_a_result_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Without overwrite the second of two runs to one place fails, and leaves the first alone."""
    out = tmp_path / "out"

    def intrude(event: Any) -> None:
        if isinstance(event, PassDone) and not out.exists():
            streamsvd.svd(A, 3, out=out)

    with pytest.raises(StoreError, match="meanwhile"):
        streamsvd.svd(A, 1, out=out, callback=intrude)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert read_result(out).s.size == 3
