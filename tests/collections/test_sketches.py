"""What a sketch keeps of a block, and what it refuses; three ways to one interface.

Rows of section 6 of the page on concatenated matrices that concern one block.
"""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.collections.mathematics import (
    from_gram,
    gram,
    left_factor,
    projection,
    sketch,
    sketch_projection,
)
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from tests.collections.blocks import name_blocks, orthonormal, subspaces


def decaying(rng, m, n, base=0.7):
    k = min(m, n)
    return (orthonormal(rng, m, k) * base ** np.arange(k)) @ orthonormal(rng, n, k).T


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (20, 20), (30, 16), (1, 5), (5, 1)])
@pytest.mark.parametrize("error", [0.0, 0.05, 0.5])
def test_a_block_is_its_directions_and_a_ledger(shape, error):
    A = 3.7e5 * decaying(np.random.default_rng(1), *shape)
    s = sketch("a", A, error=error, share=0.5)
    scaled = np.ldexp(A, -s.exponent)
    T = scaled - s.L @ s.Vh
    E = np.linalg.norm(scaled) ** 2
    assert np.abs(scaled).max() <= 1
    assert s.energy == pytest.approx(E, rel=1e-13)
    assert s.tail == pytest.approx(np.linalg.norm(T) ** 2, abs=1e-14 * E)
    assert s.tail_norm == pytest.approx(np.linalg.norm(T, 2) ** 2, abs=1e-14 * E)
    assert s.tail <= (0.5 * error) ** 2 * E * (1 + 1e-12) + 1e-28 * E
    assert np.abs(T @ s.Vh.T).max() <= 1e-14
    D = s.L.T @ s.L
    np.testing.assert_allclose(D, np.diag(s.squares), atol=1e-14 * E)
    assert (np.diff(s.squares) <= 0).all()


def test_as_few_directions_as_the_budget_allows():
    A = decaying(np.random.default_rng(2), 30, 20)
    s = sketch("a", A, error=0.5, share=0.1)
    values = np.linalg.svd(A, compute_uv=False) ** 2
    k = s.squares.size
    assert values[k:].sum() <= 0.05**2 * values.sum() < values[k - 1 :].sum()


def test_powers_of_two_change_the_exponent_and_nothing_else():
    A = decaying(np.random.default_rng(3), 20, 6)
    base = sketch("a", A, error=0.05)
    for power in (-900, -200, -60, 60, 200, 1000):
        other = sketch("a", np.ldexp(A, power), error=0.05)
        assert other.exponent == base.exponent + power
        np.testing.assert_array_equal(other.L, base.L)
        np.testing.assert_array_equal(other.Vh, base.Vh)
        assert other.ledger == base.ledger


@pytest.mark.parametrize("kind", ["float16", "float32", "int8", "int64", "uint8", "bool", ">f8"])
def test_numbers_of_every_kind_become_doubles(kind):
    A = (np.arange(30).reshape(6, 5) % 7).astype(kind)
    s = sketch("a", A, error=0.0)
    np.testing.assert_allclose(np.ldexp(s.L @ s.Vh, s.exponent), A.astype(np.float64), atol=1e-13)


def test_large_integers_are_not_multiplied_as_integers():
    A = np.full((4, 3), 2**62, dtype=np.int64)
    s = sketch("a", A, error=0.0)
    assert np.ldexp(np.sqrt(s.energy), s.exponent) == pytest.approx(2.0**62 * np.sqrt(12))


def test_a_block_is_not_written_to():
    A = decaying(np.random.default_rng(3), 20, 6)
    A.flags.writeable = False
    before = A.copy()
    sketch("a", A, error=0.05)
    sketch_projection("a", A, projection(20), error=0.05)
    np.testing.assert_array_equal(A, before)


@pytest.mark.parametrize("shape", [(5, 0), (0, 3), (5, 3)])
def test_blocks_of_nothing_are_legal(shape):
    s = sketch("a", np.zeros(shape), error=0.05)
    assert s.energy == 0
    assert s.L.shape == (shape[0], 0)
    assert s.Vh.shape == (0, shape[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_named_with_their_place(bad):
    A = np.ones((4, 3))
    A[2, 1] = A[3, 0] = bad
    with pytest.raises(NonFiniteError, match="row 2, column 1.*block 'layer.3'"):
        sketch("layer.3", A, error=0.05)
    with pytest.raises(ValueError, match="block 'layer.3'"):
        sketch_projection("layer.3", A, projection(4), error=0.05)


def test_what_is_no_real_matrix_is_named():
    with pytest.raises(ShapeError, match="block 'w' has 1 dimensions"):
        sketch("w", np.ones(4), error=0.05)
    with pytest.raises(SpecError, match="block 'w' holds complex128"):
        sketch("w", np.ones((2, 2), dtype=complex), error=0.05)
    with pytest.raises(SpecError, match="block 'w' holds object"):
        sketch("w", np.array([["a", 1]], dtype=object), error=0.05)
    with pytest.raises(SpecError, match="error=-0.1 is no relative error"):
        sketch("w", np.ones((2, 2)), error=-0.1)


def of_gram(blocks, error):
    A = np.concatenate(blocks, axis=1)
    K = np.zeros((A.shape[1],) * 2)
    for at in range(0, A.shape[0], 17):
        K = gram(K, A[at : at + 17])
    names = list(name_blocks(blocks))
    return from_gram(K, names, [B.shape[1] for B in blocks], A.shape[0], error=error)


def test_gram_coordinates_have_the_products_of_the_blocks():
    blocks = subspaces(4, m=200, count=3, dim=4, blocks=9, width=6, noise=0.01)
    duals = of_gram(blocks, 1e-3)
    for a, A in zip(duals, blocks, strict=True):
        assert a.rows == 200
        assert a.energy == pytest.approx(np.linalg.norm(A) ** 2, rel=1e-12)
        for b, B in zip(duals, blocks, strict=True):
            found = (a.L @ a.Vh).T @ (b.L @ b.Vh)
            size = np.linalg.norm(A) * np.linalg.norm(B)
            assert np.abs(found - A.T @ B).max() <= 2.1e-4 * size


def test_gram_coordinates_of_blocks_of_very_different_norms():
    blocks = subspaces(4, m=100, count=3, dim=4, blocks=9, width=6, noise=0.0)
    blocks[0] = 1e-9 * blocks[0]
    found = of_gram(blocks, 1e-3)[0]
    values = np.linalg.svd(blocks[0], compute_uv=False)[:4]
    np.testing.assert_allclose(np.sqrt(found.squares), values, rtol=1e-6)


def test_a_left_factor_follows_from_coefficients_in_a_second_read():
    rng = np.random.default_rng(0)
    U, C = orthonormal(rng, 50, 3), rng.standard_normal((3, 20))
    A = U @ C
    slabs = [left_factor(A[at : at + 9], C) for at in range(0, 50, 9)]
    np.testing.assert_allclose(np.concatenate(slabs), U, atol=1e-12)


def test_gram_matrices_refuse_what_they_cannot_hold():
    K = np.eye(4)
    with pytest.raises(SpecError, match="error=1e-08 is lost in squares"):
        from_gram(K, ["a"], [4], 9, error=1e-8)
    with pytest.raises(ShapeError, match="2 blocks of 5 columns"):
        from_gram(K, ["a", "b"], [2, 3], 9, error=0.1)
    K[3, 3] = np.nan
    with pytest.raises(SpecError, match="squares of block 'b' sum to nan"):
        from_gram(K, ["a", "b"], [2, 2], 9, error=0.1)


def test_gram_coordinates_of_zero_blocks_are_zero():
    rng = np.random.default_rng(1)
    blocks = [rng.standard_normal((20, 3)), np.zeros((20, 8)), 1e-3 * rng.standard_normal((20, 7))]
    assert [s.energy > 0 for s in of_gram(blocks, 0.5)] == [True, False, True]


def test_gram_coordinates_of_nothing():
    (empty,) = from_gram(np.zeros((0, 0)), ["a"], [0], 9, error=0.1)
    assert (empty.energy, empty.rows, empty.Vh.shape) == (0, 9, (0, 0))
    zero, one = from_gram(np.diag([0.0, 4.0]), ["a", "b"], [1, 1], 9, error=0.1)
    assert zero.energy == 0
    assert np.ldexp(one.energy, 2 * one.exponent) == pytest.approx(4)


def test_projections_repeat_and_keep_norms_on_average():
    np.testing.assert_array_equal(projection(30, seed=4), projection(30, seed=4))
    assert np.abs(projection(30, seed=4) - projection(30, seed=5)).max() > 0.01
    A = np.random.default_rng(0).standard_normal((500, 12))
    s = sketch_projection("a", A, projection(500, columns=128), error=0.05)
    assert s.L.shape[0] == 128
    assert s.rows == 500
    size = np.ldexp(np.sqrt(s.energy), s.exponent)
    assert size == pytest.approx(np.linalg.norm(A), rel=0.1)


def test_a_projection_of_other_rows_is_refused():
    with pytest.raises(ShapeError, match="block 'a' has 5 rows, the projection was made for 6"):
        sketch_projection("a", np.ones((5, 2)), projection(6), error=0.1)
