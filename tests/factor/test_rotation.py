"""Rotated components of results: what they hold, their scores, their variances, land, weights, models, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import NotConverged, ShapeError, SpecError
from streamsvd.factor import rotation as rotating
from streamsvd.factor.rotation_result import RotatedScores
from streamsvd.info import Status


def matrix(complex_=False, seed=0):
    """Three groups of columns that vary together, and noise."""
    rng = np.random.default_rng(seed)
    patterns = np.kron(np.eye(3), np.ones(5)) + 0.1 * rng.standard_normal((3, 15))
    scores = rng.standard_normal((400, 3)) * [3, 2.5, 2]
    if complex_:
        scores = scores * np.exp(2j * np.pi * rng.random((400, 1)))
        patterns = patterns * np.exp(2j * np.pi * rng.random((1, 15)))
    return scores @ patterns + 0.1 * rng.standard_normal((400, 15)) + 5


CASES = [("varimax", False), ("varimax", True), ("promax", False), ("promax", True)]


@pytest.mark.parametrize(("method", "complex_"), CASES)
def test_scores_and_components_are_the_rows_before(method, complex_):
    result = streamsvd.svd(matrix(complex_), 3, u=True, center=True)
    found = streamsvd.rotate(result, method=method)
    f = result.info.freedom
    rows = (result.U * result.s) @ result.Vh
    np.testing.assert_allclose(found.scores @ found.components, rows, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(found.components, axis=1), 1)
    covariance = found.scores.conj().T @ found.scores / f
    np.testing.assert_allclose(np.diagonal(covariance), found.variance, rtol=1e-10)
    size = np.sqrt(found.variance)
    np.testing.assert_allclose(covariance / np.outer(size, size), found.correlation, atol=1e-10)
    np.testing.assert_allclose(found.loadings, size[:, None] * found.components)
    assert (np.diff(found.variance) <= 0).all()
    before = result.Vh.conj().T * np.sqrt(found.variance_before)
    np.testing.assert_allclose(before @ found.rotation, found.loadings.conj().T, atol=1e-10)
    np.testing.assert_allclose(found.variance_before, result.s**2 / f)
    largest = np.take_along_axis(
        found.components, np.abs(found.components).argmax(axis=1)[:, None], 1
    )
    np.testing.assert_allclose(largest, np.abs(largest), atol=1e-12)
    np.testing.assert_allclose(found.rotate_scores(result.U * result.s), found.scores, atol=1e-10)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("normalize", [True, False])
def test_varimax_keeps_the_variance_and_scores_apart(complex_, normalize):
    result = streamsvd.pca(matrix(complex_), 4, u=True)
    found = streamsvd.rotate(result, normalize=normalize)
    assert found.variance.sum() == pytest.approx(result.explained_variance.sum(), rel=1e-12)
    assert found.variance_ratio.sum() == pytest.approx(result.explained_variance_ratio.sum())
    np.testing.assert_allclose(found.rotation.conj().T @ found.rotation, np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(found.correlation, np.eye(4))
    assert found.info.status is Status.CONVERGED


def test_groups_of_columns_are_found():
    for method in ("varimax", "promax"):
        found = streamsvd.rotate(streamsvd.pca(matrix(), 3), method=method)
        groups = np.abs(found.components).reshape(3, 3, 5).sum(axis=2)
        assert (np.sort(groups, axis=1)[:, -1] > 5 * np.sort(groups, axis=1)[:, -2]).all()
        assert sorted(groups.argmax(axis=1)) == [0, 1, 2]


def test_signs_of_the_components_before_do_not_matter():
    result = streamsvd.pca(matrix(), 3, u=True)
    turn = np.array([-1.0, 1.0, -1.0])
    other = replace(result, Vh=turn[:, None] * result.Vh, U=result.U * turn)
    for method in ("varimax", "promax"):
        a, b = (streamsvd.rotate(each, method=method) for each in (result, other))
        np.testing.assert_allclose(a.components, b.components, atol=1e-8)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
        np.testing.assert_allclose(a.variance, b.variance)


def test_columns_that_were_left_out_take_no_part_and_stay_blank():
    A = matrix()
    mask = np.arange(15) % 4 != 1
    whole = streamsvd.rotate(streamsvd.pca(A, 3, mask=mask, tol=1e-9))
    part = streamsvd.rotate(streamsvd.pca(A[:, mask], 3, tol=1e-9))
    assert np.isnan(whole.components[:, ~mask]).all()
    np.testing.assert_allclose(whole.components[:, mask], part.components, atol=1e-6)
    np.testing.assert_allclose(whole.variance, part.variance, rtol=1e-6)
    weights = mask.astype(float)
    weighted = streamsvd.rotate(streamsvd.pca(A, 3, column_weights=weights, tol=1e-9))
    np.testing.assert_allclose(weighted.components[:, mask], part.components, atol=1e-6)
    np.testing.assert_array_equal(weighted.components[:, ~mask], 0)


def test_a_model_is_rotated_too(tmp_path):
    A = matrix()
    streamsvd.update(tmp_path / "M", A, "rows", rank=3, center=True)
    model = streamsvd.Model.open(tmp_path / "M")
    one = streamsvd.rotate(model)
    np.testing.assert_allclose(
        one.components, streamsvd.rotate(streamsvd.pca(A, 3)).components, atol=1e-4
    )
    assert one.scores is None


def test_scores_on_disk_are_computed_where_they_are_read(tmp_path, monkeypatch):
    result = streamsvd.pca(matrix(), 3, u=True, out=tmp_path / "R")
    at_once = streamsvd.rotate(result)
    assert isinstance(at_once.scores, np.ndarray)
    monkeypatch.setattr(rotating, "IN_MEMORY_BYTES", 0)
    found = streamsvd.rotate(result, 2)
    assert isinstance(found.scores, RotatedScores)
    assert (found.scores.shape, found.scores.ndim, len(found.scores)) == ((400, 2), 2, 400)
    whole = np.asarray(result.U)[:, :2] * result.s[:2] @ np.asarray(found._score_matrix())
    np.testing.assert_allclose(np.asarray(found.scores), whole, atol=1e-10)
    np.testing.assert_allclose(found.scores[3], whole[3], atol=1e-10)
    np.testing.assert_allclose(found.scores[10:20, 1], whole[10:20, 1], atol=1e-10)
    again = streamsvd.load(found.save(tmp_path / "rotated"))
    np.testing.assert_array_equal(again.scores[:], np.asarray(found.scores))


def test_labels_and_the_sentence_of_a_rotation():
    found = streamsvd.rotate(streamsvd.pca(matrix(), 4), 3, "promax", power=3)
    assert found.labels.columns[0].length == 15
    assert repr(found).startswith("<Rotation (promax 3) of 3 components that hold 99.")
    assert "converged after" in repr(found)
    assert found.options.n_components == 3


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_values_whose_squares_leave_float64(size):
    with np.errstate(all="ignore"):
        result = streamsvd.svd(matrix() * size, 3, u=True)
        found = streamsvd.rotate(result)
    small = streamsvd.rotate(streamsvd.svd(matrix(), 3, u=True))
    np.testing.assert_allclose(found.components, small.components, atol=1e-6)
    np.testing.assert_allclose(found.scores / size, small.scores, atol=1e-6)


def test_what_does_not_converge_says_so_and_hands_over_what_there_is():
    result = streamsvd.svd(np.random.default_rng(0).standard_normal((300, 40)), 10)
    with pytest.raises(
        NotConverged, match="not finished after max_iterations=1: .* tol=1e-15"
    ) as stop:
        streamsvd.rotate(result, tol=1e-15, max_iterations=1)
    found = stop.value.result
    assert found.info.status is Status.NOT_CONVERGED
    assert "not converged after 1 sweep" in repr(found)
    assert found.components.shape == (10, 40)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_components": 5}, SpecError, "n_components=5, but the result has 4 components. Pass at most 4"),
        ({"n_components": 0}, SpecError, "n_components=0 is no count"),
        ({"method": "oblimin"}, SpecError, "method='oblimin' is unknown. Pass \"varimax\" or \"promax\""),
        ({"method": "promax", "power": 0.5}, SpecError, "power=0.5 is no power"),
        ({"power": "four"}, SpecError, "power='four' is no power"),
        ({"normalize": 1}, SpecError, "normalize=1 is neither"),
        ({"tol": 0}, SpecError, "tol=0 is no relative gain"),
        ({"max_iterations": 0}, SpecError, "max_iterations=0 is no count"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(options, error, words):
    result = streamsvd.pca(matrix(), 4)
    with pytest.raises(error, match=words.replace("(", r"\(")):
        streamsvd.rotate(result, **options)


def test_components_of_value_zero_are_not_rotated():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 8))
    result = streamsvd.svd(A, 4)
    assert streamsvd.rotate(result).rank == 2
    with pytest.raises(SpecError, match="2 of the 4 values are positive; .* at most 2"):
        streamsvd.rotate(result, 3)
    with pytest.raises(SpecError, match="all values are zero"):
        streamsvd.rotate(streamsvd.pca(np.ones((30, 3)), 2))


def test_only_components_are_rotated_and_scores_are_wide_enough():
    with pytest.raises(SpecError, match="ndarray has no components to rotate"):
        streamsvd.rotate(np.eye(3))
    found = streamsvd.rotate(streamsvd.pca(matrix(), 3))
    with pytest.raises(
        ShapeError, match=r"scores have the shape \(4, 2\), the rotation is of 3 components"
    ):
        found.rotate_scores(np.ones((4, 2)))
