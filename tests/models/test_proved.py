"""What a model keeps by default, and what its certificate and its log say beside the intervals."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd import IncrementalSVD, Model, SpecError
from streamsvd.models.mathematics.incremental import BUFFER_ENTRIES, default_buffer
from streamsvd.models.options import make_spec, method_of
from streamsvd.models.state import state_of_result
from streamsvd.store.versions import ModelSpec
from tests.models.test_incremental import assert_proved, smooth_fields


def rows_of(count: int, n: int, seed: int = 0) -> np.ndarray:
    """Rows whose values fall slowly: every block loses something."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, n)) / np.sqrt(np.arange(1, n + 1))


def test_the_default_buffer_is_written_down_with_the_first_block(tmp_path):
    model = Model.create(tmp_path / "m", 3)
    assert model.spec.buffer is None
    model.update(rows_of(120, 100), "a")
    assert model.spec.buffer == default_buffer(3, 100) == 64
    assert model.ledger.discarded > 0
    again = Model.open(tmp_path / "m")
    assert again.spec.buffer == 64
    again.update(rows_of(60, 100, 1), "b")
    streamsvd.update(tmp_path / "m", rows_of(9, 100, 2), "c", buffer=64)
    with pytest.raises(SpecError, match="buffer=10 was asked, the model was made with buffer=64"):
        streamsvd.update(tmp_path / "m", rows_of(9, 100, 3), "d", buffer=10)
    asked = Model.create(tmp_path / "asked", 3, buffer=10)
    asked.update(rows_of(120, 100), "a")
    assert asked.spec.buffer == 10


def test_a_block_of_very_many_columns_keeps_fewer_directions(tmp_path):
    n = BUFFER_ENTRIES // 16
    model = Model.create(tmp_path / "m", 2)
    model.update(np.ones((1, n), dtype="f4"), "a")
    assert model.spec.buffer == 16


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"rank": 3}, 13),
        ({"rank": 40}, 80),
        ({"rank": 3, "buffer": 0}, 3),
        ({"rank": None, "tol": 0.1}, 64),
    ],
)
def test_models_made_before_the_buffer_was_written_down_go_on_as_they_were(options, kept):
    """A spec of a model that holds rows, without a buffer: what the default was when it was made."""
    old: ModelSpec = msgspec.structs.replace(make_spec(**options), width=100)
    assert method_of(old).width_for(100) == kept


def test_models_that_keep_different_numbers_merge_to_the_larger(tmp_path):
    A = rows_of(200, 80)
    for name, buffer, rows in (("a", 5, A[:100]), ("b", 20, A[100:])):
        Model.create(tmp_path / name, 4, buffer=buffer).update(rows, name)
    merged = streamsvd.merge_models(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert merged.spec.buffer == 20
    assert_proved(merged._result, A, 1e-12 * np.linalg.norm(A))


def test_the_certificate_and_the_log_say_what_is_proved(tmp_path):
    A = smooth_fields(700, 120)
    model = Model.create(tmp_path / "m", 15)
    for i, rows in enumerate(np.split(A, 7)):
        model.update(rows, str(i))
    c = model.certificate
    assert_proved(model._result, A, 1e-12 * np.linalg.norm(A))
    assert c.resolved.all()
    assert c.excess < 1e-2
    for entry in model.versions:
        assert entry.summary.resolved == 15
        assert entry.summary.groups is not None
    newest = model.summary
    assert (newest.excess, newest.resolved, newest.groups) == (c.excess, 15, len(c.groups))
    assert model.as_svd().certificate.excess == c.excess


def test_the_log_says_nothing_of_an_excess_that_is_not_proved(tmp_path):
    model = Model.create(tmp_path / "m", 1, buffer=0)
    model.update(np.eye(2), "a")
    assert model.certificate.excess == np.inf
    assert model.summary.excess is None
    assert Model.open(tmp_path / "m").summary == model.summary


# What begins from a batch result --------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_batch_result_with_ends_of_other_vectors_is_a_state_whose_statements_hold(seed, known):
    """Lower ends may have been proved with vectors that were not handed back; the deficit tells by how much."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 30)), int(rng.integers(1, 7))
    k = min(k, n)
    power = float(rng.choice([0.2, 1.0, 4.0]))
    A = rng.standard_normal((60, n)) * np.arange(1, n + 1.0) ** -power
    result = streamsvd.svd(A, k, tol=0.5)
    sigma, c = np.linalg.svd(A, compute_uv=False), result.certificate
    # Other vectors: a little off; ends anywhere between what they hold and the truth.
    turned = result.Vh + 0.1 * rng.standard_normal(result.Vh.shape)
    Vh = np.linalg.qr(turned.T)[0].T
    held = np.linalg.svd(A @ Vh.T)
    Vh = held[2] @ Vh
    own = held[1][:k] ** 2 * (1 - 1e-13)
    lower = own + rng.uniform(0, 1, k) * (sigma[:k] ** 2 - own)
    lower = np.sort(np.minimum(lower, sigma[:k] ** 2))[::-1]
    upper = np.maximum(sigma[:k] ** 2 * rng.uniform(1, 1.1), lower)
    energy = np.linalg.norm(A) ** 2
    D = A.T @ A - (Vh.T * lower) @ Vh
    rest = A - A @ Vh.T @ Vh
    certificate = replace(
        c,
        sigma_lower=np.sqrt(lower),
        sigma_upper=np.sqrt(upper),
        frobenius_error=np.sqrt(max(energy * (1 + 1e-14) - np.sum(own), 0.0)),
        energy=energy,
        deficit=max(-np.linalg.eigvalsh(D)[0], 0.0) + 1e-15 * energy,
        spectral_error=np.linalg.norm(rest, 2) * (1 + 1e-12) if known else np.inf,
    )
    state = state_of_result(
        replace(result, Vh=Vh, s=np.sqrt(lower), certificate=certificate)
    ).factor
    assert np.linalg.eigvalsh(D)[-1] <= state.ledger.above * (1 + 1e-12) + 1e-13 * energy
    slack = 1e-7 * np.sqrt(energy)
    for rank in range(1, k + 1):
        assert_proved(IncrementalSVD(rank=rank, buffer=k - rank).finalize(state), A, slack)
    block = rng.standard_normal((12, n))
    method = IncrementalSVD(rank=k, buffer=2)
    both = method.update(state, block)
    assert_proved(method.finalize(both), np.concatenate([A, block]), slack)


def test_an_updated_result_keeps_the_default_buffer_and_proves_the_same(tmp_path):
    A = rows_of(400, 90)
    np.save(tmp_path / "a.npy", A[:300])
    streamsvd.svd(str(tmp_path / "a.npy"), 5, tol=1e-3, out=tmp_path / "r.zarr")
    model = Model.open(tmp_path / "r.zarr")
    assert model.spec.buffer == 64
    assert_proved(model._result, A[:300], 1e-12 * np.linalg.norm(A))
    for i, rows in enumerate(np.split(A[300:], 4)):
        model.update(rows, str(i))
    assert_proved(model._result, A, 1e-12 * np.linalg.norm(A))
    assert np.isfinite(model.certificate.excess)
    assert model.certificate.spectral_error < model.certificate.frobenius_error
