from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_grid, write_known

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    """One page after another."""
    return request.param


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data that the pages speak of, in the folder that they run in."""
    write_known(tmp_path / "A.zarr", KnownMatrix("geometric", 900, 80))
    A = zarr.open_array(str(tmp_path / "A.zarr"), mode="r")[...]
    np.save(tmp_path / "A.npy", A)
    gaps = A.copy()
    gaps[5, 7] = np.nan
    np.save(tmp_path / "gaps.npy", gaps)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.random(900))
    np.save(tmp_path / "columns.npy", rng.random(80))
    field = rng.standard_normal((60, 5, 8)).astype(np.float32)
    field[3, 1, 2] = np.nan
    write_grid(
        tmp_path / "air.zarr", "t2m", field, ("time", "lat", "lon"), {"units": "K"}, chunk=20
    )
    write_weights(tmp_path, rng)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_weights(folder: Path, rng: np.random.Generator) -> None:
    """A small collection: layers whose matrices share a basis of three directions."""
    basis = np.linalg.qr(rng.standard_normal((40, 3)))[0]
    for place, layers in (("weights", (0, 1)), ("more", (2,))):
        for layer in layers:
            for name in ("query", "key", "up"):
                W = (basis @ rng.standard_normal((3, 24))).astype(np.float32)
                path = folder / place / f"layer.{layer}" / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, W)
    inputs = rng.standard_normal((600, 24)) * 0.8 ** np.arange(24)
    zarr.create_array(folder / "inputs.zarr", data=inputs, chunks=(200, 24))
