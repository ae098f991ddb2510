"""Sparse rows that are absorbed as they are: the identity of the ledger, and the state of the same rows with their zeros."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from streamsvd.models.mathematics import incremental
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.models.mathematics.sparse_stack import RowsBelow

N = 900


def rows_of(m, seed=0, complex_=False, rank=None):
    """Some entries of each row, with a few directions that stand out, and all that is small besides."""
    rng = np.random.default_rng(seed)
    S = sparse.random_array((m, N - 6), density=0.03, rng=rng)
    if rank is not None:  # rows of few patterns
        patterns = sparse.random_array((rank, N - 6), density=0.004, rng=rng)
        S = sparse.csr_array(rng.standard_normal((m, rank))) @ patterns
    strong = np.where(rng.random((m, 6)) < 0.1, 20.0, 0.0)
    S = sparse.csr_array(sparse.hstack([sparse.csr_array(strong), S]))
    if complex_:
        S = sparse.csr_array((S.data * np.exp(1j * S.data), S.indices, S.indptr), shape=S.shape)
    return S


CASES = {
    "counts": {},
    "complex": {"complex_": True},
    "few patterns": {"rank": 9},
}


def chain(method, blocks):
    state = method.init(N, like=blocks[0])
    for block in blocks:
        state = method.update(state, block)
    return state


@pytest.fixture(params=[300, 25])
def method(request, monkeypatch):
    """Blocks at once, and in pieces."""
    monkeypatch.setattr(incremental, "SMALL", request.param)
    monkeypatch.setattr(incremental, "TALL", 1)
    monkeypatch.setattr(incremental, "SPARSE_SHARE", 0.1)
    return lambda **options: IncrementalSVD(**{"rank": 8, "buffer": 12, **options})


@pytest.mark.parametrize("cuts", [[40, 41, 100], [200], []])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_ledger_is_the_error(case, center, cuts, method):
    S = rows_of(230, **CASES[case])
    made = method(center=center)
    blocks = [sparse.csr_array(b) for b in np.split(np.arange(230), cuts) for b in [S[b]]]
    stay = [
        block.shape[0] > 1 or not center for block in blocks
    ]  # one row has no energy about itself
    assert [made.sparse_part(block) is not None for block in blocks] == stay
    state = chain(made, blocks)
    A = S.toarray()
    if center:
        np.testing.assert_allclose(state.mean, A.mean(axis=0), rtol=1e-12, atol=1e-15)
        A = A - A.mean(axis=0)
    size, ledger, k = np.linalg.norm(A), state.ledger, state.s.size
    assert ledger.energy == pytest.approx(size**2, rel=1e-12)
    assert abs(ledger.energy - np.sum(state.s**2) - ledger.discarded) <= 1e-11 * size**2
    assert np.linalg.norm(state.Vh.conj() @ state.Vh.T - np.eye(k), 2) <= 1e-13
    D = A.conj().T @ A - (state.Vh.conj().T * state.s**2) @ state.Vh
    eigenvalues = np.linalg.eigvalsh(D)
    assert eigenvalues[0] >= -1e-13 * size**2
    assert eigenvalues[-1] <= ledger.above + 1e-13 * size**2
    assert np.trace(D).real <= ledger.discarded + 1e-13 * size**2
    sigma = np.linalg.svd(A, compute_uv=False)
    certificate = made.finalize(state).certificate
    assert (certificate.sigma_lower <= sigma[:8] * (1 + 1e-13)).all()
    assert (sigma[:8] <= certificate.sigma_upper * (1 + 1e-13)).all()


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_state_is_that_of_the_rows_with_their_zeros(case, center, method):
    """Where nothing is dropped but what does not exist, and on the way to it up to what was dropped."""
    S = rows_of(230, **CASES[case])
    blocks = [S[:100], S[100:170], S[170:]]
    made = method(center=center)
    found = chain(made, blocks)
    expected = chain(made, [b.toarray() for b in blocks])
    lost = max(found.ledger.above, expected.ledger.above)
    np.testing.assert_allclose(found.s[:8] ** 2, expected.s[:8] ** 2, atol=lost + 1e-12)
    if case == "few patterns":  # of rank 15, and all of them are kept
        np.testing.assert_allclose(found.s[:15], expected.s[:15], rtol=1e-12)
        np.testing.assert_allclose(found.Vh[:8], expected.Vh[:8], atol=1e-10)
        assert found.ledger.discarded <= 1e-12 * found.ledger.energy


@pytest.mark.parametrize("forget", [1.0, 0.9])
@pytest.mark.parametrize("center", [False, True])
def test_left_vectors_turn_as_they_should(center, forget, method):
    """``U diag(s) Vh`` of the turned rows is the projection of the weighted, centred rows."""
    S = rows_of(200, rank=9)
    made = method(center=center)
    state, U = made.init(N, like=S), np.zeros((0, 0))
    weights = np.zeros(0)
    for block in (S[:80], S[80:120], S[120:]):
        state = state.fade_by(forget)
        weights = np.concatenate([weights * forget, np.ones(block.shape[0])])
        state, old, new = made.absorb_part(state, made.sparse_part(block))
        before = U @ old.rotation if U.size else np.zeros((U.shape[0], state.s.size))
        if old.offset is not None:
            before = before + weights[: U.shape[0], None] * old.offset
        assert new.offset is None
        U = np.concatenate([before, new.rotation])
    A = S.toarray()
    if center:
        A = A - (weights**2 @ A) / np.sum(weights**2)
        np.testing.assert_allclose(state.weight, np.sum(weights**2), rtol=1e-12)
    X = weights[:, None] * A
    np.testing.assert_allclose(U.conj().T @ U, np.eye(U.shape[1]), atol=1e-9)
    np.testing.assert_allclose((U * state.s) @ state.Vh, X, atol=1e-7 * np.linalg.norm(X))


@pytest.mark.parametrize("complex_", [False, True])
def test_products_of_rows_less_one_and_one_below(complex_):
    rng = np.random.default_rng(1)
    S = rows_of(30, complex_=complex_)
    c, d = (rng.standard_normal(N) + 1j * complex_ * rng.standard_normal(N) for _ in range(2))
    c, d = (x if complex_ else x.real for x in (c, d))
    V = rng.standard_normal((N, 4)) + (1j * rng.standard_normal((N, 4)) if complex_ else 0)
    Y = rng.standard_normal((31, 3)) + (1j * rng.standard_normal((31, 3)) if complex_ else 0)
    F = np.concatenate([S.toarray() - c, d[None]])
    rows = RowsBelow(S, c, d)
    np.testing.assert_allclose(rows.times(V), F @ V, atol=1e-11)
    np.testing.assert_allclose(rows.adjoint(Y), F.conj().T @ Y, atol=1e-11)
    np.testing.assert_allclose(rows.gram(), F @ F.conj().T, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "block"),
    [
        ({"robust": True}, rows_of(60)),
        ({}, sparse.csr_array(np.ones((60, N)))),
        ({"center": True}, sparse.csr_array(np.eye(60, N) * 1e-7 + np.eye(1, N)[0] * 1e3)),
        ({"rank": 600}, rows_of(60)),
    ],
    ids=["robust", "full", "far from zero", "many directions"],
)
def test_what_loses_digits_or_gains_nothing_is_absorbed_with_its_zeros(options, block, method):
    made = method(**options)
    assert made.sparse_part(block) is None
    rows = rows_of(50, seed=3)
    state = chain(made, [block, rows])
    A = sparse.vstack([block, rows]).toarray()
    sigma = np.linalg.svd(A - A.mean(axis=0) if made.center else A, compute_uv=False)
    c = made.finalize(state).certificate
    count = min(5, c.sigma_lower.size)
    slack = 1e-12 * sigma[0]
    assert (c.sigma_lower[:count] <= sigma[:count] + slack).all()
    assert (sigma[:count] <= c.sigma_upper[:count] + slack).all()


def test_a_tolerance_decides_how_many_are_kept():
    S = rows_of(230, rank=9)
    made = IncrementalSVD(tol=0.01)
    found = chain(made, [S[:100], S[100:]])
    assert made.finalize(found).tolerance_met
    assert found.s.size <= 15


def test_the_block_is_not_written_into_and_bits_repeat():
    S = rows_of(230)
    for part in (S.data, S.indices, S.indptr):
        part.flags.writeable = False
    made = IncrementalSVD(rank=5, buffer=5, center=True)
    first, again = chain(made, [S]), chain(made, [S])
    assert first.Vh.tobytes() == again.Vh.tobytes()
    assert first.s.tobytes() == again.s.tobytes()


def test_rows_of_every_kind_of_sparse_matrix_are_one_state():
    S = rows_of(100)
    made = IncrementalSVD(rank=5, buffer=5)
    expected = chain(made, [S])
    for kind in ("csc", "coo", "lil", "bsr"):
        np.testing.assert_array_equal(chain(made, [S.asformat(kind)]).s, expected.s)
    twice = sparse.coo_array(
        (np.r_[S.data / 2, S.data / 2], np.tile(S.nonzero(), 2)), shape=S.shape
    )
    np.testing.assert_allclose(chain(made, [twice]).s, expected.s, rtol=1e-12)
