from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from streamsvd.numerics import products

TYPES = ["float32", "float64", "complex64", "complex128"]


def block(m, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    if np.dtype(dtype).kind == "c":
        X = X + 1j * rng.standard_normal((m, n))
    return X.astype(dtype)


def close(found, truth, dtype):
    eps = np.finfo(np.dtype(dtype)).eps
    np.testing.assert_allclose(found, truth, rtol=0, atol=100 * eps * max(np.abs(truth).max(), 1))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 4, 2), (4, 1, 1), (3, 6, 0)])
def test_forward_is_the_product(xp, dtype, shape):
    p, n, k = shape
    X, Q = block(p, n, dtype), block(n, k, dtype, 1)
    Y = products.forward(xp.array(X), xp.array(Q))
    assert xp.host(Y).dtype == dtype
    if k:
        close(xp.host(Y), X @ Q, dtype)
    assert Y.shape == (p, k)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_is_the_product_with_the_adjoint(xp, dtype, weighted):
    X, Y = block(9, 5, dtype), block(9, 3, dtype, 1)
    w = np.linspace(0, 2, 9) if weighted else None
    Z = products.backward(xp.array(X), xp.array(Y), None if w is None else xp.array(w))
    truth = X.conj().T @ (Y if w is None else w[:, None] * Y)
    assert xp.host(Z).dtype == dtype
    close(xp.host(Z), truth, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gram_is_hermitian_and_the_product_with_itself(xp, dtype, weighted):
    X = block(9, 5, dtype)
    w = np.linspace(0, 2, 9) if weighted else None
    G = xp.host(products.gram(xp.array(X), None if w is None else xp.array(w)))
    close(G, X.conj().T @ (X if w is None else w[:, None] * X), dtype)
    close(G, G.conj().T, dtype)


@pytest.mark.parametrize(
    ("stored", "thin"),
    [("float32", "float64"), ("float64", "float32"), ("complex64", "complex128")],
)
def test_products_are_made_in_the_type_of_the_thin_block(xp, stored, thin):
    X, Q, Y = block(6, 4, stored), block(4, 2, thin, 1), block(6, 2, thin, 2)
    forward = xp.host(products.forward(xp.array(X), xp.array(Q)))
    backward = xp.host(products.backward(xp.array(X), xp.array(Y), xp.array(np.ones(6))))
    assert forward.dtype == backward.dtype == np.dtype(thin)
    close(forward, X.astype(thin) @ Q, thin)
    close(backward, X.astype(thin).conj().T @ Y, thin)


def test_the_two_products_are_adjoint_to_each_other(xp):
    X, Q, Y = block(8, 5, "complex128"), block(5, 3, "complex128", 1), block(8, 3, "complex128", 2)
    left = np.vdot(Y, xp.host(products.forward(xp.array(X), xp.array(Q))))
    right = np.vdot(xp.host(products.backward(xp.array(X), xp.array(Y), None)), Q)
    assert left == pytest.approx(right)


def test_the_adjoint_of_real_data_is_a_view():
    X = block(4, 3, "float64")
    assert np.shares_memory(products.adjoint(X), X)
    Z = block(4, 3, "complex128")
    np.testing.assert_array_equal(products.adjoint(Z), Z.conj().T)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_gram_matrix_grows_block_by_block(xp, dtype, weighted, order):
    X = [np.asarray(block(p, 70, dtype, p), order=order) for p in (9, 1, 130)]
    w = [np.linspace(0, 2, len(x)) if weighted else None for x in X]
    G = xp.array(np.zeros((70, 70), dtype))
    for x, weights in zip(X, w, strict=True):
        G = products.add_gram(G, xp.array(x), None if weights is None else xp.array(weights))
    G = xp.host(products.complete_gram(G))
    roots = [1 if weights is None else np.sqrt(weights)[:, None] for weights in w]
    scaled = np.concatenate([x * root for x, root in zip(X, roots, strict=True)])
    assert G.dtype == dtype
    close(G, scaled.conj().T @ scaled, dtype)
    close(G, G.conj().T, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_on_the_host_it_grows_in_its_place(dtype, order):
    X, G = np.asarray(block(40, 300, dtype), order=order), np.zeros((300, 300), dtype)
    tracemalloc.start()
    try:
        grown = products.add_gram(G, X, None)
        whole = products.complete_gram(grown)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.shares_memory(whole, G)
    assert peak < G.nbytes / 2
