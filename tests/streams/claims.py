"""Every claim of a stream against the truth."""

from __future__ import annotations

import numpy as np


def sine(result, A):
    k = result.values.size
    V = np.linalg.eigh(A.T @ A)[1][:, ::-1][:, :k]
    cosine = np.linalg.svd(result.components @ V, compute_uv=False).min()
    return float(np.sqrt(max(0.0, 1 - cosine**2)))


def assert_true(result, A):
    """Every claim against the truth; statistical ones may fail, and at these seeds do not."""
    A = A.astype(float)
    c, k = result.certificate, result.values.size
    truth = np.linalg.eigvalsh(A.T @ A)[::-1][:k]
    slack = 1e-12 * truth[0]
    assert (c.values_lower <= truth + slack).all()
    assert (truth <= c.values_upper + slack).all()
    assert ((c.values_lower <= result.values) & (result.values <= c.values_upper)).all()
    assert sine(result, A) <= c.sine + 1e-7
    held = np.linalg.norm(A @ result.components.T) ** 2 / np.linalg.norm(A) ** 2
    assert c.captured_lower <= held + 1e-12
    np.testing.assert_allclose(result.components @ result.components.T, np.eye(k), atol=1e-12)
    assert result.state_bytes <= result.bound_bytes
