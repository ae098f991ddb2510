"""Principal part and residual: every matrix meets the error by itself, in fewer bytes than either alone."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd import SpecError, StoreError
from streamsvd.store.collections.archive import CompressedStore
from tests.collections.blocks import d6, name_blocks, orthonormal
from tests.collections.test_compress import error_of, weights

__all__ = ["weights"]


@pytest.fixture
def full_rank():
    rng = np.random.default_rng(4)
    return {f"w{i}": rng.standard_normal((96, 64)).astype(np.float32) for i in range(6)}


@pytest.fixture
def noisy():
    """Six matrices in one subspace of 4, and noise of 2 %."""
    rng = np.random.default_rng(5)
    B = orthonormal(rng, 200, 4)
    made = {}
    for i in range(12):
        A = B @ rng.standard_normal((4, 80))
        noise = rng.standard_normal(A.shape)
        made[f"w{i:02}"] = (A + 0.02 * np.linalg.norm(A) / np.linalg.norm(noise) * noise).astype(
            np.float32
        )
    return made


@pytest.mark.parametrize("mode", ["block", "cluster", "global"])
@pytest.mark.parametrize("principal", [1.0, 0.3, "auto"])
def test_every_matrix_of_any_type_meets_the_error(weights, tmp_path, principal, mode):
    done = streamsvd.compress(weights, tmp_path / "c.zarr", 0.02, mode=mode, principal=principal)
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert list(held) == list(weights)
    for name, A in weights.items():
        B = held[name]
        assert (B.shape, B.dtype) == (A.shape, A.dtype)
        assert error_of(A, B) <= held.block_errors[name] <= 0.02
    assert max(c.error_upper for c in held.clusters) <= 0.02
    assert done.reads == (1.0 if principal == 1.0 else 2.0)
    assert held.options.principal in (principal, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05)


def test_matrices_of_full_rank_are_smaller_although_they_share_nothing(full_rank, tmp_path):
    alone = streamsvd.compress(full_rank, tmp_path / "a.zarr", 0.05)
    coded = streamsvd.compress(full_rank, tmp_path / "b.zarr", 0.05, principal="auto")
    assert alone.compression_ratio < 1.0  # as they are, and metadata
    assert coded.compression_ratio > 4.5
    assert streamsvd.open_compressed(tmp_path / "b.zarr").options.principal == 1.0


def test_below_the_noise_both_parts_are_smaller_than_either(noisy, tmp_path):
    """Bases take the signal in few numbers, and codes of the noise are those of small numbers."""
    sizes = {}
    for principal in (None, 1.0, 0.05, "auto"):
        place = tmp_path / f"{principal}.zarr"
        done = streamsvd.compress(noisy, place, 0.005, principal=principal)
        sizes[principal] = done.bytes_after
    assert sizes[0.05] < 0.45 * sizes[1.0] < 0.45 * sizes[None]
    assert sizes["auto"] <= 1.01 * sizes[0.05]
    held = streamsvd.open_compressed(tmp_path / "auto.zarr")
    assert [c.rank for c in held.clusters] == [4]


def test_a_matrix_that_fits_its_basis_has_no_codes(tmp_path):
    given = name_blocks(d6())
    streamsvd.compress(given, tmp_path / "c.zarr", 0.03, principal=0.05)
    contents = CompressedStore.from_address(tmp_path / "c.zarr").newest()
    assert all(not m.codes for m in contents.members.values())
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert all(error_of(A, held[k]) <= held.block_errors[k] <= 0.03 for k, A in given.items())


def test_errors_of_what_matters_are_met_by_codes_too(tmp_path):
    rng = np.random.default_rng(6)
    given = {f"w{i}": rng.standard_normal((40, 30)).astype(np.float32) for i in range(4)}
    X = rng.standard_normal((500, 30)) * 0.7 ** np.arange(30)
    rows = np.exp(rng.standard_normal(40))
    plain = streamsvd.compress(given, tmp_path / "a.zarr", 0.01, principal=1.0)
    aimed = streamsvd.compress(
        given, tmp_path / "b.zarr", 0.01, principal=1.0, inputs=X, row_weights=rows
    )
    held = streamsvd.open_compressed(tmp_path / "b.zarr")
    for name, A in given.items():
        D = (A - held[name].astype(np.float64)) * rows[:, None]
        error = np.linalg.norm(D @ X.T) / np.linalg.norm(rows[:, None] * A @ X.T)
        assert 0.005 < error <= held.block_errors[name] <= 0.01
    codes = [
        sum(c.files[f"{m.codes}/c/0"][1] for m in c.members.values())
        for c in (CompressedStore.from_address(tmp_path / n).newest() for n in ("a.zarr", "b.zarr"))
    ]
    assert codes[1] < 0.75 * codes[0]
    assert aimed.version == plain.version == 1


@pytest.mark.parametrize("principal", [1.0, 0.05])
def test_additions_are_coded_as_the_collection_was(noisy, tmp_path, principal):
    items = list(noisy.items())
    streamsvd.compress(dict(items[:8]), tmp_path / "c.zarr", 0.005, principal=principal)
    other = np.random.default_rng(7).standard_normal((200, 50)).astype(np.float32)
    later = {**dict(items[8:]), "other": other}
    done = streamsvd.compress(later, tmp_path / "c.zarr", append=True)
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    for name, A in {**noisy, "other": other}.items():
        assert error_of(A, held[name]) <= held.block_errors[name] <= 0.005
    if principal == 0.05:
        assert held.labels["w11"] == held.labels["w00"]
    assert held.labels["other"] != held.labels["w00"]
    assert done.version == 2
    with pytest.raises(SpecError, match="principal=0.3 was passed, but additions are held"):
        streamsvd.compress({"x": other}, tmp_path / "c.zarr", append=True, principal=0.3)


def test_one_matrix_is_read_without_the_codes_of_others(full_rank, tmp_path):
    streamsvd.compress(full_rank, tmp_path / "c.zarr", 0.05, principal=1.0)
    contents = CompressedStore.from_address(tmp_path / "c.zarr").newest()
    damaged = tmp_path / "c.zarr" / f"{contents.members['w1'].codes}/c/0"
    data = bytearray(damaged.read_bytes())
    data[40] ^= 1
    damaged.write_bytes(data)
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert error_of(full_rank["w0"], held["w0"]) <= 0.05
    with pytest.raises(StoreError):
        held["w1"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"error": 0.1, "principal": 0.1}, "principal=0.1 is no error of a principal part beside error=0.1"),
        ({"error": 0.1, "principal": 1.5}, "principal=1.5 is no error"),
        ({"error": 0.1, "principal": "most"}, "principal='most' is no error"),
        ({"error": 0.1, "principal": True}, "principal=True is no error"),
        ({"error": 0.0, "principal": 0.1}, "error=0 leaves no room for residuals"),
        ({"error": 0.0, "principal": "auto"}, "error=0 leaves no room for residuals"),
        ({"error": 0.1, "principal": 0.3, "backend": "gram"}, "residuals need sketches in memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(full_rank, tmp_path, given, match):
    with pytest.raises(SpecError, match=match):
        streamsvd.compress(full_rank, tmp_path / "c.zarr", **given)
    assert not (tmp_path / "c.zarr").exists()
