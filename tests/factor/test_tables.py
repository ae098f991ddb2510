"""What a result says of its values and components: scree, the largest columns, sampling errors, effective sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.factor import sampling
from streamsvd.labels import Coordinate, Dimension, Labels


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(3)
    return rng.standard_normal((300, 12)) * np.geomspace(5, 0.1, 12) + 2


@pytest.mark.parametrize("rank", [1, 4, 12])
@pytest.mark.parametrize("verb", [streamsvd.svd, streamsvd.pca])
def test_the_truth_lies_between_the_ends_of_the_scree(A, verb, rank):
    result = verb(A, rank, certify="bounds")
    table = result.scree()
    X = A - A.mean(axis=0) if verb is streamsvd.pca else A
    sigma = np.linalg.svd(X, compute_uv=False)
    share = sigma**2 / np.sum(sigma**2)
    for low, x, high, true in (
        (table.variance_lower, table.variance, table.variance_upper, sigma**2 / 299),
        (table.share_lower, table.share, table.share_upper, share),
        (table.cumulative_lower, table.cumulative, table.cumulative_upper, np.cumsum(share)),
    ):
        assert x.shape == (rank,)
        assert (low <= true[:rank] * (1 + 1e-12)).all()
        assert (true[:rank] <= high * (1 + 1e-12)).all()
        np.testing.assert_allclose(x, true[:rank], rtol=2e-3)
    np.testing.assert_array_equal(table.number, np.arange(1, rank + 1))
    assert table.is_proved
    assert (len(table), len(str(table).splitlines())) == (rank, rank + 1)
    assert "together %" in str(table)


def test_what_the_scree_prints_holds():
    result = streamsvd.svd(np.random.default_rng(0).standard_normal((500, 60)), 8, route="krylov")
    table = result.scree()
    for i, line in enumerate(str(table).splitlines()[1:]):
        _, _, low, high, _, share_low, share_high, *_ = map(float, line.split())
        assert low <= table.variance_lower[i]
        assert high >= table.variance_upper[i]
        assert share_low <= 100 * table.share_lower[i]
        assert share_high >= 100 * table.share_upper[i]


def test_the_scree_of_nothing_and_of_an_estimate():
    table = streamsvd.pca(np.ones((20, 4)), 2).scree()
    np.testing.assert_array_equal(table.share, 0)
    np.testing.assert_array_equal(table.cumulative_upper, 0)
    guess = streamsvd.svd(
        np.random.default_rng(0).standard_normal((200, 50)), 3, certify="estimate", route="krylov"
    )
    if not guess.scree().is_proved:
        assert str(guess.scree()).endswith("The ends are estimates; nothing is proved.")


def test_the_columns_of_largest_modulus_are_named(A):
    result = streamsvd.pca(A, 3, mask=np.arange(12) != 0)
    table = result.components_table(2)
    assert table.columns.shape == table.entries.shape == (3, 2)
    assert not np.isin(0, table.columns)
    for i in range(3):
        expected = np.argsort(-np.abs(np.nan_to_num(result.Vh[i])), kind="stable")[:2]
        np.testing.assert_array_equal(table.columns[i], expected)
        np.testing.assert_array_equal(table.entries[i], result.Vh[i, expected])
    assert table.names[0][0] == f"column {table.columns[0, 0]}"
    assert str(table).splitlines()[1].split()[0] == "1"
    assert result.components_table(99).columns.shape == (3, 11)
    with pytest.raises(SpecError, match="top=0 is no count"):
        result.components_table(0)


def test_names_come_from_labels(A):
    result = streamsvd.pca(A, 1)
    genes = Labels("", {}, (Dimension("row", 300),), (Dimension("gene", 12),), (Coordinate.of("gene", ("gene",), [f"g{i}" for i in range(12)]),))  # fmt: skip
    assert replace(result, labels=genes).components_table(1).names == (("g0",),)
    grid = Labels(
        "", {}, (Dimension("time", 300),), (Dimension("lat", 3), Dimension("lon", 4)),
        (Coordinate.of("lat", ("lat",), np.array([52.5, 0, -52.5])),),
    )  # fmt: skip
    assert replace(result, labels=grid).components_table(1).names == (("lat=52.5 lon 0",),)


def test_sampling_errors_are_north_s_and_the_certified_ends_beside_them(A):
    result = streamsvd.pca(A, 4)
    found = result.north_errors()
    np.testing.assert_allclose(found.variance, result.explained_variance)
    np.testing.assert_allclose(found.sampling_error, found.variance * np.sqrt(2 / 300))
    np.testing.assert_allclose(found.variance_lower, result.certificate.sigma_lower**2 / 299)
    assert (found.lower <= found.variance_lower).all()
    assert (found.variance_upper <= found.upper).all()
    assert found.separated.tolist() == [True, True, True, True]
    assert found.groups == ((0,), (1,), (2,), (3,))
    assert "sampling error" in str(found)
    assert "certified from" in str(found)


def test_components_of_nearly_equal_variance_are_not_separated():
    rng = np.random.default_rng(0)
    scales = np.array([5.0, 3.0, 2.95, 1.0, 0.2])
    X = np.linalg.qr(rng.standard_normal((200, 5)))[0] * scales
    found = streamsvd.svd(X, 4).north_errors()
    assert found.separated.tolist() == [True, False, True, True]
    assert found.groups == ((0,), (1, 2), (3,))
    few = streamsvd.svd(X, 4).north_errors(effective_size=5)
    assert few.groups == ((0, 1, 2), (3,))
    each = streamsvd.svd(X, 4).north_errors(effective_size=np.array([5.0, 200, 200, 200]))
    np.testing.assert_allclose(each.effective_size, [5, 200, 200, 200])


@pytest.mark.parametrize(
    ("size", "error", "words"),
    [
        ("many", SpecError, "effective_size='many' is no number of rows"),
        (0.5, SpecError, "at least 1 everywhere"),
        (np.array([5.0, np.nan, 1, 1]), SpecError, "finite"),
        (np.ones(2), ShapeError, "effective_size has 2 numbers, the result has 4 components"),
    ],
)
def test_sizes_that_are_none_are_refused(A, size, error, words):
    with pytest.raises(error, match=words):
        streamsvd.pca(A, 4).north_errors(size)


def test_effective_sizes_of_series_in_runs_of_rows(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    for t in range(1, 500):
        x[t, 1] += 0.9 * x[t - 1, 1]
    whole = streamsvd.effective_sample_size(x)
    monkeypatch.setattr(sampling, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(streamsvd.effective_sample_size(x), whole)
    d = x - x.mean(axis=0)
    r = np.sum(d[1:] * d[:-1], axis=0) / np.sum(d**2, axis=0)
    np.testing.assert_allclose(whole, 500 * (1 - r**2) / (1 + r**2))
    assert whole[0] > 450 > 120 > whole[1]
    one = streamsvd.effective_sample_size(list(x[:, 1]), of="mean")
    assert one == pytest.approx(500 * (1 - r[1]) / (1 + r[1]))
    result = streamsvd.pca(x @ rng.standard_normal((2, 6)), 2, u=True, out=tmp_path / "R")
    sizes = streamsvd.effective_sample_size(result.U)
    assert result.north_errors(sizes).effective_size.tolist() == sizes.tolist()


def test_series_that_are_none_are_refused():
    with pytest.raises(ShapeError, match=r"scores have the shape \(2, 4\)"):
        streamsvd.effective_sample_size(np.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"scores have the shape \(3, 3, 3\)"):
        streamsvd.effective_sample_size(np.ones((3, 3, 3)))
    with pytest.raises(SpecError, match="of='median' is unknown"):
        streamsvd.effective_sample_size(np.ones(9), of="median")
    x = np.ones((9, 2))
    x[4, 1] = np.nan
    with pytest.raises(NonFiniteError, match="NaN at row 4, column 1"):
        streamsvd.effective_sample_size(x)


def test_weighted_rows_count_as_fewer(A):
    weights = np.repeat([2.0, 0.0], 150)
    assert streamsvd.pca(A, 2, row_weights=weights).north_errors().effective_size.tolist() == [
        150,
        150,
    ]
    weights = np.arange(1.0, 301.0)
    found = streamsvd.pca(A, 2, row_weights=weights).north_errors().effective_size
    np.testing.assert_allclose(found, np.sum(weights) ** 2 / np.sum(weights**2))
