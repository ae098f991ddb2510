"""Missing values under each policy: the answer is that of the matrix without them, however it comes."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import NonFiniteError, SpecError


@pytest.fixture(scope="module")
def holed():
    """A matrix with holes in three columns, one of which has no value at all."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3_000, 12)) * ([5, 3] + [1] * 10) + 1
    A[rng.random(len(A)) < 0.2, 4] = np.nan
    A[rng.random(len(A)) < 0.1, 0] = np.nan
    A[:, 7] = np.nan
    return A


def written(path, A):
    zarr.create_array(path, shape=A.shape, chunks=(100, A.shape[1]), dtype="f8")[...] = A
    return path


def without(A, nonfinite):
    """The columns that have values, and these filled as the policy says, or left out."""
    some = ~np.isnan(A).all(axis=0)
    if nonfinite == "drop_columns":
        some = ~np.isnan(A).any(axis=0)
    B = A[:, some]
    fill = np.nanmean(B, axis=0) if nonfinite == "mean" else np.zeros(B.shape[1])
    return some, np.where(np.isnan(B), fill, B)


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
@pytest.mark.parametrize("nonfinite", ["zero", "mean", "drop_columns"])
def test_a_stored_matrix_is_the_one_without_missing_values(tmp_path, holed, nonfinite, order):
    some, B = without(holed, nonfinite)
    path = written(tmp_path / "a.zarr", holed)
    found = streamsvd.top_eigenvectors(path, 2, order=order, nonfinite=nonfinite)
    truth = streamsvd.top_eigenvectors(written(tmp_path / "b.zarr", B), 2, order=order)
    np.testing.assert_allclose(found.components[:, some], truth.components, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.values, truth.values, rtol=1e-9)
    assert np.isnan(found.components[:, ~some]).all()
    assert found.info.dropped_columns == tuple(np.flatnonzero(~some))
    counted = nonfinite != "zero"
    assert found.info.bytes_read >= (1 + counted) * B.nbytes


def test_blocks_are_those_with_zeros(holed):
    zeros = np.nan_to_num(holed)
    found = streamsvd.top_eigenvectors(
        [holed[:1_000], holed[1_000:]], 2, nonfinite="zero", passes=2
    )
    truth = streamsvd.top_eigenvectors([zeros[:1_000], zeros[1_000:]], 2, passes=2)
    np.testing.assert_array_equal(found.values, truth.values)
    assert found.info.missing == np.isnan(holed).sum()
    assert truth.info.missing == 0
    assert np.isnan(holed[:, 7]).all(), "blocks are not written into"


def test_a_masked_row_of_integers_is_zero_where_it_is_masked():
    A = np.random.default_rng(0).integers(1, 9, (300, 5))
    hidden = np.random.default_rng(1).random(A.shape) < 0.1
    masked = np.ma.masked_array(A, hidden)
    found = streamsvd.top_eigenvectors([masked], nonfinite="zero")
    truth = streamsvd.top_eigenvectors([np.where(hidden, 0, A)])
    np.testing.assert_array_equal(found.components, truth.components)
    with pytest.raises(NonFiniteError, match="NaN"):
        streamsvd.top_eigenvectors([masked])


def test_a_stream_keeps_its_policy_through_a_save(tmp_path, holed):
    stream = streamsvd.TopEigenvectorStream(2, nonfinite="zero", width=9).partial_fit(holed[:500])
    stream.save(tmp_path / "s")
    again = streamsvd.TopEigenvectorStream.load(tmp_path / "s")
    one, other = (s.partial_fit(holed[500:]).finalize() for s in (stream, again))
    np.testing.assert_array_equal(one.components, other.components)
    assert one.info.missing == other.info.missing == np.isnan(holed).sum()
    assert one.options == other.options
    assert other.options.width == 9


@pytest.mark.parametrize("nonfinite", ["mean", "drop_columns"])
def test_what_must_be_counted_first_is_refused_for_blocks(nonfinite):
    came = []
    blocks = (came.append(1) or np.ones((9, 2)) for _ in range(3))
    with pytest.raises(SpecError, match=f'nonfinite=.{nonfinite}. .* Pass "zero" or "raise"'):
        streamsvd.top_eigenvectors(blocks, nonfinite=nonfinite)
    assert not came
    with pytest.raises(SpecError, match="one after another"):
        streamsvd.TopEigenvectorStream(nonfinite=nonfinite)


@pytest.mark.parametrize("A", [np.ones((9, 2)), [np.ones((9, 2))]], ids=["matrix", "blocks"])
def test_an_unknown_policy_is_refused(A):
    with pytest.raises(SpecError, match="nonfinite='skip' is unknown"):
        streamsvd.top_eigenvectors(A, nonfinite="skip")


@pytest.mark.parametrize("nonfinite", ["zero", "mean", "drop_columns"])
def test_what_is_infinite_is_an_error_under_every_policy(tmp_path, nonfinite):
    A = np.ones((300, 4))
    A[217, 2], A[3, 1] = np.inf, np.nan
    with pytest.raises(NonFiniteError, match=r"Inf at row 217, column 2"):
        streamsvd.top_eigenvectors(written(tmp_path / "a.zarr", A), nonfinite=nonfinite)
    if nonfinite == "zero":
        with pytest.raises(NonFiniteError, match=r"Inf at row 217, column 2"):
            streamsvd.top_eigenvectors([A[:200], A[200:]], nonfinite=nonfinite)


def test_a_policy_that_would_help_is_named(tmp_path):
    A = np.ones((300, 4))
    A[217, 2] = np.nan
    for way in (written(tmp_path / "a.zarr", A), [A]):
        with pytest.raises(NonFiniteError, match='or pass nonfinite="zero"'):
            streamsvd.top_eigenvectors(way)


def test_a_shuffled_copy_keeps_what_is_missing(tmp_path, holed):
    out = streamsvd.shuffle(written(tmp_path / "a.zarr", holed), tmp_path / "b.zarr")
    assert np.isnan(zarr.open_array(out)[...]).sum() == np.isnan(holed).sum()
