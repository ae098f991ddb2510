"""Agreement with `eofs` and `xeofs` on the fields that `eofs` ships, up to sign; skipped where they are not installed."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from streamsvd.xarray import eof
from tests.xarray.test_eof import difference

MODES = 5
FIELDS = {"sst": "sst_ndjfm_anom.nc", "z": "hgt_djf.nc"}
has_eofs = pytest.mark.skipif(find_spec("eofs") is None, reason="eofs is not installed")
has_xeofs = pytest.mark.skipif(
    find_spec("eofs") is None or find_spec("xeofs") is None,
    reason="xeofs, or eofs with its example data, is not installed",
)


@pytest.fixture(params=FIELDS)
def da(request: pytest.FixtureRequest) -> Any:
    """A field of the example data: sea surface temperature with land, height of 500 hPa."""
    import eofs

    folder = Path(eofs.__file__).parent / "examples" / "example_data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a date in words of its own
        return xr.load_dataset(folder / FIELDS[request.param])[request.param].squeeze(drop=True)


@has_eofs
@pytest.mark.parametrize("weights", [None, "coslat"])
def test_eofs_agrees(da, weights) -> None:
    from eofs.xarray import Eof

    cosine = np.sqrt(np.clip(np.cos(np.deg2rad(da.latitude.values)), 0, 1))[:, None]
    peer = Eof(da, weights=None if weights is None else cosine)
    found = eof(da, modes=MODES, weights=weights, tol=1e-9)
    for scaling in (0, 1, 2):
        assert difference(found.eofs(scaling), peer.eofs(scaling, MODES)) < 1e-6
        assert difference(found.pcs(scaling).T, peer.pcs(scaling, MODES).T) < 1e-6
    np.testing.assert_allclose(found.eigenvalues(), peer.eigenvalues(MODES), rtol=1e-6)
    np.testing.assert_allclose(found.variance_fraction(), peer.varianceFraction(MODES), rtol=1e-6)
    with np.errstate(invalid="ignore"):
        back = peer.reconstructedField(3)
    gap = np.abs(found.reconstruct(3) - da.mean("time") - back).max()
    assert gap < 1e-6 * np.abs(back).max()
    again = peer.projectField(da - da.mean("time"), MODES)
    assert difference(found.project(da).T, again.T) < 1e-6


@has_xeofs
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", [False, True])
def test_xeofs_agrees(da, scale) -> None:
    import xeofs

    peer = xeofs.single.EOF(n_modes=MODES, use_coslat=True, standardize=scale, solver="full")
    peer.fit(da, dim="time")
    found = eof(da, modes=MODES, weights="coslat", scale=scale, tol=1e-9)
    maps = peer.components().transpose("mode", "latitude", "longitude")
    assert difference(found.eofs(), maps) < 1e-6
    scores = peer.scores(normalized=False)
    assert difference(found.pcs().T, scores.transpose("mode", "time")) < 1e-6
    np.testing.assert_allclose(found.eigenvalues(), peer.explained_variance(), rtol=1e-6)
    shares = peer.explained_variance_ratio()
    np.testing.assert_allclose(found.variance_fraction(), shares, rtol=1e-6)
    assert difference(found.project(da).T, peer.transform(da).transpose("mode", "time")) < 1e-6
    back = peer.inverse_transform(scores)
    whole = found.reconstruct()
    assert np.abs(whole - back).max() < 1e-6 * np.abs(whole - da.mean("time")).max()
