"""A model projects rows, and gives back those that it has absorbed: fading is undone, columns left out are NaN."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.models import Model

RNG = np.random.default_rng(0)
A = (
    RNG.standard_normal((90, 3)) @ RNG.standard_normal((3, 12))
    + 2
    + 1e-3 * RNG.standard_normal((90, 12))
)
BLOCKS = (slice(0, 40), slice(40, 70), slice(70, 90))


def absorb(path, data=A, **options):
    model = Model.create(path, 4, u=True, **options)
    for i, part in enumerate(BLOCKS):
        model.update(data[part], str(i))
    return model


@pytest.mark.parametrize("forget", [1.0, 0.9])
@pytest.mark.parametrize("center", [False, True])
def test_rows_that_were_absorbed_are_given_back_whatever_has_faded(
    tmp_path, forget, center
) -> None:
    model = absorb(tmp_path / "m", forget=forget, center=center)
    lazy = model.reconstruct()
    np.testing.assert_allclose(lazy, A, atol=2e-2)
    np.testing.assert_allclose(lazy[[3, 50, 89], ::5], A[[3, 50, 89], ::5], atol=2e-2)
    np.testing.assert_allclose(model.inverse_transform(model.transform(A)), A, atol=2e-2)
    fades = forget ** np.repeat([2.0, 1.0, 0.0], [40, 30, 20])
    U = np.asarray(model.U)
    np.testing.assert_allclose(
        U * model.s, fades[:, None] * model.transform(A), atol=1e-2 * model.s[0]
    )
    R = model.reconstruct(slice(30, 80), out=tmp_path / "R.zarr")
    np.testing.assert_allclose(R[:], A[30:80], atol=2e-2)
    model.as_svd().save(tmp_path / "kept")
    np.testing.assert_allclose(streamsvd.load(tmp_path / "kept").reconstruct(), lazy, atol=1e-12)


def test_columns_that_a_model_left_out_are_not_looked_at(tmp_path) -> None:
    gaps = A.copy()
    gaps[:, 4] = np.nan
    model = Model.create(tmp_path / "m", 4, center=True)
    model.update(gaps[:60], "a", nonfinite="zero")
    other = gaps.copy()
    other[:, 4] = np.inf
    np.testing.assert_allclose(model.transform(other), model.transform(gaps), atol=1e-12)
    back = model.inverse_transform(model.transform(gaps[60:]))
    assert np.isnan(back[:, 4]).all()
    np.testing.assert_allclose(np.delete(back, 4, axis=1), np.delete(A[60:], 4, axis=1), atol=2e-2)
    left = model.residual(gaps)
    assert np.isnan(streamsvd.svd(left, 1, mask="auto").Vh[:, 4]).all()


def test_a_result_that_a_model_extends_undoes_its_scale(tmp_path) -> None:
    streamsvd.pca(A[:60], 4, scale=True, u=True, out=tmp_path / "m")
    model = Model.open(tmp_path / "m")
    model.update(A[60:], "more")
    np.testing.assert_allclose(model.reconstruct(), A, atol=2e-2)
    np.testing.assert_allclose(model.inverse_transform(model.transform(A)), A, atol=2e-2)


def test_a_model_that_grows_by_columns_gives_back_its_matrix(tmp_path) -> None:
    model = Model.create(tmp_path / "m", 4, u=True, axis="columns")
    for i, part in enumerate(BLOCKS):
        model.update(np.ascontiguousarray(A[part].T), str(i))
    np.testing.assert_allclose(model.reconstruct(), A.T, atol=2e-2)
    np.testing.assert_allclose(model.transform(A.T), np.asarray(model.U) * model.s, atol=2e-2)


def test_a_model_without_left_vectors_says_what_to_do(tmp_path) -> None:
    streamsvd.update(tmp_path / "m", A, "a", rank=3)
    model = Model.open(tmp_path / "m")
    with pytest.raises(SpecError, match="u=True, or pass source="):
        model.reconstruct()
    found = model.reconstruct([5, 7], source=A)
    np.testing.assert_allclose(found, A[[5, 7]] @ model.Vh.T @ model.Vh, atol=1e-10)
