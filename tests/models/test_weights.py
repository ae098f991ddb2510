"""A model with weights of columns is the model of the weighted rows, to the bit; it remembers them, and refuses others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.models import Model
from streamsvd.models.model import repair_model
from streamsvd.models.verb import plan_update
from streamsvd.testing.writing import write_grid

M, N = 90, 12
CUTS = (0, 25, 31, M)


def rows(seed: int = 0, m: int = M) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, N)) * np.geomspace(4, 0.1, N) + 2


def weights(seed: int = 1) -> np.ndarray:
    w = np.random.default_rng(seed).uniform(0.5, 2, N)
    w[[2, 7]] = 0
    return w


def absorb(path, A, options, cuts=CUTS, **each) -> Model:
    model = Model.create(path, 4, **options)
    for a, b in zip(cuts[:-1], cuts[1:], strict=True):
        model.update(A[a:b], f"block {a}", **each)
    return Model.open(path)


@pytest.mark.parametrize(
    "options",
    [{}, {"center": True}, {"window": 40}, {"forget": 0.9, "center": True}, {"u": True}, {"robust": True}],
    ids=str,
)  # fmt: skip
def test_it_is_the_model_of_the_weighted_rows(tmp_path, options):
    A, w = rows(), weights()
    found = absorb(tmp_path / "m", A, options | {"column_weights": w})
    wanted = absorb(tmp_path / "n", A * w, options)
    np.testing.assert_array_equal(found.s, wanted.s)
    np.testing.assert_array_equal(found.Vh, wanted.Vh)
    assert found.certificate.frobenius_error == wanted.certificate.frobenius_error
    if options.get("u"):
        np.testing.assert_array_equal(np.asarray(found.U), np.asarray(wanted.U))
    if options.get("center"):
        kept = w > 0
        np.testing.assert_allclose(found.mean[kept], (wanted.mean / np.where(kept, w, 1))[kept])
        assert not found.mean[~kept].any()  # as of svd
    kept = found.as_svd()
    np.testing.assert_array_equal(kept.preparation["column_weights"], w)
    assert kept.scale is None


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, M - 1), max_size=3), st.booleans())
def test_what_it_proves_holds_of_the_weighted_matrix(tmp_path_factory, seed, cuts, center):
    A, w = rows(seed), weights(seed)
    cuts = (0, *sorted(set(cuts)), M)
    options = {"center": center, "column_weights": w}
    model = absorb(tmp_path_factory.mktemp("m") / "m", A, options, cuts)
    B = (A - A.mean(axis=0) if center else A) * w
    s = np.linalg.svd(B, compute_uv=False)[:4]
    c = model.certificate
    assert (c.sigma_lower <= s * (1 + 1e-9)).all()
    assert (s <= c.sigma_upper * (1 + 1e-9)).all()
    assert np.linalg.norm(B - B @ model.Vh.T @ model.Vh) <= c.frobenius_error * (1 + 1e-9)


@pytest.mark.parametrize("policy", ["zero", "mean", "skip_block", "raise"])
def test_missing_values_are_treated_before_weights(tmp_path, policy):
    """And nobody looks at a column of weight 0, nor finds one that has no value in the first block there."""
    A, w = rows(), weights()
    spoilt = A.copy()
    spoilt[:, 2], spoilt[40, 7] = np.nan, np.inf
    given = {"nonfinite": policy}
    calm = absorb(tmp_path / "calm", spoilt, {"center": True, "column_weights": w}, **given)
    wanted = absorb(tmp_path / "wanted", A, {"center": True, "column_weights": w}, **given)
    np.testing.assert_array_equal(calm.Vh, wanted.Vh)
    assert calm.dropped_columns == ()
    spoilt[50, 5] = np.nan
    if policy == "raise":
        with pytest.raises(NonFiniteError, match="row 19, column 5"):
            absorb(tmp_path / "raise", spoilt, {"center": True, "column_weights": w}, **given)
        return
    found = absorb(tmp_path / "m", spoilt, {"center": True, "column_weights": w}, **given)
    if policy == "skip_block":
        assert found.n_rows == 31
        return
    A[50, 5] = 0 if policy == "zero" else A[:31, 5].mean()
    B = (A - A.mean(axis=0)) * w
    np.testing.assert_allclose(found.s, np.linalg.svd(B, compute_uv=False)[:4], rtol=1e-3)


def test_a_mask_and_weights_go_together(tmp_path):
    A, w = rows(), weights()
    A[:, [0, 11]] = np.nan
    model = absorb(tmp_path / "m", A, {"mask": "auto", "column_weights": w})
    assert model.dropped_columns == (0, 11)
    kept = np.r_[1:11]
    np.testing.assert_array_equal(model.column_weights[kept], w[kept])
    assert (model.column_weights[[0, 11]] == 0).all()
    B = np.where(w[kept] > 0, A[:, kept] * w[kept], 0)
    np.testing.assert_allclose(model.s, np.linalg.svd(B, compute_uv=False)[:4], rtol=1e-6)
    model.update(A[:3], "same weights", column_weights=w)  # of columns left out nothing is asked
    assert streamsvd.verify(tmp_path / "m", np.vstack([A, A[:3]])).agrees


@pytest.fixture
def air(tmp_path):
    """A field that grows, of which the first rows are written, and areas beside it."""
    latitude = np.array([-60.0, 0.0, 45.0])
    coordinates = {"lat": (latitude, {"units": "degrees_north"})}
    field = rows().reshape(M, 3, 4)
    path = tmp_path / "air.zarr"
    write_grid(path, "t", field, ("time", "lat", "lon"), {}, chunk=10, coordinates=coordinates)
    zarr.open_group(path).create_array(
        "area", data=np.arange(1.0, 13).reshape(3, 4), dimension_names=("lat", "lon")
    )
    return path, np.sqrt(np.cos(np.deg2rad(np.repeat(latitude, 4))))


@pytest.mark.parametrize("when", ["create", "first", "verb"])
def test_words_are_looked_up_beside_the_first_block(tmp_path, air, when):
    path, roots = air
    A = streamsvd.open(path, "t", "time")
    for words, w in (
        ("coslat", roots),
        ({"lat": "cos"}, roots),
        ("area", np.sqrt(np.arange(1.0, 13))),
        ({"lat": [1.0, 0, 4], "lon": [1, 1, 1, 1]}, np.repeat([1.0, 0, 2], 4)),
        (roots, roots),
        (roots.reshape(3, 4), roots),
        (xarray.DataArray(roots.reshape(3, 4).T, dims=("lon", "lat")), roots),
    ):
        place = tmp_path / f"{when}-{len(list(tmp_path.iterdir()))}"
        if when == "create":
            Model.create(place, 3, column_weights=words)
            Model.open(place).update(A)  # by another process, as it were
        elif when == "first":
            Model.create(place, 3).update(A, column_weights=words)
        else:
            streamsvd.update(place, A, rank=3, column_weights=words)
        model = Model.open(place)
        np.testing.assert_array_equal(model.column_weights, w)
        np.testing.assert_allclose(
            model.s, np.linalg.svd(rows() * w, compute_uv=False)[:3], rtol=1e-6
        )
        assert streamsvd.update(place, A, column_weights=words).skip_reason == "nothing new"
        assert plan_update(place, A, column_weights=words).n_new == 0


def test_a_mask_knows_its_dimensions_as_weights_do(tmp_path, air):
    """Also where a model keeps it until its first block comes."""
    path, _ = air
    mask = np.arange(12).reshape(3, 4) % 5 > 0
    turned = xarray.DataArray(mask.T, dims=("lon", "lat"))
    A = streamsvd.open(path, "t", "time")
    Model.create(tmp_path / "m", 3, mask=turned)
    Model.open(tmp_path / "m").update(A)
    Model.open(tmp_path / "m").update(A, mask=turned)
    dropped = tuple(np.flatnonzero(~mask.reshape(-1)))
    assert Model.open(tmp_path / "m").dropped_columns == dropped


@pytest.mark.parametrize("when", ["create", "first", "later", "none"])
def test_other_weights_are_refused(tmp_path, when):
    A, w = rows(), weights()
    other = w.copy()
    other[5] = 3
    model = Model.create(tmp_path / "m", 4, column_weights=None if when in ("none", "first") else w)
    if when in ("later", "none"):
        model.update(A[:40], "a")
    if when == "first":
        model.update(A[:40], "a", column_weights=w)
    words = r"column_weights differ from those that the model was (created|begun) with, at column"
    for call in (
        lambda: model.update(A[40:], "b", column_weights=other),
        lambda: streamsvd.update(tmp_path / "m", A[40:], "b", column_weights=other),
        lambda: plan_update(tmp_path / "m", A[40:], "b", column_weights=other),
    ):
        with pytest.raises(SpecError, match=words):
            call()
    if when == "none":
        model.update(A[40:], "b", column_weights=np.ones(N))  # that is what it has
        return
    model.update(A[40:], "b", column_weights=w)
    assert model.n_rows == M - (0 if when != "create" else 40)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.ones(5), ShapeError, r"column_weights has shape \(5,\), the matrix has 12 columns"),
        (-np.ones(N), SpecError, r"column_weights\[0\] is -1"),
        (np.zeros(N), SpecError, "column_weights are all zero"),
        ("coslat", SpecError, "weights by dimension need names of dimensions, and ndarray has none"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_leave_nothing(tmp_path, given, error, words):
    for call in (
        lambda: plan_update(tmp_path / "m", rows(), rank=3, column_weights=given),
        lambda: streamsvd.update(tmp_path / "m", rows(), rank=3, column_weights=given),
    ):
        with pytest.raises(error, match=words):
            call()
    assert not (tmp_path / "m").exists()
    model = Model.create(tmp_path / "c", 3)
    with pytest.raises(error, match=words):
        model.update(rows(), column_weights=given)
    Model.open(tmp_path / "c").update(rows(), column_weights=weights())  # nothing stuck


def test_columns_that_arrive_have_none(tmp_path):
    for call in (
        lambda: Model.create(tmp_path / "m", 3, axis="columns", column_weights=weights()),
        lambda: streamsvd.update(tmp_path / "n", rows(), axis="columns", column_weights=weights()),
    ):
        with pytest.raises(SpecError, match="columns that stay, and here columns arrive"):
            call()


def test_a_model_without_weights_is_written_as_ever(tmp_path):
    """So that releases that know no weights read it, and refuse one that has some."""
    absorb(tmp_path / "m", rows(), {})
    absorb(tmp_path / "w", rows(), {"column_weights": weights()})
    plain, weighted = (
        json.loads((tmp_path / name / "model.json").read_text().splitlines()[0]) for name in "mw"
    )
    assert "column_weights" not in plain
    assert weighted["column_weights"]["arrays"][""]["shape"] == [N]


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_result_with_weights_goes_on_with_them(tmp_path, scale, masked):
    A, w = rows(), weights()
    mask = np.ones(N, bool)
    if masked:
        mask[4], A[:, 4] = False, np.nan
    old, new = A[:60], A[60:]
    streamsvd.pca(
        old, 4, tol=1e-9, scale=scale, column_weights=w, mask=mask, out=tmp_path / "r", u=True
    )
    streamsvd.update(tmp_path / "r", new[:10], "a")
    streamsvd.update(tmp_path / "r", new[10:], "b", column_weights=w)
    with pytest.raises(SpecError, match="differ from those that the model was begun with"):
        streamsvd.update(tmp_path / "r", new, "c", column_weights=2 * w)
    model = Model.open(tmp_path / "r")
    d = 1 / old.std(axis=0) if scale else np.ones(N)
    B = np.where(mask & (w > 0), A * w * d, 0)
    s = np.linalg.svd(B - B.mean(axis=0), compute_uv=False)[:4]
    c = model.certificate
    assert (c.sigma_lower <= s * (1 + 1e-9)).all()
    assert (s <= c.sigma_upper * (1 + 1e-9)).all()
    counts = mask & (w > 0)
    np.testing.assert_allclose(model.mean[counts], A.mean(axis=0)[counts], rtol=1e-9)
    found = model.as_svd()
    np.testing.assert_array_equal(found.preparation["column_weights"], np.where(mask, w, 0))
    if scale:
        np.testing.assert_allclose(found.scale[counts], 1 / d[counts])
    assert streamsvd.verify(tmp_path / "r", A).agrees
    other = np.where(mask, A * 1.1, np.nan)
    assert not streamsvd.verify(tmp_path / "r", other).agrees


@pytest.mark.parametrize("scale", [False, "std"])
def test_rows_are_projected_and_given_back_as_they_were_weighted(tmp_path, scale):
    """Of a model of its own, and of one that goes on from a result; a column of weight 0 cannot be given back."""
    A, w = rows(), weights()
    if scale:
        streamsvd.pca(A[:60], 10, scale=scale, column_weights=w, out=tmp_path / "m")
        streamsvd.update(tmp_path / "m", A[60:], "a")
        model = Model.open(tmp_path / "m")
    else:
        model = Model.create(tmp_path / "m", 10, center=True, column_weights=w)
        model.update(A, "a")
    factors = w / A[:60].std(axis=0) if scale else w
    scores = model.transform(A)
    np.testing.assert_allclose(scores, (A - A.mean(axis=0)) * factors @ model.Vh.T, atol=1e-9)
    back, kept = model.inverse_transform(scores), w > 0
    np.testing.assert_allclose(back[:, kept], A[:, kept], atol=1e-8)  # of ten columns that count
    assert np.isnan(back[:, ~kept]).all()


def test_it_is_mended_merged_and_written_out(tmp_path):
    A, w = rows(), weights()
    first = absorb(tmp_path / "a", A, {"column_weights": w, "center": True}, (0, 20, 50))
    second = absorb(tmp_path / "b", A, {"column_weights": w, "center": True}, (50, 90))
    first.rollback(1).update(A[20:50], "again")
    (tmp_path / "a" / "model.json").unlink()
    repair_model(tmp_path / "a")
    both = streamsvd.merge_models(tmp_path / "a", tmp_path / "b", tmp_path / "both")
    np.testing.assert_array_equal(Model.open(tmp_path / "both").column_weights, w)
    B = (A - A.mean(axis=0)) * w
    np.testing.assert_allclose(both.s, np.linalg.svd(B, compute_uv=False)[:4], rtol=1e-6)
    both.update(A[:5], "more", column_weights=w)
    assert streamsvd.verify(tmp_path / "both", np.vstack([A, A[:5]])).agrees
    streamsvd.export_model(both, tmp_path / "plain")
    np.testing.assert_array_equal(
        streamsvd.load(tmp_path / "plain").preparation["column_weights"], w
    )
    absorb(tmp_path / "c", A[50:], {"center": True}, (0, 40))
    with pytest.raises(SpecError, match="the models differ in column_weights"):
        streamsvd.merge_models(tmp_path / "a", tmp_path / "c", tmp_path / "no")
    assert second.n_rows == 40
