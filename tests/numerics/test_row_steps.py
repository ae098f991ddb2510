"""Each step on stored entries is its formula on dense rows; texts and steps are one another; what cannot be meant is refused in words."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from streamsvd.errors import SpecError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.numerics.row_entries import DenseEntries, SparseEntries
from streamsvd.numerics.row_steps import (
    Binarize,
    CountTotals,
    Log1p,
    Normalize,
    PearsonResiduals,
    ScaleColumns,
    ScaleDegrees,
    Sqrt,
    Tfidf,
    apply_in_order,
    parse_steps,
    split_steps,
)
from streamsvd.numerics.step_records import RowStepRecord, with_counts


@st.composite
def counts(draw) -> np.ndarray:
    """Small matrices of counts, with empty rows, empty columns and whole ones."""
    m, n = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    A = rng.poisson(draw(st.sampled_from([0.2, 1.0, 6.0])), (m, n)).astype(float)
    A[rng.random(m) < 0.2] = 0
    A[:, rng.random(n) < 0.2] = 0
    return A


def totals(A: np.ndarray) -> CountTotals:
    """What one pass counts."""
    return CountTotals(len(A), A.sum(axis=1), A.sum(axis=0), np.count_nonzero(A, axis=0))


def on_dense(A: np.ndarray, *steps) -> np.ndarray:
    """Steps on rows with their zeros."""
    rows = A.copy()
    apply_in_order(DenseEntries(rows), steps)
    return rows


def on_stored(A: np.ndarray, *steps) -> np.ndarray:
    """The same on what is stored, with an entry that is an explicit zero where there is room."""
    S = sparse.csr_array(A)
    if A.size and A[0, 0] == 0:
        stored = A.copy()
        stored[0, 0] = 7
        S = sparse.csr_array(stored)
        S.data[0] = 0
    apply_in_order(SparseEntries(S.data, S.indices, S.indptr, S.shape[1]), steps)
    return S.toarray()


def agree(A: np.ndarray, step, expected: np.ndarray) -> None:
    """Both ways are the formula, to 1e-12 of the largest entry."""
    for found in (on_dense(A, step), on_stored(A, step)):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(counts())
def test_rows_have_the_sum_that_is_asked_and_empty_ones_stay_empty(A):
    sums = A.sum(axis=1, keepdims=True)
    agree(A, Normalize(1e4), A * np.divide(1e4, sums, out=np.ones_like(sums), where=sums > 0))
    if (sums > 0).any():
        step = Normalize().with_totals(totals(A))
        assert step.target == np.median(sums[sums > 0])  # as scanpy's normalize_total
    else:
        with pytest.raises(SpecError, match="no row has a positive sum. Pass 'normalize=1e4'"):
            Normalize().with_totals(totals(A))


@given(counts())
def test_logarithms_roots_and_marks_are_of_each_entry(A):
    agree(A, Log1p(), np.log1p(A))
    agree(A, Sqrt(), np.sqrt(A))
    agree(A, Binarize(), (A != 0).astype(float))


@given(counts(), st.sampled_from(["l1", "l2", None]), st.booleans(), st.booleans())
def test_weights_of_documents_are_those_of_scikit_learn(A, norm, smooth, sublinear):
    if not smooth:
        A = A[:, A.any(axis=0)]  # there the others are infinite
        if not A.size:
            return
    theirs = TfidfTransformer(norm=norm, smooth_idf=smooth, sublinear_tf=sublinear)
    expected = theirs.fit_transform(sparse.csr_matrix(A)).toarray()
    agree(A, Tfidf(smooth, norm, sublinear).with_totals(totals(A)), expected)


def test_a_term_that_no_document_has_weighs_nothing_without_smoothing():
    A = np.array([[1.0, 0.0], [2.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step = Tfidf(False, None).with_totals(totals(A))
    np.testing.assert_array_equal(step.factors, [1.0, 0.0])
    np.testing.assert_array_equal(on_stored(np.array([[3.0, 5.0]]), step), [[3.0, 0.0]])


@given(counts())
def test_edges_are_weighed_by_powers_of_degrees(A):
    step = ScaleDegrees(-0.5, -1.0).with_totals(totals(A))
    with np.errstate(divide="ignore"):
        row, column = A.sum(axis=1) ** -0.5, A.sum(axis=0) ** -1.0
    row[np.isinf(row)] = column[np.isinf(column)] = 0
    agree(A, step, row[:, None] * A * column)
    agree(A, ScaleDegrees(-1, 0), row[:, None] ** 2 * A)
    assert ScaleDegrees(-1, 0).need is None


@given(counts(), st.sampled_from([100.0, 1.0, np.inf]))
def test_residuals_are_those_of_lause_berens_and_kobak(A, theta):
    step = PearsonResiduals(theta).with_totals(totals(A))
    assert step.clip == np.sqrt(len(A))
    mean = np.outer(A.sum(axis=1), A.sum(axis=0)) / max(A.sum(), 1)
    spread = np.sqrt(mean + mean**2 / theta)
    expected = np.divide(A - mean, spread, out=np.zeros_like(A), where=spread > 0)
    expected = np.clip(expected, -step.clip, step.clip)
    np.testing.assert_allclose(on_dense(A, step), expected, rtol=1e-12, atol=1e-12)
    assert not step.keeps_zeros


def test_columns_have_their_factors():
    A = np.arange(6.0).reshape(2, 3)
    agree(A, ScaleColumns(np.array([2.0, 0.0, -1.0])), A * [2, 0, -1])
    for wrong in (None, [], [[1.0]], [np.nan]):
        with pytest.raises(SpecError, match="one finite factor for each column"):
            ScaleColumns(wrong)


def test_columns_of_a_matrix_are_taken_as_they_are_stored():
    """Steps that need no row are the same on CSC."""
    A = np.random.default_rng(0).poisson(1.0, (6, 4)).astype(float)
    S = sparse.csr_array(A.T)
    step = Tfidf(norm=None).with_totals(totals(A))
    entries = SparseEntries(S.data, S.indices, S.indptr, 6, 0, of_columns=True)
    apply_in_order(entries, [step, Sqrt()])
    np.testing.assert_allclose(S.toarray().T, on_dense(A, step, Sqrt()), rtol=1e-15)
    S.data[3] = -1
    row, column = np.argwhere(S.toarray().T == -1)[0]
    with pytest.raises(SpecError, match=f"row {row}, column {column}"):
        apply_in_order(SparseEntries(S.data, S.indices, S.indptr, 6, 0, of_columns=True), [Sqrt()])


def test_a_row_is_the_same_bits_whatever_rows_are_beside_it():
    A = np.random.default_rng(1).standard_normal((40, 300)) ** 2
    A[A < 1] = 0
    steps = [Normalize(100.0), Log1p(), Tfidf().with_totals(totals(A))]
    whole = on_stored(A, *steps)
    for a, b in ((0, 1), (3, 20), (20, 40)):
        np.testing.assert_array_equal(on_stored(A[a:b], *steps), whole[a:b])


def test_missing_entries_stay_and_count_as_nothing():
    A = np.array([[1.0, np.nan, 3.0], [np.nan, 0.0, 0.0]])
    for way in (on_dense, on_stored):
        np.testing.assert_allclose(way(A, Normalize(8.0)), [[2, np.nan, 6], [np.nan, 0, 0]])
        np.testing.assert_allclose(way(A, Binarize()), [[1, np.nan, 1], [np.nan, 0, 0]])
        norms = way(A, Tfidf(factors=np.ones(3)))
        np.testing.assert_allclose(norms[0], np.array([1, np.nan, 3]) / np.sqrt(10))


@pytest.mark.parametrize("way", [on_dense, on_stored])
def test_entries_that_a_step_does_not_take_are_named(way):
    A = np.array([[1.0, 0.0, 2.0], [0.0, -1.2, 0.37]])
    for step in (
        Log1p(),
        Sqrt(),
        Tfidf(factors=np.ones(3)),
        PearsonResiduals(100, 2, factors=np.ones(3)),
    ):
        with pytest.raises(
            SpecError, match=rf"{step.name} of -1.2 at row 1, column 1: it takes no neg"
        ):
            way(A, step)
    A[1, 1] = np.inf
    with pytest.raises(BadEntry) as bad:
        way(A, Normalize(1.0))
    assert (bad.value.value, bad.value.row, bad.value.column) == ("Inf", 1, 1)
    A[1, 1] = -9
    with pytest.raises(SpecError, match=r"degrees of row 1 is -8.63: a power of it is no number"):
        way(A, ScaleDegrees(-0.5, 0))
    with pytest.raises(SpecError, match=r"degrees of column 1 is -9"):
        ScaleDegrees().with_totals(totals(A))


def test_residuals_take_counts():
    step = PearsonResiduals(100, 2, factors=np.ones(4))
    with pytest.raises(
        SpecError, match=r"pearson expects counts; row 0, column 3 is 0.37. Open the cou"
    ):
        on_dense(np.array([[1.0, 0, 2, 0.37]]), step)


TEXTS = [
    "normalize",
    "normalize=10000",
    "log1p",
    "sqrt",
    "binarize",
    "tfidf",
    "tfidf=l1+sublinear",
    "tfidf=none+unsmooth",
    "degrees=-0.5,-1",
    "pearson=100",
    "pearson=inf,30",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_step_is_its_text(text):
    (step,) = parse_steps([text])
    assert step.text == text
    assert parse_steps(text) == (step,)


def test_all_steps_are_one_text():
    assert split_steps("normalize=1e4, log1p,degrees=-0.5,-0.5,sqrt") == (
        "normalize=1e4",
        "log1p",
        "degrees=-0.5,-0.5",
        "sqrt",
    )
    assert parse_steps("normalise=1e4,binarise") == (Normalize(1e4), Binarize())
    assert parse_steps("normalize=median") == (Normalize(),)
    assert parse_steps(",".join(TEXTS)) == parse_steps(TEXTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scale", r"'scale' is no step. Steps are 'normalize', 'normalize=1e4', 'tfidf'"),
        ("normalize=x", r"'normalize=x': 'x' is no number. Steps are"),
        ("normalize=-1", r"'normalize=-1' is no sum of a row. Pass a positive number"),
        ("log1p=2", r"'log1p=2': log1p takes no value"),
        (
            "tfidf=l3",
            r"'tfidf=l3': 'l3' is no word of it. Pass l1, l2 or none, sublinear, unsmooth",
        ),
        ("degrees=1", r"'degrees=1' names no two powers. Pass 'degrees=-0.5,-0.5'"),
        ("degrees=inf,0", r"has no finite powers"),
        ("pearson=0", r"pearson=0: theta is positive"),
        ("pearson=1,-1", r"the clip is positive. Leave it out for sqrt"),
    ],
)
def test_what_is_no_step_is_refused_with_what_there_is(text, said):
    with pytest.raises(SpecError, match=said):
        parse_steps([text])


@given(counts())
def test_a_record_is_the_step_with_its_counts(A):
    steps = [Normalize(3.0), Log1p(), Tfidf(), ScaleDegrees(), PearsonResiduals()]
    known = [step.with_totals(totals(A)) if step.need else step for step in steps]
    known.append(ScaleColumns(np.ones(A.shape[1])))
    for step in known:
        again = RowStepRecord.of(step).step
        assert again.text == step.text
        assert again.need is None
        np.testing.assert_array_equal(again.vector, step.vector)
    assert with_counts(steps, known[:-1]) == tuple(known[:-1])
    assert with_counts([Normalize()], [Normalize(3.0)]) == (Normalize(3.0),)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ([Normalize(2.0)], [Normalize(3.0)]),
        ([Log1p()], [Sqrt()]),
        ([Log1p(), Sqrt()], [Log1p()]),
        ([Tfidf(norm="l1")], [Tfidf()]),
        ([PearsonResiduals(1.0)], [PearsonResiduals(100.0, 3.0)]),
        ([ScaleColumns(np.ones(2))], [ScaleColumns(np.zeros(2))]),
    ],
)
def test_other_steps_have_no_counts_for_these(asked, known):
    with pytest.raises(
        SpecError, match="the steps were .*, and are to be .*. Leave them out, or ask"
    ):
        with_counts(asked, known)
