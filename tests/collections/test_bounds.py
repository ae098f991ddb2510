"""Bounds hold on whatever blocks: upper ones above the true error, lower ones below, none of a single value.

Acceptance A3 to A7 and A19 of the page on concatenated matrices, with its thresholds.
"""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.collections.mathematics import bounds, error_bracket, estimate, join, singles, sketch
from streamsvd.collections.mathematics.cluster import left_over
from streamsvd.collections.mathematics.pairs import PairCache, pair_errors, pair_floors
from tests.collections.blocks import add_noise, best_error, orthonormal

SLOP = 1e-12


def states(blocks):
    return singles([sketch(f"{i:04d}", A, error=0.0) for i, A in enumerate(blocks)])[0]


def all_uppers(blocks, r):
    """Every upper bound of the relative error that there is."""
    found = states(blocks)
    energies = [s.energy for s in found]
    total = sum(energies)
    chain = estimate(found, r)
    square = {
        "maxnorm": bounds.max_norm(energies, [s.squares for s in found], r),
        "residual": bounds.residual(energies, [s.L for s in found], r),
        "union": bounds.union(energies, [s.squares for s in found], r),
        "incremental": error_bracket(chain, r).upper ** 2,
        "bracket": error_bracket(join(found, least=r, budget=0.01), r).upper ** 2,
    }
    if total == 0:
        return dict.fromkeys(square, 0.0)
    return {name: float(np.sqrt(x / total)) for name, x in square.items()}


def test_a3_published_bounds_are_blind_to_copies_and_the_bracket_is_not():
    A = np.random.default_rng(0).standard_normal((60, 10))
    found = all_uppers([A] * 12, 10)
    assert found["maxnorm"] == pytest.approx(0.957427, abs=1e-6)
    assert found["residual"] == pytest.approx(0.957427, abs=1e-6)
    assert found["union"] >= best_error(np.concatenate([A] * 12, axis=1), 10)
    assert found["incremental"] <= 1e-7
    assert found["bracket"] <= 1e-7


def test_a4_a_block_wider_than_the_rank_counts_as_much_as_the_rank_keeps():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((60, 40))]
    blocks += [0.05 * rng.standard_normal((60, 40)) for _ in range(5)]
    true = best_error(np.concatenate(blocks, axis=1), 10)
    assert true == pytest.approx(0.66, abs=0.03)
    for name, upper in all_uppers(blocks, 10).items():
        assert upper >= true - SLOP, name
    assert all_uppers(blocks, 10)["maxnorm"] > 0.5


def test_a5_blocks_wider_than_they_are_high():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((12, 50)) for _ in range(4)]
    found = states(blocks)
    assert max(s.squares.size for s in found) <= 12
    whole = join(found, least=12, budget=0.0)
    assert whole.squares.size <= 12
    for r in (0, 3, 12, 40):
        true = best_error(np.concatenate(blocks, axis=1), r)
        for name, upper in all_uppers(blocks, r).items():
            assert upper >= true - SLOP, (name, r)
    assert error_bracket(whole, 12).lower == 0


def test_a6_no_lower_bound_above_the_second_singular_value():
    M = np.array([[1.0, 5.0], [0.0, 1.0]])
    blocks = [M[:, :1], M[:, 1:]]
    found, exponent = singles([sketch(str(i), A, error=0.0) for i, A in enumerate(blocks)])
    whole = join(found, least=2, budget=0.0)
    values = np.sqrt(whole.squares)
    np.testing.assert_allclose(np.ldexp(values, exponent), [5.192582, 0.192582], atol=1e-6)
    # The error of rank 1 is sigma_2: every lower bound of it is one of sigma_2.
    for budget in (0.0, 0.001, 0.5, 1.0):
        for least in (1, 2):
            state = join(states(blocks), least=least, budget=budget)
            assert error_bracket(state, 1).lower <= values[1] + SLOP
    for a, b in (states(blocks), states(blocks)[::-1]):
        assert error_bracket(estimate([a, b], 1, buffer=0), 1).lower <= values[1] + SLOP
    # Residual values are {1, 1}; only their sums bound anything.
    energies = [s.energy for s in states(blocks)]
    for order in ((0, 1), (1, 0)):
        L = [states(blocks)[i].L for i in order]
        assert bounds.residual([energies[i] for i in order], L, 1) >= values[1] ** 2 - SLOP


def test_a7_energy_in_a_span_already_there_is_counted_once():
    rng = np.random.default_rng(99)
    B = rng.standard_normal((4, 1))
    blocks = [1e8 * (B @ rng.standard_normal((1, 2))) for _ in range(200)]
    blocks += [2e8 * rng.standard_normal((4, 2)) for _ in range(4)]
    true = best_error(np.concatenate(blocks, axis=1), 2)
    assert true == pytest.approx(0.341599, abs=1e-6)
    found = all_uppers(blocks, 2)
    assert found["incremental"] == pytest.approx(0.341599, abs=1e-6)
    assert found["bracket"] == pytest.approx(0.341599, abs=1e-6)
    whole = join(states(blocks), least=2, budget=0.0)
    assert error_bracket(whole, 2).lower / np.sqrt(whole.energy) == pytest.approx(
        0.341599, abs=1e-6
    )


def test_union_is_never_above_residual():
    rng = np.random.default_rng(5)
    for _ in range(300):
        m, K = int(rng.integers(2, 15)), int(rng.integers(1, 6))
        blocks = [rng.standard_normal((m, int(rng.integers(1, 9)))) for _ in range(K)]
        r = int(rng.integers(0, m + 1))
        found = all_uppers(blocks, r)
        assert found["union"] ** 2 <= found["residual"] ** 2 + 1e-12


def fuzz(rng):
    """Blocks of any rank and scale, side by side."""
    m, K = int(rng.integers(1, 20)), int(rng.integers(1, 6))
    B = rng.standard_normal((m, int(rng.integers(1, m + 1))))
    out = []
    for _ in range(K):
        n = int(rng.integers(1, 31))
        shared = rng.random() < 0.5
        C = B if shared else rng.standard_normal((m, int(rng.integers(1, m + 1))))
        scale = 10 ** rng.uniform(-3, 3)
        out.append(scale * C @ rng.standard_normal((C.shape[1], n)))
    return out, int(rng.integers(0, m + 2))


def check(blocks, r, rng):
    """A19: brackets of states and cheap bounds, against a dense SVD."""
    A = np.concatenate(blocks, axis=1)
    values = np.linalg.svd(A, compute_uv=False) ** 2
    E, true = float(values.sum()), float(np.sum(values[r:][::-1]))
    budget, least = float(rng.choice([0.0, 1e-3, 0.05, 1.0])), int(rng.integers(0, r + 3))
    errors = rng.choice([0.0, 0.3, 1.0], size=len(blocks))
    found, exponent = singles(
        [
            sketch(str(i), B, error=e, share=0.5)
            for i, (B, e) in enumerate(zip(blocks, errors, strict=True))
        ]
    )
    A = np.ldexp(A, -exponent)
    values, E, true = (np.ldexp(x, -2 * exponent) for x in (values, E, true))
    tree = join(
        [join(found[:2], least=least, budget=budget), *found[2:]], least=least, budget=budget
    )
    for state in (tree, estimate(found, r, buffer=int(rng.integers(0, 3)))):
        bracket = error_bracket(state, r)
        assert bracket.lower**2 <= true + SLOP * E
        assert bracket.upper**2 >= true - SLOP * E
        U = state.basis(r)
        own = np.linalg.norm(A - U @ (U.T @ A)) ** 2
        assert bracket.upper**2 >= own - SLOP * E
    for name, upper in all_uppers(blocks, r).items():
        assert upper**2 * E >= true - SLOP * E, name


@pytest.mark.parametrize("seed", range(5))
def test_a19_brackets_of_whatever_blocks(seed):
    rng = np.random.default_rng(seed)
    for _ in range(80):
        check(*fuzz(rng), rng)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a19_brackets_of_twenty_thousand_cases(seed):
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        check(*fuzz(rng), rng)


def test_a_bracket_is_tight_where_little_was_discarded():
    rng = np.random.default_rng(3)
    B = orthonormal(rng, 80, 8)
    blocks = [add_noise(rng, B @ rng.standard_normal((8, 10)), 0.01) for _ in range(20)]
    whole = join(states(blocks), least=8, budget=(0.1 * 0.05) ** 2)
    norm = np.sqrt(whole.energy)
    bracket, true = error_bracket(whole, 8), best_error(np.concatenate(blocks, axis=1), 8)
    assert bracket.lower / norm <= true <= bracket.upper / norm
    assert bracket.upper / norm - true <= 0.006 * 0.05
    assert bracket.lower > 0.5 * bracket.upper


def test_errors_of_pairs_are_those_of_both_and_their_floors_below():
    rng = np.random.default_rng(7)
    for _ in range(100):
        blocks, _ = fuzz(rng)
        found, exponent = singles([sketch(str(i), B, error=0.1) for i, B in enumerate(blocks)])
        a, others = found[0], found[1:]
        errors, floors = pair_errors(a, others), pair_floors(a, others)
        exact = pair_errors(a, others, exact=True)
        assert (floors <= errors).all()
        for i, b in enumerate(others):
            both = np.ldexp(np.concatenate([blocks[0], blocks[i + 1]], axis=1), -exponent)
            values = np.linalg.svd(both, compute_uv=False) ** 2
            E, most = a.energy + b.energy, a.ledger.discarded + b.ledger.discarded
            for r in range(errors.shape[1]):
                true = float(np.sum(values[r:][::-1]))
                assert true - SLOP * E <= errors[i, r] <= true + most + SLOP * E
                assert true - SLOP * E <= exact[i, r] <= true + most + SLOP * E
                assert floors[i, r] <= true + most + SLOP * E


def wide(rng, count, *, m=130, n=100):
    """Blocks of nearly full rank, of which some share directions."""
    B = rng.standard_normal((m, 20)) @ rng.standard_normal((20, n))
    return [
        rng.standard_normal((m, n)) + (3 * B if i % 2 else 0) * rng.uniform() for i in range(count)
    ]


def test_pairs_of_wide_states_are_judged_alike_by_gram_matrices_and_by_singular_values():
    rng = np.random.default_rng(3)
    found, _ = singles([sketch(str(i), B, error=0.2) for i, B in enumerate(wide(rng, 6))])
    assert all(s.G is not None for s in found)
    a, others, known = found[2], [found[0], *found[3:]], PairCache()
    errors = pair_errors(a, others, known=known)
    exact = pair_errors(a, others, exact=True)
    assert np.abs(errors - exact).max() <= 1e-11 * exact.max()
    assert (pair_floors(a, others) <= errors).all()
    np.testing.assert_array_equal(pair_errors(a, others, known=known), errors)
    np.testing.assert_array_equal(pair_errors(others[0], [a], known=known)[0], errors[0])


def test_joining_by_products_certifies_what_stacking_does():
    rng = np.random.default_rng(5)
    blocks = wide(rng, 7)
    found, exponent = singles([sketch(str(i), B, error=0.2) for i, B in enumerate(blocks)])
    stacked = np.ldexp(np.concatenate(blocks, axis=1), -exponent)
    squares = np.linalg.svd(stacked, compute_uv=False) ** 2
    quick = join(found, least=0, budget=1e-3, by_products=True)
    slow = join(found, least=0, budget=1e-3)
    assert quick.ledger.deficit > 0
    assert np.abs(quick.L.T @ quick.L - np.diag(quick.squares)).max() <= 1e-11 * quick.squares[0]
    for r in (0, 1, 17, 60, 130):
        best = float(np.sqrt(np.sum(squares[r:])))
        W = quick.basis(r)
        own = float(np.linalg.norm(stacked - W @ (W.T @ stacked)))
        low, high = (getattr(error_bracket(quick, r), side) for side in ("lower", "upper"))
        assert low <= best <= own * (1 + 1e-12)
        assert own <= high * (1 + 1e-12)
        assert high <= error_bracket(slow, r).upper * (1 + 1e-5) + 1e-5 * np.sqrt(quick.energy)


def test_what_a_basis_leaves_is_the_same_of_wide_and_narrow_states():
    rng = np.random.default_rng(6)
    blocks = [*wide(rng, 3), rng.standard_normal((130, 4)), *wide(rng, 1)]
    found, _ = singles([sketch(str(i), B, error=0.0) for i, B in enumerate(blocks)])
    assert [s.G is None for s in found] == [False, False, False, True, False]
    W = orthonormal(rng, 130, 30)
    left = [np.linalg.norm(s.L - W @ (W.T @ s.L)) ** 2 for s in found]
    np.testing.assert_allclose(left_over(W, found), left, rtol=1e-11)


def test_certificates_cover_what_lapack_rounds():
    """Products of factors of matrices with one dominant direction are off by more than ``8 u sqrt(m + n)``."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        m, n = (int(i) for i in rng.integers(1, 30, size=2))
        A = np.outer(rng.standard_normal(m), rng.standard_normal(n))
        A += 10 ** rng.uniform(-4, 0) * rng.standard_normal((m, n))
        found = sketch("a", A, error=0.0)
        (state,), exponent = singles([found])
        off = np.linalg.norm(A - np.ldexp(found.L @ found.Vh, exponent))
        assert off <= np.ldexp(error_bracket(state, min(m, n)).upper, exponent)


def test_blocks_of_nothing_have_no_error():
    found = all_uppers([np.zeros((5, 2)), np.zeros((5, 0))], 1)
    assert set(found.values()) == {0.0}
