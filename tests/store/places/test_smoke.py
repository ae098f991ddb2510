
import numpy as np
import zarr

import streamsvd
from streamsvd.checks.paths import place_of
from streamsvd.store.places.zarr_store import PlaceStore

A = np.random.default_rng(0).standard_normal((4000, 30))
def test_svd(bucket, tmp_path):
    local = streamsvd.svd(A, 5, u=True, out=tmp_path/"R.zarr")
    url = f"{bucket}/x/R.zarr"
    far = streamsvd.svd(A, 5, u=True, out=url)
    print(far.U, type(far.U))
    np.testing.assert_array_equal(far.U[...], local.U[...])
    again = streamsvd.load(url)
    np.testing.assert_array_equal(again.U[...], local.U[...])
    np.testing.assert_array_equal(again.Vh, local.Vh)
    g = zarr.open(PlaceStore(place_of(url)), mode="r"); print(g["U"].shape)
    from streamsvd.store.places import location_of
    print(location_of(place_of(f"{bucket}/x")).keys())
    import pytest
    with pytest.raises(streamsvd.StoreError, match="exists already"): streamsvd.svd(A, 5, u=True, out=url)
    streamsvd.svd(A, 3, u=True, out=url, overwrite=True)
    assert streamsvd.load(url).rank == 3
    p = again.transform(A, out=f"{bucket}/P.zarr") ; print(p)
    s = streamsvd.shuffle(A, f"{bucket}/S.zarr"); print(s)
    l = streamsvd.shuffle(A, tmp_path/"S.zarr")
    np.testing.assert_array_equal(streamsvd.open(str(l)).array[...] if False else zarr.open(str(l))[...], zarr.open(PlaceStore(s), mode="r")[...])
    w = __import__("streamsvd.report").report.write_report(url, f"{bucket}/r.html")
    print(w)
    print(location_of(place_of(f"{bucket}/x")).keys())
