from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_grid, write_known

ROOT = Path(__file__).parents[2]
WHOLE = (
    "comparison.md",
    "concat.md",
    "convert.md",
    "pipelines.md",
    "start.md",
    "transforms.md",
    "xarray.md",
    "anndata.md",
)
"""Pages that make what they read, beside those of uses."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    """One page after another."""
    return request.param


@pytest.fixture
def folder(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data that the page speaks of, in the folder that it runs in."""
    monkeypatch.chdir(tmp_path)
    if not makes_its_data(page):
        write_data(tmp_path)
    return tmp_path


def makes_its_data(page: Path) -> bool:
    """Whether a page makes what it reads."""
    return page.name in WHOLE or page.parent in (ROOT / "docs/uses", ROOT / "docs/journeys")


def write_data(folder: Path) -> None:
    """What pages read."""
    write_known(folder / "A.zarr", KnownMatrix("geometric", 900, 80))
    A = zarr.open_array(str(folder / "A.zarr"), mode="r")[...]
    np.save(folder / "A.npy", A)
    gaps = A.copy()
    gaps[5, 7] = np.nan
    np.save(folder / "gaps.npy", gaps)
    rng = np.random.default_rng(0)
    np.save(folder / "rows.npy", rng.random(900))
    np.save(folder / "columns.npy", rng.random(80))
    counts = np.random.default_rng(1).poisson(rng.gamma(2.0, 1.0, 60), (300, 60))
    np.save(folder / "counts.npy", counts)
    np.save(folder / "graph.npy", np.kron(np.eye(3), np.ones((20, 20))))
    field = rng.standard_normal((60, 5, 8)).astype(np.float32)
    field[3, 1, 2] = np.nan
    write_grid(folder / "air.zarr", "t2m", field, ("time", "lat", "lon"), {"units": "K"}, chunk=20)
    write_weights(folder, rng)


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
