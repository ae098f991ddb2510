"""Section 8 of the specification: bad rows are named and leave no trace, odd ones are answered."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.mathematics.top import _arrays
from streamsvd.streams.options import StreamOptions
from tests.streams.streams import exact, fed, found, sine, spiked

WAYS = [
    {"known": known, "order": order} for known in (True, False) for order in ("auto", "arbitrary")
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda w: f"{w['order']}-{w['known']}")


def rows(n=300, d=20, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def assert_well_formed(f, k, d):
    assert f.components.shape == (k, d)
    assert np.abs(f.components @ f.components.T - np.eye(k)).max() <= 1e-12
    c = f.certificate
    for number in (
        f.values,
        c.values_lower,
        c.values_upper,
        c.captured_lower,
        c.sine_estimate,
        c.captured_estimate,
    ):
        assert np.isfinite(number).all()
    assert 0 <= c.sine <= 1
    assert 0 <= c.captured_lower <= 1
    assert f.basis.shape[0] == d
    assert np.abs(f.basis.T @ f.basis - np.eye(f.basis.shape[1])).max() <= 1e-12


def changed(A, at, value):
    B = A.astype(np.result_type(A, type(value)))
    B[at] = value
    return B


BAD = {
    "NaN": (lambda A: changed(A, (30, 4), np.nan), NonFiniteError, "row 130"),
    "Inf": (lambda A: changed(A, (0, 0), np.inf), NonFiniteError, "row 100"),
    "-Inf last": (lambda A: changed(A, (-1, -1), -np.inf), NonFiniteError, "row 199"),
    "too wide": (lambda A: np.ones((5, 21)), ShapeError, "21"),
    "one row, one axis": (lambda A: A[0], ShapeError, "20"),
    "three axes": (lambda A: A[None], ShapeError, "20"),
    "complex": (lambda A: A + 1j, SpecError, "complex"),
    "text": (lambda A: A.astype(str), SpecError, "U"),
    "objects": (lambda A: A.astype(object), SpecError, "object"),
    "huge": (lambda A: changed(A, (3, 3), 1e200), SpecError, "power of two"),
    "too many": (lambda A: np.ones((301, 20)), SpecError, "401.*announced"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("order", ["auto", "arbitrary"])
def test_a_bad_block_is_named_and_changes_nothing(name, order):
    make, error, message = BAD[name]
    A = rows(400)
    stream = StreamState(StreamOptions(order=order), 20, 400).partial_fit(A[:100])
    before = [a.copy() for a in _arrays(stream)]
    numbers = (stream.seen, stream.n_absorbed, stream.energy, stream.largest, stream.threshold)
    with pytest.raises(error, match=message) as failure:
        stream.partial_fit(make(A[100:200]))
    assert isinstance(failure.value, ValueError)
    after = _arrays(stream)
    assert len(after) == len(before)
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert numbers == (
        stream.seen,
        stream.n_absorbed,
        stream.energy,
        stream.largest,
        stream.threshold,
    )
    for at in range(100, 400, 100):
        stream.partial_fit(A[at : at + 100])
    assert np.array_equal(stream.finalize().components, found(A, order=order).components)


def test_no_rows_at_all():
    with pytest.raises(SpecError, match="no row"):
        StreamState(StreamOptions(), 5).finalize()
    with pytest.raises(SpecError, match="no row"):
        StreamState(StreamOptions(), 5).partial_fit(np.zeros((0, 5))).finalize()


def test_a_finalized_stream_takes_no_rows():
    stream = fed(rows())
    stream.finalize()
    with pytest.raises(SpecError, match="finalized"):
        stream.partial_fit(rows())


@ways
@pytest.mark.parametrize("options", [{"k": 1}, {"k": 3}, {"k": 3, "heavy_rows": 0}])
def test_zeros_have_no_vectors(way, options):
    f = found(np.zeros((500, 10)), **way, **options)
    assert_well_formed(f, options["k"], 10)
    assert not f.values.any()
    assert f.certificate.sine == 1
    assert f.certificate.evidence == "none"


@ways
@pytest.mark.parametrize("heavy_rows", [0, 64])
def test_rank_below_k(way, heavy_rows):
    """Vectors that the data do not determine are orthonormal, and no angle is claimed."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((500, 2)) @ rng.standard_normal((2, 12))
    f = found(A, k=4, heavy_rows=heavy_rows, **way)
    assert_well_formed(f, 4, 12)
    assert f.certificate.sine == 1
    assert f.certificate.captured_lower >= 1 - 1e-9
    assert sine(exact(A)[1][:, :2].T, f.components.T) <= 1e-7
    assert f.values[2:].max() <= 1e-9 * f.values[0]


@ways
@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 3), (2, 5), (50, 2), (64, 20)])
def test_few_rows_are_held_and_the_answer_is_exact(way, n, k):
    A = rows(n)
    f = found(A, k=k, **way)
    assert_well_formed(f, k, 20)
    s, V = exact(A)
    rank = min(n, k)
    assert sine(V[:, :rank].T, f.components.T) <= 1e-7
    assert np.allclose(f.values, s[:k], atol=1e-11 * s[0])
    assert f.order.random is None
    assert f.n_rows == n


@ways
def test_one_zero_row_and_one_column(way):
    assert_well_formed(found(np.zeros((1, 4)), **way), 1, 4)
    f = found(rows(300, 1), **way)
    assert f.components.tolist() == [[1.0]]
    assert f.certificate.captured_lower == pytest.approx(1)


@ways
@pytest.mark.parametrize("k", [1, 2])
def test_duplicates(way, k):
    A = np.repeat(rows(1), 500, axis=0)
    f = found(A, k=k, **way)
    assert_well_formed(f, k, 20)
    assert abs(f.components[0] @ A[0]) / np.linalg.norm(A[0]) == pytest.approx(1, abs=1e-12)
    assert f.values[0] == pytest.approx(500 * A[0] @ A[0])


@ways
def test_all_columns_wanted(way):
    f = found(rows(300, 5), k=5, **way)
    assert_well_formed(f, 5, 5)
    assert f.certificate.captured_lower >= 1 - 1e-9


@ways
@pytest.mark.parametrize(
    "kind", ["int8", "int64", "uint8", "uint64", "bool", "float16", "float32", "longdouble", ">f8"]
)
def test_numbers_of_every_kind_are_taken_in_float64(way, kind):
    A = np.random.default_rng(2).integers(0, 2 if kind == "bool" else 100, (400, 12)).astype(kind)
    f = found(A, k=2, **way)
    assert np.array_equal(f.components, found(A.astype(float), k=2, **way).components)
    assert f.components.dtype == np.float64


@ways
@pytest.mark.parametrize("at", [0, 150, 299])
def test_one_gigantic_row_is_the_answer(way, at):
    A = rows()
    A[at] *= 1e8
    f = found(A, **way)
    assert_well_formed(f, 1, 20)
    v = A[at] / np.linalg.norm(A[at])
    assert sine(f.components, v[:, None]) <= 1e-12
    assert f.certificate.sine <= 1e-9
    assert f.certificate.evidence == "deterministic"


@ways
def test_zeros_before_after_and_between(way):
    A = rows(300)
    V = exact(A)[1][:, :2]
    spread = np.zeros((2000, 20))
    spread[::100] = A[:20]
    for B, W in (
        (np.concatenate([np.zeros((700, 20)), A]), V),
        (np.concatenate([A, np.zeros((700, 20))]), V),
        (spread, exact(A[:20])[1][:, :2]),
    ):
        f = found(B, k=2, **way)
        assert_well_formed(f, 2, 20)
        assert sine(f.components, W) <= f.certificate.sine


@pytest.mark.parametrize("came", [1, 200, 1500, 1950])
def test_fewer_rows_than_announced(came):
    A = spiked(np.random.default_rng(3), 9, came, 30)
    f = fed(A, n_rows=2000).finalize()
    assert_well_formed(f, 1, 30)
    assert f.n_rows == came
    s, V = exact(A)
    c = f.certificate
    assert sine(f.components, V[:, :1]) <= c.sine + 1e-9
    assert c.values_lower[0] <= s[0] * (1 + 1e-12) <= c.values_upper[0] * (1 + 1e-9)
    if came <= 1800:  # the rows that judge have not begun
        assert "statistical" not in (c.evidence, c.captured_evidence)


def test_more_rows_than_announced_are_refused_one_by_one_too():
    stream = fed(rows(64), n_rows=64)
    with pytest.raises(SpecError, match="65 rows"):
        stream.partial_fit(rows(1))


@ways
def test_entries_whose_squares_float64_does_not_hold_are_refused(way):
    with pytest.raises(SpecError, match="power of two"):
        found(1e200 * rows(), **way)
    with pytest.raises(SpecError, match="power of two"):
        found(1e-200 * rows(), **way)
    f = found(2.0**600 * 1e-200 * rows(), **way)
    assert_well_formed(f, 1, 20)


LEAN = {"heavy_rows": 4, "sketch_rows": 4}


@pytest.mark.parametrize("exponent", [-200, 200])
def test_scale_is_no_matter(exponent):
    A = spiked(np.random.default_rng(4), 20, 3000, 100)
    one, other = found(A, **LEAN), found(2.0**exponent * A, **LEAN)
    assert np.array_equal(one.components, other.components)
    assert one.certificate.sine == other.certificate.sine
    assert one.certificate.evidence == other.certificate.evidence == "statistical"


@pytest.mark.parametrize("exponent", [-400, -300, 300, 450])
def test_scales_whose_powers_float64_does_not_hold_are_refused(exponent):
    A = spiked(np.random.default_rng(4), 20, 3000, 100)
    with pytest.raises(SpecError, match="power of two"):
        found(2.0**exponent * A, **LEAN)


@pytest.mark.parametrize("options", [{"windows": 1}, {"holdout": 0.99}, {"holdout": 0.001}, {"forgetting": 0.0}, {"heavy_share": 1e-3}, {"heavy_share": 1e6}, {"width": 4, "sketch_rows": 4, "heavy_rows": 0, "probes": 2}])  # fmt: skip
def test_extreme_options_are_answered_and_claims_hold(options):
    A = spiked(np.random.default_rng(5), 30, 2000, 40, 3)
    f = found(A, k=3, **options)
    assert_well_formed(f, 3, 40)
    assert sine(f.components, exact(A)[1][:, :3]) <= f.certificate.sine + 1e-9


def test_more_heavy_rows_than_there_is_room_for_are_reported():
    A = rows(3000, 50)
    A[::30] *= 100
    few, enough = found(A, heavy_rows=10), found(A, heavy_rows=200)
    assert few.overflow
    assert not enough.overflow
    assert enough.heavy_rows == 100
