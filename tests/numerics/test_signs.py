from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from streamsvd.numerics.signs import phases, phases_after


def vectors(complex_, seed=0):
    rng = np.random.default_rng(seed)
    V = rng.standard_normal((9, 5))
    return V + 1j * rng.standard_normal((9, 5)) if complex_ else V


@pytest.mark.parametrize("complex_", [False, True])
def test_the_largest_entry_of_each_vector_becomes_real_and_positive(xp, complex_):
    V = vectors(complex_)
    f = xp.host(phases(xp.array(V)))
    np.testing.assert_allclose(np.abs(f), 1)
    turned = V * f
    largest = np.take_along_axis(turned, np.abs(V).argmax(axis=0)[None], axis=0)[0]
    assert (largest.real > 0).all()
    np.testing.assert_allclose(largest.imag, 0, atol=1e-15)


@pytest.mark.parametrize("complex_", [False, True])
def test_the_rule_does_not_depend_on_the_signs_it_is_given(xp, complex_):
    V = vectors(complex_)
    turn = np.exp(2j * np.pi * np.linspace(0, 1, 5)) if complex_ else np.array([1, -1, 1, -1, -1.0])
    once = V * xp.host(phases(xp.array(V)))
    again = (V * turn) * xp.host(phases(xp.array(V * turn)))
    np.testing.assert_allclose(once, again, atol=1e-14)
    np.testing.assert_allclose(xp.host(phases(xp.array(once))), 1, atol=1e-15)


def test_ties_go_to_the_lowest_index_also_where_rounding_breaks_them(xp):
    V = np.array([[-1.0, 0.0, -1.0], [1.0, 2.0, 1.0 + 1e-12], [0.5, -2.0, 0.0]])
    np.testing.assert_array_equal(xp.host(phases(xp.array(V))), [-1, 1, -1])


def test_a_vector_of_zeros_is_left_alone(xp):
    np.testing.assert_array_equal(xp.host(phases(xp.array(np.zeros((4, 2))))), [1, 1])


def test_no_vectors_have_no_signs():
    assert phases(np.zeros((4, 0))).shape == (0,)


def overlaps(one, other):
    return one.conj().T @ other


@pytest.mark.parametrize("complex_", [False, True])
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(0, 1), k=st.integers(1, 5))
def test_vectors_follow_earlier_ones_however_their_signs_are_given(complex_, seed, angle, k):
    rng = np.random.default_rng(seed)
    earlier = np.linalg.qr(vectors(complex_, seed))[0]
    step = rng.standard_normal((9, 9)) + 1j * complex_ * rng.standard_normal((9, 9))
    turn = expm(angle * (step - step.conj().T) / np.linalg.norm(step - step.conj().T, 2))
    later = (turn @ earlier)[:, :k]
    given_ = (
        later * np.exp(2j * np.pi * rng.random(k)) if complex_ else later * rng.choice([-1, 1], k)
    )
    found = given_ * phases_after(given_, earlier)
    own = np.diagonal(overlaps(earlier, found))
    assert (own.real >= 0.5).all()  # turned by at most one radian
    np.testing.assert_allclose(own.imag, 0, atol=1e-12)
    again = later * phases_after(later, earlier)
    np.testing.assert_allclose(found, again, atol=1e-9)


def test_vectors_that_change_places_keep_their_signs(xp):
    earlier = np.linalg.qr(vectors(False))[0]
    later = earlier[:, [1, 0, 2, 4, 3]] * [-1, 1, -1, -1, -1]
    f = xp.host(phases_after(xp.array(later), xp.array(earlier)))
    np.testing.assert_allclose(later * f, earlier[:, [1, 0, 2, 4, 3]])


def test_a_vector_that_is_new_obeys_the_rule_of_the_largest_entry(xp):
    V = np.linalg.qr(vectors(False))[0]
    f = xp.host(phases_after(xp.array(V), xp.array(V[:, :2])))
    np.testing.assert_array_equal(f[:2], 1)
    np.testing.assert_array_equal(f[2:], phases(V)[2:])
    np.testing.assert_array_equal(xp.host(phases_after(xp.array(V), xp.array(V[:, :0]))), phases(V))


def test_a_vector_that_has_turned_far_follows_what_is_left_of_its_own():
    earlier = np.eye(4)[:, :2]
    later = np.array([[-0.1, 0], [0.6, 0.4], [0.5, -0.9], [np.sqrt(0.38), 0.2]])
    np.testing.assert_array_equal(phases_after(later, earlier), [-1, 1])
