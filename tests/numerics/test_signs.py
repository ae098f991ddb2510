from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.signs import phases


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
