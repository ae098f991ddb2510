"""Latent semantic analysis of sparse counts is that of scikit-learn, and its values lie in their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import streamsvd

text = pytest.importorskip("sklearn.feature_extraction.text")
decomposition = pytest.importorskip("sklearn.decomposition")


def documents():
    """Counts of words, topic by topic."""
    rng = np.random.default_rng(1)
    topics = rng.dirichlet(np.full(1200, 0.02), size=12)
    topic = rng.choice(12, size=900, p=0.7 ** np.arange(12) / np.sum(0.7 ** np.arange(12)))
    counts = [rng.multinomial(60, 0.8 * topics[t] + 0.2 / 1200) for t in topic]
    return sparse.csr_array(np.stack(counts).astype("float32"))


@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_topics_are_those_of_scikit_learn(route):
    counts = documents()
    weighted = text.TfidfTransformer().fit_transform(sparse.csr_matrix(counts.astype("f8")))
    theirs = decomposition.TruncatedSVD(10, algorithm="arpack", tol=1e-12, random_state=0).fit(
        weighted
    )
    found = streamsvd.svd(
        streamsvd.apply_steps(counts, ["tfidf"]), 10, tol=1e-4, route=route, u=True
    )
    c = found.certificate
    assert c.resolved.all()
    assert (c.sigma_lower <= theirs.singular_values_ * (1 + 1e-10)).all()
    assert (theirs.singular_values_ <= c.sigma_upper * (1 + 1e-10)).all()
    np.testing.assert_allclose(found.s, theirs.singular_values_, rtol=1e-4)
    cosines = np.abs(np.sum(found.Vh[:5] * theirs.components_[:5], axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    new = documents()[:7].toarray()
    mine = np.abs(found.transform(new)[:, :5])
    expected = np.abs(theirs.transform(weighted[:7])[:, :5])
    np.testing.assert_allclose(mine, expected, atol=1e-2)
