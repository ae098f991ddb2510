"""Signs of a model stay: from one version to the next no component turns round."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.models import absorption, cut
from streamsvd.models.mathematics.incremental import IncrementalSVD


def field(rng, rows, basis, strengths):
    """Rows of a few patterns with noise."""
    scores = rng.standard_normal((rows, len(strengths))) * strengths
    return scores @ basis + 0.05 * rng.standard_normal((rows, basis.shape[1]))


def patterns(rng, k, n, complex_=False):
    X = rng.standard_normal((n, k)) + 1j * complex_ * rng.standard_normal((n, k))
    return np.linalg.qr(X)[0].conj().T


def absorb(method, state, block):
    """As a model does."""
    part = method.part(block)
    return method.absorb_part(state.fade_by(method.forget), part, signs_of=state)[0]


def assert_follows(earlier, later):
    """Each component overlaps with the one before it, or where two changed places with that which it was."""
    both = min(len(earlier), len(later))
    if both == 0:
        return
    products = later[:both].conj() @ earlier.T  # of vectors v = Vh*, conj(v_later)* v_earlier
    own = np.diagonal(products)
    largest = np.take_along_axis(products, np.abs(products).argmax(axis=1)[:, None], axis=1)[:, 0]
    moved = (np.abs(own) < 0.5) & (np.abs(largest) ** 2 > 0.5)
    followed = np.where(moved, largest, own)
    assert (followed.real >= -1e-6).all(), followed
    np.testing.assert_allclose(followed.imag, 0, atol=1e-6)


@pytest.mark.parametrize("complex_", [False, True])
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    drift=st.floats(0, 0.5),
    rank=st.integers(1, 4),
    center=st.booleans(),
    forget=st.sampled_from([1.0, 0.8]),
)
def test_states_follow_one_another_however_patterns_drift(
    complex_, seed, sizes, drift, rank, center, forget
):
    rng = np.random.default_rng(seed)
    basis, n = patterns(rng, 3, 12, complex_), 12
    method = IncrementalSVD(rank=rank, buffer=2, center=center, forget=forget)
    state = None
    for rows in sizes:
        block = field(rng, rows, basis, np.array([3.0, 2.0, 1.0]))
        if state is None:
            state = method.init(n, like=block)
        earlier, state = state, absorb(method, state, block)
        assert_follows(earlier.Vh[:rank], state.Vh[:rank])
        noise = rng.standard_normal(basis.shape)
        basis = np.linalg.qr((basis + drift * noise).conj().T)[0].conj().T


@pytest.mark.parametrize(
    "options",
    [{}, {"u": True}, {"center": True, "u": True}, {"forget": 0.7}, {"window": 60}, {"axis": "columns", "u": True}, {"robust": True}],
    ids=str,
)  # fmt: skip
def test_versions_of_a_model_keep_their_signs_and_left_vectors_go_with_them(tmp_path, options):
    rng = np.random.default_rng(5)
    basis, rows = patterns(rng, 3, 15), []
    model = streamsvd.Model.create(tmp_path / "M", rank=3, **options)
    earlier = None
    for step in range(6):
        basis = np.linalg.qr((basis + 0.2 * rng.standard_normal(basis.shape)).T)[0].T
        block = field(rng, 30, basis, np.array([3.0, 2.0, 1.0]))
        rows.append(block)
        model.update(block.T if options.get("axis") else block, f"block {step}")
        factors = np.asarray(model.U).T if options.get("axis") else model.Vh
        if earlier is not None:
            assert_follows(earlier, factors)
        earlier = factors
    if options.get("u"):
        A = np.concatenate(rows)
        A = A - A.mean(axis=0) if options.get("center") else A
        A = A.T if options.get("axis") else A
        left, right = np.asarray(model.U), np.asarray(model.Vh)
        best = np.linalg.svd(A, compute_uv=False)
        error = np.linalg.norm(A - (left * model.s) @ right)
        assert error <= 1.01 * np.linalg.norm(best[3:])


def test_a_component_does_not_turn_round_when_another_entry_becomes_the_largest(tmp_path):
    """The rule of the largest entry alone would flip it: its largest entry changes from one of either sign to the other."""
    rng = np.random.default_rng(1)
    first, then = np.array([[1.0, -0.9, 0.5]]), np.array([[0.9, -1.0, 0.5]])
    model = streamsvd.Model.create(tmp_path / "M", rank=1)
    model.update(rng.standard_normal((20, 1)) @ first, "a")
    before = model.Vh
    model.update(10 * rng.standard_normal((20, 1)) @ then, "b")
    after = model.Vh
    assert before[0].argmax() == np.abs(before[0]).argmax() == 0
    assert np.abs(after[0]).argmax() == 1
    assert after[0, 1] < 0
    assert before[0] @ after[0] > 0.9


def test_a_result_that_goes_on_as_a_model_keeps_its_signs(tmp_path):
    rng = np.random.default_rng(2)
    basis = patterns(rng, 3, 12)
    A = field(rng, 200, basis, np.array([3.0, 2.0, 1.0]))
    result = streamsvd.pca(A, 3, out=tmp_path / "eof")
    basis = np.linalg.qr((basis + 0.1 * rng.standard_normal(basis.shape)).T)[0].T
    streamsvd.update(tmp_path / "eof", field(rng, 300, basis, np.array([3.0, 2.0, 1.0])), "more")
    model = streamsvd.Model.open(tmp_path / "eof")
    assert model.version == 1
    assert (np.sum(result.Vh * model.Vh, axis=1) > 0).all()


def test_a_merged_model_has_the_signs_of_the_first(tmp_path):
    rng = np.random.default_rng(3)
    basis = patterns(rng, 2, 10)
    for name in "ab":
        streamsvd.update(tmp_path / name, field(rng, 50, basis, np.array([3.0, 1.0])), name, rank=2)
    joint = streamsvd.merge_models(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert_follows(streamsvd.Model.open(tmp_path / "a").Vh, joint.Vh)


@pytest.mark.parametrize("runs", [1000, 1])
def test_short_pieces_of_a_growing_array_are_the_same_bits_wherever_versions_are_committed(
    tmp_path, monkeypatch, runs
):
    rng = np.random.default_rng(4)
    strengths = np.array([3.0, 2.0, 1.0])
    A = np.concatenate([field(rng, 40, patterns(rng, 3, 10), strengths) for _ in range(4)])
    zarr.create_array(tmp_path / "A.zarr", data=A, chunks=(16, 10))
    monkeypatch.setattr(cut, "MAX_PIECE_BYTES", 8 * 10 * 16)
    monkeypatch.setattr(absorption, "ROUND", runs)
    model = streamsvd.Model.create(tmp_path / "M", rank=3, buffer=4)
    model.update(streamsvd.open(tmp_path / "A.zarr"))
    assert model.version == (10 if runs == 1 else 1)
    method, state = IncrementalSVD(rank=3, buffer=4), None
    for rows in np.split(A, 10):
        state = method.init(10, like=rows) if state is None else state
        state = absorb(method, state, rows)
    np.testing.assert_array_equal(model.Vh, state.Vh[:3])
