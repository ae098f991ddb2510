import numpy as np
import pytest

from streamsvd.eigen import leading, least


@pytest.mark.parametrize("seed", range(40))
def test_equal_eigenvalues_are_all_found(seed):
    """LAPACK's part of a spectrum lacks pairs of some of these."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((120, 50)))[0]
    G = Q.T @ Q
    for count in (1, 3, 17, 50):
        theta, V = leading(G, count)
        np.testing.assert_allclose(theta, np.ones(count), rtol=1e-13)
        assert V.shape == (50, count)
        np.testing.assert_allclose(V.T @ V, np.eye(count), atol=1e-12)


def test_pairs_are_those_of_the_matrix_in_descending_order():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 30)) + 1j * rng.standard_normal((30, 30))
    H = X + X.conj().T
    theta, V = leading(H, 7)
    np.testing.assert_allclose(theta, np.linalg.eigvalsh(H)[::-1][:7], rtol=1e-12)
    np.testing.assert_allclose(H @ V, V * theta, atol=1e-12 * theta[0])
    np.testing.assert_allclose(least(H), np.linalg.eigvalsh(H)[0], rtol=1e-12)
    assert leading(H, 0)[1].shape == (30, 0)
    assert least(np.zeros((0, 0))) == 0
