"""The ledger's identity and bounds on chains and trees of every kind of block, against LAPACK."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvd.errors import ShapeError, SpecError
from streamsvd.models.mathematics.incremental import (
    BUFFER_ENTRIES,
    IncrementalSVD,
    default_buffer,
    economic_svd,
)
from streamsvd.models.mathematics.subspaces import captured_share, principal_angles
from streamsvd.numerics.certificate import Kind
from streamsvd.numerics.ledger import Factor, Ledger
from streamsvd.options import TOL


def orthonormal(rng, m, k):
    return np.linalg.qr(rng.standard_normal((m, k)))[0]


def with_spectrum(s, m, n, seed=0, complex_=False):
    rng = np.random.default_rng(seed)
    k = len(s)
    U, V = orthonormal(rng, m, k), orthonormal(rng, n, k)
    if complex_:
        U = np.linalg.qr(U + 1j * rng.standard_normal((m, k)))[0]
    return (U * s) @ V.T


def chain(method, blocks):
    state = method.init(blocks[0].shape[1], like=blocks[0])
    for block in blocks:
        state = method.update(state, block)
    return state


def tree(method, blocks):
    states = [method.join_parts([method.part(b, index=i)])[0] for i, b in enumerate(blocks)]
    while len(states) > 1:
        pairs = [states[i : i + 2] for i in range(0, len(states), 2)]
        states = [method.merge(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return states[0]


SHAPES = {"chain": chain, "tree": tree}


def assert_proved(found, A, slack):
    """What stands beside the intervals, against LAPACK; ``slack`` is rounding in the norm of A."""
    c, r = found.certificate, found.s.size
    _, sigma, Vh = np.linalg.svd(A)
    sigma = np.concatenate([sigma, np.zeros(max(Vh.shape[0] - sigma.size, 0) + 1)])
    best = np.linalg.norm(sigma[r:])
    rest = A - A @ found.Vh.conj().T @ found.Vh
    assert found.optimal_error_lower <= best + slack
    error = np.linalg.norm(rest)
    assert error <= c.frobenius_error + slack
    if np.isfinite(c.excess):
        assert c.excess >= 0
        assert error <= (1 + c.excess) * best + slack
        assert c.frobenius_error <= (1 + c.excess) * found.optimal_error_lower * (1 + 1e-12) + slack
    norm = np.linalg.norm(rest, 2)
    assert norm <= c.spectral_error + slack
    assert c.spectral_error <= c.frobenius_error * (1 + 1e-12)
    assert c.next_lower <= sigma[r] + slack
    if np.isfinite(c.spectral_excess):
        assert norm <= (1 + c.spectral_excess) * sigma[r] + slack
    assert c.tol == TOL
    for i in np.flatnonzero(c.resolved):
        assert abs(found.s[i] - sigma[i]) <= 1.001 * TOL * sigma[i] + 1e-5 * sigma[0] + slack
    assert [g.first for g in c.groups] == [0, *(g.last + 1 for g in c.groups)][:-1]
    for g in c.groups:
        inside = sigma[g.first : g.last + 1]
        assert (g.lower <= inside + slack).all()
        assert (inside <= g.upper + slack).all()
    for count, bound in (
        (r, c.subspace_angle_bound),
        (c.resolved_count, c.resolved_angle_bound),
    ):
        if np.isfinite(bound) and count:
            angles = principal_angles(found.Vh[:count], Vh[:count])
            assert np.sin(angles.max()) <= bound + 1e-7


def decaying(rng):
    return np.split(with_spectrum(0.9 ** np.arange(60), 200, 60), 20)


def twelve_decades(rng):
    return [10.0 ** (i - 6) * rng.standard_normal((5, 40)) for i in range(12)]


CASES = {
    "decaying": decaying,
    "identical": lambda rng: [rng.standard_normal((10, 60))] * 12,
    "orthogonal": lambda rng: list(np.split(orthonormal(rng, 60, 60), 12)),
    "zero": lambda rng: [np.zeros((7, 30)) for _ in range(5)],
    "rank deficient": lambda rng: list(
        np.split(rng.standard_normal((120, 6)) @ rng.standard_normal((6, 40)), 12)
    ),
    "twelve decades": twelve_decades,
    "tall": lambda rng: [rng.standard_normal((50, 12)) for _ in range(6)],
    "single rows": lambda rng: list(np.split(rng.standard_normal((40, 25)), 40)),
    "with empty": lambda rng: [rng.standard_normal((h, 20)) for h in (3, 0, 1, 17, 0, 40)],
    "complex": lambda rng: list(
        np.split(with_spectrum(0.8 ** np.arange(30), 90, 30, complex_=True), 9)
    ),
    "sketched": lambda rng: list(np.split(with_spectrum(1 / np.arange(1, 301), 600, 300), 2)),
}


@pytest.mark.parametrize("kept", [5, 10, 15])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_the_ledger_is_the_error_and_its_bounds_hold(name, shape, kept):
    """A1 and A2: identity C1, singular values C2, spectral norm C3, optimum C4, orthogonality."""
    blocks = CASES[name](np.random.default_rng(3))
    A = np.concatenate(blocks)
    method = IncrementalSVD(rank=kept, buffer=0)
    state = SHAPES[shape](method, [b for b in blocks if b.shape[0]] if shape == "tree" else blocks)
    size = np.linalg.norm(A)
    true = np.linalg.norm(A - A @ state.Vh.conj().T @ state.Vh) if state.s.size else size
    ledger = state.ledger
    assert ledger.energy == pytest.approx(size**2, rel=1e-12)
    # U s Vh with U* A = s Vh: the ledger is its error exactly, and no less than the projection's.
    assert abs(ledger.energy - np.sum(state.s**2) - ledger.discarded) <= 1e-12 * size**2
    assert true <= np.sqrt(ledger.discarded) + 1e-12 * size
    k = state.s.size
    assert np.linalg.norm(state.Vh.conj() @ state.Vh.T - np.eye(k), 2) <= 1e-13
    D = A.conj().T @ A - (state.Vh.conj().T * state.s**2) @ state.Vh
    eigenvalues = np.linalg.eigvalsh(D)
    assert eigenvalues.min() >= -1e-12 * size**2
    assert np.trace(D).real == pytest.approx(ledger.discarded, abs=1e-11 * size**2)
    assert eigenvalues.max() <= ledger.discarded_norm + 1e-11 * size**2
    sigma = np.linalg.svd(A, compute_uv=False)
    for rank in {1, max(1, k // 2), k} - {0}:
        found = IncrementalSVD(rank=rank, buffer=kept - rank).finalize(state)
        r = found.s.size
        c = found.certificate
        assert (c.sigma_lower <= sigma[:r] * (1 + 1e-12)).all()
        assert (sigma[:r] <= c.sigma_upper * (1 + 1e-12) + 1e-300).all()
        best = np.linalg.norm(sigma[r:])
        assert found.optimal_error_lower <= best * (1 + 1e-12)
        error = np.linalg.norm(A - A @ found.Vh.conj().T @ found.Vh)
        assert best <= error * (1 + 1e-9) + 1e-12 * size
        assert error <= c.frobenius_error * (1 + 1e-12)
        assert_proved(found, A, 1e-12 * size)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_any_cut_any_tree_any_forgetting_keeps_the_identity(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    heights = rng.integers(0, 40, int(rng.integers(1, 8)))
    rank = int(rng.integers(1, 12))
    forget = float(rng.choice([1.0, 0.9, 0.6]))
    complex_ = bool(rng.integers(0, 2))
    scale = 10.0 ** rng.uniform(-3, 3)
    offset = float(rng.choice([0.0, 1.0, 1e4]))
    blocks = []
    for h in heights:
        block = scale * (rng.standard_normal((h, n)) + offset)
        blocks.append(block + (1j * rng.standard_normal((h, n)) if complex_ else 0))
    center = bool(rng.integers(0, 2))
    method = IncrementalSVD(rank=rank, buffer=int(rng.integers(0, 6)), center=center, forget=forget)
    state = method.init(n, like=blocks[0])
    rows, weights = np.zeros((0, n)), np.zeros(0)
    for block in blocks:
        state = method.update(state, block)
        if block.shape[0]:
            weights = np.concatenate([weights * forget, np.ones(block.shape[0])])
            rows = np.concatenate([rows, block])
    mean = np.zeros(n)
    if center and weights.size:
        mean = (weights**2 @ rows) / np.sum(weights**2)
        np.testing.assert_allclose(state.mean, mean, rtol=1e-12, atol=1e-12 * scale)
    B = weights[:, None] * (rows - mean)
    energy = np.linalg.norm(B) ** 2
    gross = np.linalg.norm(weights[:, None] * rows) ** 2 * 1e-3 + energy
    assert state.ledger.energy == pytest.approx(energy, abs=1e-12 * gross)
    assert state.n_rows == sum(heights)
    D = B.conj().T @ B - (state.Vh.conj().T * state.s**2) @ state.Vh
    eigenvalues = np.linalg.eigvalsh(D)
    assert eigenvalues.min() >= -1e-12 * gross
    assert np.trace(D).real == pytest.approx(state.ledger.discarded, abs=1e-11 * gross)
    assert eigenvalues.max() <= state.ledger.discarded_norm + 1e-11 * gross


SPECTRA = {
    "repeated": lambda rng, n: np.repeat([3.0, 1.0], [n // 2, n - n // 2]),
    "graded": lambda rng, n: 10.0 ** -np.arange(n),
    "cliff": lambda rng, n: np.r_[np.ones(n // 2), 1e-3 * np.ones(n - n // 2)],
    "bulk": lambda rng, n: np.r_[9.0, 5.0, rng.uniform(0.9, 1, max(n - 2, 0))][:n],
    "harmonic": lambda rng, n: 1 / np.arange(1, n + 1),
    "deficient": lambda rng, n: np.r_[np.arange(4, 0, -1), np.zeros(max(n - 4, 0))][:n],
    "zero": lambda rng, n: np.zeros(n),
    "flat": lambda rng, n: np.ones(n),
}


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(SPECTRA)))
@settings(max_examples=120, deadline=None)
def test_excess_norm_and_groups_are_what_lapack_finds(seed, name):
    """Any cut, any order, both precisions, centred, forgetting, shrunk: every statement beside the intervals is true."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 25)), int(rng.integers(1, 120))
    complex_ = bool(rng.integers(0, 2))
    s = np.sort(SPECTRA[name](rng, min(m, n)))[::-1] * 10.0 ** rng.uniform(-3, 3)
    A = with_spectrum(s, m, n, seed=seed, complex_=complex_)
    # In order of size, a chain sees the large rows first, or last; else shuffled.
    order = rng.choice(["given", "rising", "falling"])
    sizes = np.linalg.norm(A, axis=1)
    A = {"given": A, "rising": A[np.argsort(sizes)], "falling": A[np.argsort(-sizes)]}[order]
    A = A + float(rng.choice([0.0, 1.0, 30.0])) * s[0]
    if rng.integers(0, 2):
        A = A.astype("c8" if complex_ else "f4")
    rank = int(rng.integers(1, 12))
    center, robust = bool(rng.integers(0, 2)), bool(rng.integers(0, 4) == 0)
    forget = float(rng.choice([1.0, 1.0, 0.8]))
    method = IncrementalSVD(
        rank=rank,
        buffer=int(rng.integers(0, 8)),
        center=center,
        forget=forget,
        robust=robust,
    )
    cuts = np.sort(rng.integers(0, m + 1, int(rng.integers(0, 9))))
    blocks = [b for b in np.split(A, cuts) if b.shape[0]]
    found = method.finalize(chain(method, blocks))
    weights = np.concatenate(
        [np.full(b.shape[0], forget ** (len(blocks) - 1 - i)) for i, b in enumerate(blocks)]
    )
    rows = A.astype(np.result_type(A.dtype, np.float64))
    mean = (weights**2 @ rows) / np.sum(weights**2) if center else 0
    seen = weights[:, None] * (rows - mean)
    assert_proved(found, seen, 1e-12 * np.linalg.norm(weights[:, None] * rows))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_statements_hold_where_the_state_knows_only_a_deficit(seed):
    """A state whose remainder reaches below zero, as those of batch results do, and blocks that come on top."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 20)), int(rng.integers(1, 6))
    k = min(k, n)
    A = rng.standard_normal((40, n)) * 0.7 ** np.arange(n)
    Vh = np.linalg.svd(A)[2][:k]
    Vh = np.linalg.qr((Vh + 0.05 * rng.standard_normal(Vh.shape)).T)[0].T
    # As if the ends were too high by up to a hundredth: more than the vectors hold.
    squares = np.sort(np.linalg.norm(A @ Vh.T, axis=0) ** 2 * rng.uniform(0.9, 1.01, k))[::-1]
    D = A.T @ A - (Vh.T * squares) @ Vh
    low, high = np.linalg.eigvalsh(D)[[0, -1]]
    ledger = Ledger(
        energy=np.linalg.norm(A) ** 2,
        discarded=np.linalg.norm(A) ** 2 - np.sum(squares),
        discarded_norm=max(high, 0.0),
        truncations=1,
        height=40 + n,
        deficit=max(-low, 0.0),
    )
    state = Factor(np.sqrt(squares), Vh, None, 40.0, 40, ledger)
    method = IncrementalSVD(rank=k, buffer=int(rng.integers(0, 4)))
    seen = A
    for _ in range(int(rng.integers(0, 4))):
        block = rng.standard_normal((int(rng.integers(1, 9)), n)) * 0.7 ** np.arange(n)[::-1]
        state = method.update(state, block)
        seen = np.concatenate([seen, block])
    assert_proved(method.finalize(state), seen, 1e-12 * np.linalg.norm(seen))


def test_the_excess_is_small_where_no_value_of_a_bulk_can_be_told():
    """Three directions of structure, then noise: the values of the noise are not resolved, the error is close to the best."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((600, 200))
    A[:, :3] *= [40, 30, 20]
    method = IncrementalSVD(rank=10)
    found = method.finalize(chain(method, np.split(A, 12)))
    c = found.certificate
    assert c.kind is Kind.BOUNDS
    assert c.failure_probability == 0
    assert c.excess <= 0.15
    assert not c.resolved[3:].any()
    assert [g.size for g in c.groups][-1] >= 5
    assert_proved(found, A, 1e-12 * np.linalg.norm(A))


def test_an_error_that_is_rounding_has_no_excess():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 30))
    for rank in (4, 6):
        method = IncrementalSVD(rank=rank, buffer=0)
        c = method.finalize(chain(method, np.split(A, 10))).certificate
        assert c.excess == 0
        assert c.resolved.all()
    nothing = method.finalize(chain(method, [np.zeros((3, 5))])).certificate
    assert (nothing.excess, nothing.spectral_error, nothing.groups) == (0, 0, ())
    # Two equal directions and room for one: what was lost could have been as large as what is kept.
    tight = IncrementalSVD(rank=1, buffer=0)
    c = tight.finalize(chain(tight, [np.eye(2)])).certificate
    assert c.excess == np.inf


def test_the_default_buffer_follows_from_shapes_alone():
    kept = {
        rank: IncrementalSVD(rank=rank).width_for(2000) for rank in (1, 15, 32, 40, 50, 100, 300)
    }
    assert kept == {1: 65, 15: 79, 32: 96, 40: 120, 50: 150, 100: 200, 300: 600}
    assert default_buffer(15, BUFFER_ENTRIES // 64) == 64
    assert default_buffer(15, BUFFER_ENTRIES // 32) == 32
    assert default_buffer(15, 10**7) == 15
    assert default_buffer(5, 10**7) == 10
    assert IncrementalSVD(rank=15, buffer=3).width_for(10**7) == 18
    assert IncrementalSVD(rank=15).width_for(10**7) == 30
    assert IncrementalSVD(tol=0.1, max_rank=9).width_for(100) == 9
    for rank in (1, 20, 64, 100, 400):  # never fewer than there were
        for n in (10, 10**4, 10**5, 10**7):
            assert default_buffer(rank, n) >= max(10, rank)


def smooth_fields(m, n):
    """Sixty waves in time with patterns of their own, and a little noise: the fields of a climate model, in small."""
    rng = np.random.default_rng(1)
    t, f = np.linspace(0, 1, m)[:, None], np.arange(1, 61)
    waves = np.sin(2 * np.pi * f * t + rng.uniform(0, 6, 60)) / f
    patterns = orthonormal(rng, 60, 60) @ rng.standard_normal((60, n)) / np.sqrt(n)
    return waves @ patterns + 0.01 * rng.standard_normal((m, n)) / np.sqrt(n)


def test_fourteen_blocks_into_rank_fifteen():
    """What was once intervals a third wide, values off by two hundredths."""
    A = smooth_fields(1400, 300)
    true = np.linalg.svd(A, compute_uv=False)[:15]
    blocks = np.split(A, np.sort(np.random.default_rng(2).integers(0, 1400, 13)))
    once = IncrementalSVD(rank=15, buffer=15)
    c = once.finalize(chain(once, blocks)).certificate
    assert c.relative_width > 0.2
    assert not c.resolved.any()
    method = IncrementalSVD(rank=15)
    found = method.finalize(chain(method, blocks))
    assert found.certificate.relative_width <= 1e-3
    assert found.certificate.resolved.all()
    assert found.certificate.excess <= 2e-3
    assert np.abs(found.s / true - 1).max() <= 1e-4


def test_a_wide_block_of_twelve_rows_gives_at_most_twelve_directions():
    """A5."""
    rng = np.random.default_rng(0)
    method = IncrementalSVD(rank=20, buffer=0)
    state = method.update(method.init(50, like=np.zeros(0)), rng.standard_normal((12, 50)))
    assert state.s.size == 12
    assert state.ledger.discarded == 0


def test_two_rows_that_fool_residual_bounds():
    """A6: no lower bound of 1.0 for the second value."""
    method = IncrementalSVD(rank=2)
    state = chain(method, [np.array([[1.0, 0.0]]), np.array([[5.0, 1.0]])])
    found = method.finalize(state)
    np.testing.assert_allclose(found.s, [5.192582, 0.192582], atol=1e-6)
    assert found.certificate.sigma_lower[1] < 0.1926


def test_large_blocks_then_a_change_of_subspace():
    """A7, by rows."""
    rng = np.random.default_rng(99)
    B = rng.standard_normal((4, 1))
    blocks = [1e8 * (B @ rng.standard_normal((1, 2))) for _ in range(200)]
    blocks += [2e8 * rng.standard_normal((4, 2)) for _ in range(4)]
    method = IncrementalSVD(rank=2, buffer=2)
    found = method.finalize(chain(method, [b.T for b in blocks]))
    relative = found.certificate.frobenius_error / np.sqrt(found.certificate.energy)
    assert relative == pytest.approx(0.341599, abs=1e-6)


def test_the_adversary_of_chains_costs_a_chain_its_root_and_a_tree_little():
    """A11: both bounds of C5 are sharp, and one direction more, or shrinking, removes the adversary."""
    blocks = [np.eye(6)[:5]] + [0.99 * np.eye(6)[5:]] * 99
    A = np.concatenate(blocks)
    best = np.linalg.norm(np.linalg.svd(A, compute_uv=False)[5:])
    five = IncrementalSVD(rank=5, buffer=0)
    assert np.sqrt(chain(five, blocks).ledger.discarded) / best == pytest.approx(9.850, abs=0.01)
    assert np.sqrt(tree(five, blocks).ledger.discarded) / best == pytest.approx(1.407, abs=0.01)
    assert chain(IncrementalSVD(rank=5, buffer=1), blocks).ledger.discarded == 0
    robust = IncrementalSVD(rank=5, buffer=0, robust=True)
    state = chain(robust, blocks)
    assert abs(state.Vh[0, 5]) == pytest.approx(1)  # the direction that a chain never sees
    assert abs(chain(five, blocks).Vh[:, 5]).max() == 0


def test_frequent_directions_keep_their_bound():
    rng = np.random.default_rng(5)
    A = with_spectrum(1 / np.arange(1, 61) ** 0.7, 400, 60)[rng.permutation(400)]
    method = IncrementalSVD(rank=10, buffer=10, robust=True)
    state = chain(method, np.split(A, 40))
    D = A.T @ A - (state.Vh.T * state.s**2) @ state.Vh
    eigenvalues = np.linalg.eigvalsh(D)
    assert eigenvalues.min() >= -1e-12
    assert eigenvalues.max() <= state.ledger.discarded_norm + 1e-12
    assert np.trace(D) == pytest.approx(state.ledger.discarded, rel=1e-10)
    sigma = np.linalg.svd(A, compute_uv=False)
    bounds = [np.sum(sigma[k:] ** 2) / (20 - k) for k in range(20)]
    assert state.ledger.discarded_norm <= min(bounds) * (1 + 1e-10)
    found = method.finalize(state)
    assert (found.certificate.sigma_lower <= sigma[:10]).all()
    assert (sigma[:10] <= found.certificate.sigma_upper).all()


def test_an_exact_low_rank_stream_stays_exact_and_orthonormal():
    """A12: what unpruned Gram-Schmidt turns into an error of 0.4."""
    rng = np.random.default_rng(0)
    B = rng.standard_normal((200, 6))
    blocks = [(B @ rng.standard_normal((6, 3))).T for _ in range(500)]
    state = chain(IncrementalSVD(rank=10, buffer=0), blocks)
    A = np.concatenate(blocks)
    assert state.s.size == 6
    assert np.linalg.norm(A - A @ state.Vh.T @ state.Vh) <= 1e-12 * np.linalg.norm(A)
    assert np.linalg.norm(state.Vh @ state.Vh.T - np.eye(6), 2) <= 1e-13


@pytest.mark.parametrize("eps", [0.1, 0.01])
@pytest.mark.parametrize("kind", ["geometric", "harmonic"])
def test_a_tolerance_is_met_at_nearly_the_smallest_rank(kind, eps):
    """A13."""
    i = np.arange(150)
    A = with_spectrum(0.9**i if kind == "geometric" else 1 / (i + 1), 600, 150)
    method = IncrementalSVD(tol=eps)
    found = method.finalize(chain(method, np.split(A, 30)))
    assert found.tolerance_met
    error = np.linalg.norm(A - A @ found.Vh.T @ found.Vh)
    assert error <= eps * np.linalg.norm(A)
    sigma = np.linalg.svd(A, compute_uv=False)
    tails = np.sqrt(np.cumsum(sigma[::-1] ** 2)[::-1]) / np.linalg.norm(A)
    smallest = int(np.argmax(tails <= eps * np.sqrt(1 - 0.3**2)))
    assert found.s.size <= smallest


def test_a_cap_on_directions_is_admitted():
    A = with_spectrum(np.ones(50), 200, 50)
    method = IncrementalSVD(tol=0.01, max_rank=10)
    found = method.finalize(chain(method, np.split(A, 20)))
    assert not found.tolerance_met
    assert found.certificate.frobenius_error == pytest.approx(np.sqrt(40), rel=0.2)


def test_tiny_errors_are_told_exactly():
    """A15: neither 0 nor the root of rounding."""
    rng = np.random.default_rng(1)
    sigma = 0.8 ** np.arange(200)
    A = (orthonormal(rng, 300, 200) * sigma) @ orthonormal(rng, 200, 200).T
    method = IncrementalSVD(rank=90, buffer=0)
    state = chain(method, np.split(A, 50))
    relative = np.sqrt(state.ledger.discarded) / np.linalg.norm(A)
    assert 1.89e-9 <= relative <= 2.1e-9
    true = np.linalg.norm(A - A @ state.Vh.T @ state.Vh) / np.linalg.norm(A)
    assert relative == pytest.approx(true, rel=0.05)


def test_a_buffer_brings_a_tree_within_half_a_percent_of_the_optimum():
    """A21."""
    sigma = 0.97 ** np.arange(200)
    A = with_spectrum(sigma, 640, 200)
    method = IncrementalSVD(rank=10, buffer=20)
    found = method.finalize(tree(method, np.split(A, 64)))
    best = np.linalg.norm(sigma[10:])
    assert found.certificate.frobenius_error / best <= 1.005
    assert found.certificate.frobenius_error / found.optimal_error_lower <= 1.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tall_block_is_sketched_and_its_ledger_is_exact(dtype):
    A = with_spectrum(1 / np.arange(1, 401), 900, 400, seed=2).astype(dtype)
    method = IncrementalSVD(rank=20, buffer=20)
    state = method.update(method.init(400, like=A), A)
    D = A.astype(np.float64).T @ A - (state.Vh.T * state.s**2) @ state.Vh
    eigenvalues = np.linalg.eigvalsh(D)
    assert eigenvalues.min() >= -1e-12
    assert np.trace(D) == pytest.approx(state.ledger.discarded, rel=1e-9)
    assert eigenvalues.max() <= state.ledger.discarded_norm
    assert state.ledger.discarded_norm <= 40 * eigenvalues.max()  # not the trace
    sigma = np.linalg.svd(A, compute_uv=False)
    assert np.sqrt(state.ledger.discarded) <= 1.03 * np.linalg.norm(sigma[40:])
    assert 0 < state.ledger.failure <= method.delta


def test_failures_of_all_blocks_together_stay_below_delta():
    method = IncrementalSVD(rank=2, buffer=0, delta=1e-3)
    rng = np.random.default_rng(0)
    state = method.init(300, like=np.zeros(0))
    for _ in range(10):
        state = method.update(state, rng.standard_normal((300, 300)))
    assert 0 < state.ledger.failure <= 1e-3


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_centring_far_from_zero_keeps_digits(offset):
    A = with_spectrum(0.5 ** np.arange(12), 300, 40) + offset
    method = IncrementalSVD(rank=6, center=True)
    found = method.finalize(chain(method, np.split(A, 30)))
    sigma = np.linalg.svd(A - A.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(found.s, sigma[:6], atol=1e-9 * offset / 1e3)
    np.testing.assert_allclose(found.mean, A.mean(axis=0), rtol=1e-14)


@pytest.mark.parametrize("forget", [1e-1, 1e-3, 1e-6, 1e-8])
def test_a_mean_that_has_faded_leaves_no_digits_behind(forget):
    """One huge row, then zeros: the matrix has rank one."""
    method = IncrementalSVD(rank=5, center=True, forget=forget)
    for seed in range(10):
        row = 1e3 * np.random.default_rng(seed).standard_normal((1, 5))
        state = chain(method, [row, np.zeros((30, 5))])
        assert method.finalize(state).certificate.numerical_rank <= 1


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e8])
def test_left_vectors_of_a_centred_single_block_are_orthogonal_to_constants(offset):
    rng = np.random.default_rng(0)
    block = (rng.standard_normal((400, 40)) @ rng.standard_normal((40, 300)) + offset).astype("f4")
    part = IncrementalSVD(rank=20, center=True).part(block)
    assert np.abs(part.left.sum(axis=0)).max() <= 1e-13 * 400
    np.testing.assert_allclose(part.left.T @ part.left, np.eye(part.left.shape[1]), atol=1e-13)


@pytest.mark.parametrize("noise", [2e-2, 1e-3, 1.05e-3, 1e-5])
def test_what_a_tall_block_leaves_out_is_not_understated(noise):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        A = np.outer(rng.standard_normal(2000), rng.standard_normal(300))
        N = rng.standard_normal(A.shape)
        A += noise * np.linalg.norm(A) / np.linalg.norm(N) * N
        method = IncrementalSVD(rank=1, buffer=0)
        found = method.finalize(chain(method, [A]))
        wide = A.astype(np.longdouble)
        V = found.Vh.T.astype(np.longdouble)
        true = np.sqrt(np.sum((wide - (wide @ V) @ V.T) ** 2))
        assert found.certificate.frobenius_error >= true * (1 - 1e-15)


@pytest.mark.parametrize("size", [1e-30, 1e-25, 1e18, 1e30])
def test_single_blocks_of_any_size_are_sketched_alike(size):
    block = np.random.default_rng(0).standard_normal((1000, 600)).astype("f4")
    method = IncrementalSVD(rank=5)
    usual, scaled = (
        method.finalize(chain(method, [b])).s for b in (block, block * np.float32(size))
    )
    np.testing.assert_allclose(scaled / size, usual, rtol=1e-4)


def test_parts_of_different_width_are_refused():
    method = IncrementalSVD(rank=2)
    a = method.update(method.init(3, like=np.zeros(0)), np.ones((2, 3)))
    b = method.update(method.init(4, like=np.zeros(0)), np.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"\[3, 4\] columns cannot be stacked"):
        method.merge(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither rank nor tol"),
        ({"rank": 0}, "rank=0"),
        ({"tol": 1.0}, "tol=1.0"),
        ({"tol": 0}, "tol=0"),
        ({"rank": 3, "buffer": -1}, "buffer=-1"),
        ({"rank": 3, "forget": 0}, r"forget=0 is outside \(0, 1\]"),
        ({"rank": 3, "forget": 1.1}, "forget=1.1"),
        ({"rank": 3, "delta": 0}, "delta=0"),
        ({"tol": 0.1, "robust": True}, "robust=True"),
        ({"tol": 0.1, "max_rank": 0}, "max_rank=0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        IncrementalSVD(**options)


def test_inputs_are_never_written_into():
    rng = np.random.default_rng(0)
    method = IncrementalSVD(rank=3, center=True)
    block = rng.standard_normal((400, 60))
    block.flags.writeable = False
    state = method.update(method.init(60, like=block), block)
    for array in (state.s, state.Vh, state.mean):
        array.flags.writeable = False
    method.merge(state, method.update(state, block))


def test_how_much_of_a_block_the_basis_held_and_how_far_it_turned():
    state = Factor(
        np.ones(2),
        np.eye(4)[:2],
        None,
        1.0,
        1,
        IncrementalSVD(rank=2).init(4, like=np.ones(1)).ledger,
    )
    block = np.array([[3.0, 0, 4, 0]])
    assert captured_share(state, block, 2) == pytest.approx(9 / 25)
    assert captured_share(state, np.zeros((2, 4)), 2) == 1.0
    c, s = np.cos(0.3), np.sin(0.3)
    turned = np.array([[c, 0, s, 0], [0, 1, 0, 0]])
    np.testing.assert_allclose(principal_angles(state.Vh, turned), [0, 0.3], atol=1e-15)
    tiny = np.array([[np.cos(1e-9), 0, np.sin(1e-9), 0]])
    assert principal_angles(state.Vh[:1], tiny)[0] == pytest.approx(1e-9, rel=1e-6)


def test_the_economic_svd_is_that_of_lapack_on_every_shape():
    rng = np.random.default_rng(0)
    for r, n in itertools.product((0, 1, 5, 30), (0, 1, 7, 30)):
        W = rng.standard_normal((r, n))
        u, s, vh = economic_svd(W)
        np.testing.assert_allclose((u * s) @ vh, W, atol=1e-13)
        assert s.size == min(r, n)


def test_merging_is_associative_to_the_bound():
    blocks = decaying(None)
    method = IncrementalSVD(rank=8, buffer=8)
    left = reduce(method.merge, [chain(method, [b]) for b in blocks])
    right = tree(method, blocks)
    spread = max(left.ledger.discarded_norm, right.ledger.discarded_norm)
    assert np.abs(left.s[:8] ** 2 - right.s[:8] ** 2).max() <= spread
