"""Models remember which columns they keep: what others hold is refused or never looked at, whatever is reopened."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.models import Model

M, N, LAND = 60, 12, [0, 3, 11]
SEA = np.delete(np.arange(N), LAND)
MASK = np.isin(np.arange(N), SEA)


@pytest.fixture
def A():
    """Rows with land, where nothing is."""
    rows = np.random.default_rng(5).standard_normal((M, N)) * np.geomspace(4, 1, N)
    rows[:, LAND] = np.nan
    return rows


def says(model, rows, center):
    """Whether a model proves what LAPACK finds of the rows of the sea."""
    exact = rows[:, SEA]
    exact = exact - exact.mean(axis=0) if center else exact
    s = np.linalg.svd(exact, compute_uv=False)[: model.s.size]
    c = model.certificate
    np.testing.assert_allclose(model.s, s, rtol=1e-6)
    assert (c.sigma_lower <= s * (1 + 1e-9)).all()
    assert (c.sigma_upper >= s * (1 - 1e-9)).all()
    assert model.dropped_columns == tuple(LAND)
    assert model.Vh.shape == (model.s.size, N)
    assert np.isnan(model.Vh[:, LAND]).all()
    assert np.isfinite(model.Vh[:, SEA]).all()
    if center:
        np.testing.assert_allclose(model.mean[SEA], rows[:, SEA].mean(axis=0), atol=1e-12)
        assert np.isnan(model.mean[LAND]).all()


@pytest.mark.parametrize(
    ("dtype", "center", "options"),
    [
        ("float32", False, {}),
        ("float64", True, {}),
        ("float32", True, {"u": True}),
        ("float64", False, {"window": 1000}),
    ],
)
@pytest.mark.parametrize("way", ["skip_block", "mean", "mask", "auto"])
def test_blocks_give_what_their_slices_give(A, tmp_path, dtype, center, way, options):
    if way == "mean" and not center:
        pytest.skip("the policy needs the mean")
    A, path = A.astype(dtype).astype("f8"), tmp_path / "m"
    given = {"mask": {"mask": MASK}, "auto": {"mask": "auto"}}.get(way, {"nonfinite": way})
    streamsvd.update(path, A[:25].astype(dtype), "a", rank=4, center=center, **given, **options)
    says(Model.open(path), A[:25], center)
    model = Model.open(path)
    model.update(A[25:45].astype(dtype), "b")  # the model remembers
    model.update(A[45:].astype(dtype), "c", **given)
    says(Model.open(path), A, center)
    assert model.update(A[25:45].astype(dtype), "b").skip_reason == "known"
    assert model.verify() == []
    assert Model.open(path, 1).dropped_columns == tuple(LAND)
    if "window" not in options:
        np.testing.assert_allclose(
            np.abs(model.Vh[:, SEA]),
            np.abs(_model_of(tmp_path / "n", A, center).Vh),
            atol=1e-5,
        )
        assert streamsvd.verify(path, A).agrees


def _model_of(path, A, center):
    streamsvd.update(path, A[:, SEA], "all", rank=4, center=center)
    return Model.open(path)


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_a_matrix_that_grows_is_absorbed_as_its_slice(A, tmp_path, kind):
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=(M, N), chunks=(7, 5), dtype="f8", fill_value=0
    )
    store[:30] = A[:30]  # the rest is to be written: zeros, which are no values yet
    source = tmp_path / "a.zarr"
    if kind == "dask":
        array = pytest.importorskip("dask.array").from_zarr(str(source))
        done = streamsvd.update(tmp_path / "m", array[:30], "x", rank=3, mask="auto")
        assert done.n_absorbed == 30
        says(Model.open(tmp_path / "m"), A[:30], False)
        return
    opened = streamsvd.open(source, missing="fill")
    assert streamsvd.update(tmp_path / "m", opened, rank=3, nonfinite="skip_block").n_absorbed == 30
    says(Model.open(tmp_path / "m"), A[:30], False)
    assert streamsvd.update(tmp_path / "m", opened).skip_reason == "nothing new"
    store[30:] = A[30:]
    opened = streamsvd.open(source, missing="fill")
    assert streamsvd.update(tmp_path / "m", opened).n_absorbed == M - 30
    assert streamsvd.update(tmp_path / "m", opened).skip_reason == "nothing new"
    says(Model.open(tmp_path / "m"), A, False)


def test_values_in_a_column_that_is_left_out_are_refused_and_nothing_is_absorbed(A, tmp_path):
    path = tmp_path / "m"
    streamsvd.update(path, A[:30], "a", rank=3, nonfinite="skip_block")
    late = A[30:].copy()
    late[7, 3] = 1.0
    for nonfinite in ("raise", "skip_block"):
        with pytest.raises(SpecError, match="column 3 has a value at row 7 of ndarray") as caught:
            streamsvd.update(path, late, "b", nonfinite=nonfinite)
    assert Model.open(path).version == 1
    assert "pass rows that are NaN there" in str(caught.value)
    late[:, 3] = np.nan  # as it says
    streamsvd.update(path, late, "b")
    says(Model.open(path), A, False)


def test_what_a_mask_leaves_out_is_never_looked_at(A, tmp_path):
    path, A = tmp_path / "m", A.copy()
    A[:, LAND] = np.inf
    streamsvd.update(path, A[:30], "a", rank=3, mask=MASK)
    A[:, LAND] = 7.0
    streamsvd.update(path, A[30:], "b")
    says(Model.open(path), A, False)
    with pytest.raises(SpecError, match="mask differs .* at column 5"):
        streamsvd.update(path, A[:5], "c", mask=MASK & (np.arange(N) != 5))
    streamsvd.update(path, A[:5], "c", mask=MASK)
    streamsvd.update(tmp_path / "whole", A, "a", rank=3)
    with pytest.raises(SpecError, match="mask differs"):
        streamsvd.update(tmp_path / "whole", A, "b", mask=MASK)
    with pytest.raises(SpecError, match="here columns arrive"):
        streamsvd.update(tmp_path / "tall", A, "a", rank=3, axis="columns", mask=MASK)
    with pytest.raises(ShapeError, match="the block has 9 columns, the model has 12"):
        streamsvd.update(path, A[:, SEA], "d")
    with pytest.raises(NonFiniteError) as caught:
        streamsvd.update(path, np.where(np.arange(N) == 4, np.nan, A[:3]), "e")
    assert caught.value.column == 4
    assert "mask=" not in str(caught.value)  # it could not be followed any more


@pytest.mark.parametrize("verb", ["svd", "pca"])
@pytest.mark.parametrize("scale", [False, True])
def test_a_result_that_left_columns_out_is_extended_without_them(A, tmp_path, verb, scale):
    path = tmp_path / "r"
    getattr(streamsvd, verb)(A[:40], 3, out=path, nonfinite="mean", scale=scale, tol=1e-9)
    model = Model.open(path)
    assert model.dropped_columns == tuple(LAND)
    late = A[40:].copy()
    late[2, 0] = 5.0
    with pytest.raises(SpecError, match="column 0 has a value at row 2"):
        streamsvd.update(path, late, "b")
    streamsvd.update(path, A[40:], "b")
    model = Model.open(path)
    assert model.dropped_columns == tuple(LAND)
    assert model.n_rows == M
    assert np.isnan(model.Vh[:, LAND]).all()
    if not scale:
        exact = A[:, SEA] - (A[:, SEA].mean(axis=0) if verb == "pca" else 0)
        s = np.linalg.svd(exact, compute_uv=False)[:3]
        c = model.certificate
        assert (c.sigma_lower <= s * (1 + 1e-9)).all()
        assert (c.sigma_upper >= s * (1 - 1e-9)).all()


def test_the_advice_for_a_result_that_cannot_be_extended_can_be_followed(A, tmp_path):
    gap = A.copy()
    gap[5, 4] = np.nan
    streamsvd.pca(gap, 3, out=tmp_path / "r", nonfinite="drop_columns")
    with pytest.raises(SpecError, match=r"\(column 4\).*with a mask= that is false there"):
        streamsvd.update(tmp_path / "r", A, "more")
    mask = MASK & (np.arange(N) != 4)
    streamsvd.pca(gap, 3, out=tmp_path / "r", mask=mask, overwrite=True)
    streamsvd.update(tmp_path / "r", A, "more")
    assert Model.open(tmp_path / "r").dropped_columns == tuple(sorted([*LAND, 4]))


def test_models_of_the_same_columns_are_merged_others_are_not(A, tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    streamsvd.update(a, A[:30], "a", rank=3, mask="auto")
    streamsvd.update(b, A[30:], "b", rank=3, mask=MASK)
    both = streamsvd.merge_models(a, b, tmp_path / "ab")
    says(both, A, False)
    streamsvd.update(c, np.nan_to_num(A[30:]), "c", rank=3, mask=np.arange(N) != 2)
    with pytest.raises(SpecError, match="different columns out: columns 0, 2, 3, 11 are"):
        streamsvd.merge_models(a, c, tmp_path / "ac")


@pytest.mark.parametrize("name", ["e.npz", "folder"])
def test_what_is_exported_has_all_columns(A, tmp_path, name):
    streamsvd.update(tmp_path / "m", A, "a", rank=3, center=True, mask="auto")
    out = streamsvd.export_model(Model.open(tmp_path / "m"), tmp_path / name)
    if name == "e.npz":
        found = np.load(out)
        Vh, mean = found["Vh"], found["mean"]
    else:
        found = streamsvd.load(out)
        Vh, mean = found.Vh, found.mean
        assert streamsvd.verify(out, A).agrees
        streamsvd.update(out, A[:5], "more")
    assert Vh.shape == (3, N)
    assert np.isnan(Vh[:, LAND]).all()
    assert np.isnan(mean[LAND]).all()


@pytest.mark.parametrize("way", [{"mask": "auto"}, {"mask": MASK}, {"nonfinite": "skip_block"}])
def test_the_default_rank_is_one_that_the_columns_have(A, tmp_path, way):
    streamsvd.update(tmp_path / "m", A, "a", **way)
    assert Model.open(tmp_path / "m").s.size == len(SEA)
    with pytest.raises(ShapeError, match="rank=12 exceeds the 9 columns"):
        streamsvd.update(tmp_path / "n", A, "a", rank=12, **way)


def test_column_names_are_of_all_columns(A, tmp_path):
    names = [f"c{j}" for j in range(N)]
    streamsvd.update(tmp_path / "m", A, "a", rank=3, mask="auto", column_names=names)
    streamsvd.update(tmp_path / "m", A[:5], "b", column_names=names)
    with pytest.raises(SpecError, match="names of the block's columns"):
        streamsvd.update(tmp_path / "m", A[:5], "c", column_names=names[::-1])
    with pytest.raises(ShapeError, match="9 column names were given for 12 columns"):
        streamsvd.update(tmp_path / "m", A[:5], "c", column_names=names[:9])


def test_a_model_begun_by_others_keeps_its_columns(A, tmp_path):
    """A first block without land, and land afterwards: a hole like any other."""
    whole = np.nan_to_num(A, nan=1.0)
    streamsvd.update(tmp_path / "m", whole[:30], "a", rank=3, center=True)
    with pytest.raises(NonFiniteError, match="Mend the data, or pass nonfinite"):
        streamsvd.update(tmp_path / "m", A[30:], "b")
    streamsvd.update(tmp_path / "m", A[30:], "b", nonfinite="mean")
    assert Model.open(tmp_path / "m").dropped_columns == ()


def test_memory_of_a_wide_block_with_land_is_what_was_projected(tmp_path):
    rows = np.random.default_rng(0).standard_normal((1500, 300))
    rows[:, ::3] = np.nan
    out = zarr.create_array(tmp_path / "a.zarr", shape=rows.shape, chunks=(500, 100), dtype="f8")
    out[...] = rows
    done = streamsvd.update(
        tmp_path / "m", tmp_path / "a.zarr", rank=5, memory="48MiB", mask="auto"
    )
    assert done.n_absorbed == 1500
    kept = np.delete(rows, np.s_[::3], axis=1)
    s = np.linalg.svd(kept, compute_uv=False)[:5]
    c = Model.open(tmp_path / "m").certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()


def test_a_mask_that_says_what_the_model_found_is_the_same(tmp_path):
    X = np.random.default_rng(0).standard_normal((30, 6))
    X[:, 4] = np.nan
    streamsvd.update(tmp_path / "m", X, "a", rank=2, mask="auto")
    done = streamsvd.update(tmp_path / "m", X + 1, "b", mask=np.arange(6) != 4)
    assert done.n_absorbed == 30
    with pytest.raises(SpecError, match="mask differs"):
        streamsvd.update(tmp_path / "m", X + 2, "c", mask=np.arange(6) != 3)


@pytest.mark.parametrize("center", [False, True])
def test_a_nan_is_answered_with_what_the_model_can_do(center, tmp_path):
    A = np.ones((10, 3))
    A[4, 1] = np.nan
    with pytest.raises(streamsvd.NonFiniteError, match="skip_block") as caught:
        streamsvd.update(tmp_path / "m", A, rank=1, center=center)
    assert ('"mean"' in str(caught.value)) == center
