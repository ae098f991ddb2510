import numpy as np
import pytest

from streamsvd.numerics.eigen import leading_eigenpairs, smallest_eigenvalue


@pytest.mark.parametrize("seed", range(40))
def test_equal_eigenvalues_are_all_found(seed):
    """LAPACK's part of a spectrum lacks pairs of some of these."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((120, 50)))[0]
    G = Q.T @ Q
    for count in (1, 3, 17, 50):
        theta, V = leading_eigenpairs(G, count)
        np.testing.assert_allclose(theta, np.ones(count), rtol=1e-13)
        assert V.shape == (50, count)
        np.testing.assert_allclose(V.T @ V, np.eye(count), atol=1e-12)


def test_pairs_are_those_of_the_matrix_in_descending_order():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 30)) + 1j * rng.standard_normal((30, 30))
    H = X + X.conj().T
    theta, V = leading_eigenpairs(H, 7)
    np.testing.assert_allclose(theta, np.linalg.eigvalsh(H)[::-1][:7], rtol=1e-12)
    np.testing.assert_allclose(H @ V, V * theta, atol=1e-12 * theta[0])
    np.testing.assert_allclose(smallest_eigenvalue(H), np.linalg.eigvalsh(H)[0], rtol=1e-12)
    assert leading_eigenpairs(H, 0)[1].shape == (30, 0)
    assert smallest_eigenvalue(np.zeros((0, 0))) == 0


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_work_in_the_place_of_the_matrix_finds_the_same_pairs(complex_, equal):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((150, 90)) + (1j * rng.standard_normal((150, 90)) if complex_ else 0)
    if equal:
        X = np.linalg.qr(X)[0]
    H = X.conj().T @ X
    kept, truth = H.copy(), leading_eigenpairs(H, 17)
    np.testing.assert_array_equal(H, kept)
    theta, V = leading_eigenpairs(H, 17, overwrite=True)
    np.testing.assert_array_equal(theta, truth[0])
    np.testing.assert_array_equal(V, truth[1])
    assert not np.array_equal(H, kept)
    kept.flags.writeable = False
    np.testing.assert_array_equal(leading_eigenpairs(kept, 17, overwrite=True)[0], truth[0])
