"""Collections under weights: the error of what is read again, in the norm that was asked, is within what is certified."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import NonFiniteError, ShapeError, SpecError
from tests.collections.blocks import orthonormal

M, N = 48, 20


def acting(rng, samples=300, n=N, base=0.6):
    """Inputs with a few strong directions."""
    return rng.standard_normal((samples, n)) * base ** np.arange(n) @ orthonormal(rng, n, n).T


@pytest.fixture
def layers():
    rng = np.random.default_rng(8)
    B = orthonormal(rng, M, M) * 0.8 ** np.arange(M)
    made = {f"layer.{i}/w": (B @ rng.standard_normal((M, N))).astype(np.float32) for i in range(6)}
    made["bias"] = (B @ rng.standard_normal(M)).astype(np.float32)
    made["zero"] = np.zeros((M, N))
    return made


def weighted_error(A, B, rows=None, columns=None, X=None):
    A, B = (np.asarray(x, dtype=np.float64).reshape(M, -1) for x in (A, B))

    def norm(E):
        E = E if rows is None else rows[:, None] * E
        E = E if columns is None else E * columns
        return np.linalg.norm(E if X is None else E @ X.T)

    return norm(A - B) / norm(A)


@pytest.mark.parametrize("backend", ["primal", "propose"])
@pytest.mark.parametrize("mode", ["block", "cluster", "global"])
def test_errors_are_those_of_what_matrices_do_to_inputs(layers, tmp_path, mode, backend):
    rng = np.random.default_rng(9)
    X, rows = acting(rng), np.exp(rng.standard_normal(M))
    streamsvd.compress(
        layers, tmp_path / "c.zarr", 0.05, mode=mode, backend=backend, row_weights=rows,
        column_weights={"bias": [3.0]}, inputs={"layer.*": X},
    )  # fmt: skip
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert max(held.block_errors.values()) > 0.01  # something was dropped
    for name in layers:
        B = held[name]
        assert (B.shape, B.dtype) == (layers[name].shape, layers[name].dtype)
        if name == "zero":
            assert not B.any()
            continue
        x = X if name.startswith("layer") else None
        error = weighted_error(layers[name], B, rows, X=x)
        assert error <= held.block_errors[name]
        assert mode != "block" or held.block_errors[name] <= 0.05


def test_a_basis_for_the_inputs_is_smaller_than_one_for_everything(layers):
    X = acting(np.random.default_rng(10), base=0.3)
    blocks = {k: layers[k] for k in layers if k.startswith("layer")}
    plain = streamsvd.cluster(blocks, 0.05, mode="block")
    aimed = streamsvd.cluster(blocks, 0.05, mode="block", inputs=X)
    assert aimed.compression_ratio > 1.5 * plain.compression_ratio
    for name in blocks:
        assert weighted_error(blocks[name], aimed.approximation(name), X=X) <= 0.05


def test_the_factor_of_inputs_stands_for_them(layers, tmp_path):
    """Of few rows as of many, in memory or stored, and of a factor again."""
    blocks = {k: layers[k] for k in layers if k.startswith("layer")}
    X = acting(np.random.default_rng(11), samples=5000)
    F = streamsvd.second_moment_factor(X)
    assert F.shape == (N, N)
    np.testing.assert_allclose(F.T @ F / N, X.T @ X / 5000, atol=1e-13)
    np.testing.assert_allclose(np.abs(streamsvd.second_moment_factor(F)), np.abs(F), atol=1e-12)
    stored = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(512, N))
    found = [
        streamsvd.cluster(blocks, 0.05, inputs=given)
        for given in (X, F, stored, str(tmp_path / "x.zarr"))
    ]
    for other in found[1:]:
        assert other.labels == found[0].labels
        for name in blocks:
            np.testing.assert_allclose(
                other.approximation(name), found[0].approximation(name), atol=1e-5
            )
    assert found[2].input_bytes == X.nbytes
    assert found[2].reads == 1.0


def test_damping_counts_directions_that_no_sample_has(layers):
    blocks = {k: layers[k] for k in layers if k.startswith("layer")}
    X = acting(np.random.default_rng(12), samples=7)
    few = streamsvd.cluster(blocks, 0.01, inputs=X)
    assert few.clusters[0].rank <= 7 * len(blocks)
    assert "7 samples for 20 columns" in few.info.warnings[0]
    damped = streamsvd.cluster(blocks, 0.01, inputs=X, damping=0.01)
    assert damped.info.warnings == ()
    F = streamsvd.second_moment_factor(X, damping=0.01)
    G = X.T @ X / 7
    np.testing.assert_allclose(F.T @ F / N, G + 0.01 * np.trace(G) / N * np.eye(N), atol=1e-13)


def test_additions_are_weighted_as_the_collection_was(layers, tmp_path):
    rng = np.random.default_rng(13)
    X, rows = acting(rng), np.exp(rng.standard_normal(M))
    blocks = {k: layers[k] for k in layers if k.startswith("layer")}
    first, later = dict(list(blocks.items())[:4]), dict(list(blocks.items())[4:])
    later["other"] = rng.standard_normal((M, 9)).astype(np.float32)
    given = {"row_weights": rows, "inputs": X}
    streamsvd.compress(first, tmp_path / "c.zarr", 0.1, mode="block", **given)
    done = streamsvd.compress(later, tmp_path / "c.zarr", append=True, inputs={"layer.*": X})
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    assert done.version == 2
    for name, A in {**first, **later}.items():
        x = X if name.startswith("layer") else None
        assert weighted_error(A, held[name], rows, X=x) <= held.block_errors[name] <= 0.1
    with pytest.raises(SpecError, match="row_weights was passed, but additions are held"):
        streamsvd.compress(
            {"x": later["other"]}, tmp_path / "c.zarr", append=True, row_weights=rows
        )


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"row_weights": np.ones(5)}, ShapeError, r"row_weights has shape \(5,\), the blocks of .* have 48 rows"),
        ({"row_weights": np.zeros(M)}, SpecError, "row_weights is 0 at row 0; .* Pass positive weights"),
        ({"row_weights": np.full(M, np.nan)}, SpecError, "row_weights is nan at 0"),
        ({"row_weights": np.full(M, 1e300)}, SpecError, r"row_weights is 1e\+300 at 0"),
        ({"row_weights": ["a"] * M}, SpecError, "weights are real numbers"),
        ({"column_weights": np.ones(3)}, ShapeError, r"has shape \(3,\), block 'layer.0/w' has 20 columns"),
        ({"column_weights": {"layer.*": -np.ones(N)}}, SpecError, "column_weights is -1 at column 0 of block 'layer.0/w'"),
        ({"column_weights": {"nothing": np.ones(N)}}, SpecError, "column_weights='nothing' matches no name"),
        ({"inputs": {"layer.*": np.ones((30, 3))}}, ShapeError, "block 'layer.0/w' has 20 columns, its inputs .* have 3"),
        ({"inputs": {"layer.*": np.ones((30, N), complex)}}, SpecError, "complex"),
        ({"inputs": {"layer.*": np.full((30, N), np.inf)}}, NonFiniteError, "Inf"),
        ({"inputs": {"layer.0/*": np.zeros((30, N))}}, SpecError, "weights leave nothing of block 'layer.0/w'"),
        ({"inputs": {"layer.0/*": np.ones((30, N))}, "column_weights": {"layer.*": np.ones(N)}}, SpecError, "'layer.0/w' is named in column_weights and in inputs"),
        ({"inputs": {"layer.*": np.ones((30, N))}, "damping": -1.0}, SpecError, "damping=-1.0 is out of range"),
        ({"damping": 0.01}, SpecError, "damping=0.01 was passed, but there are no inputs"),
        ({"row_weights": np.ones(M), "backend": "gram"}, SpecError, "a Gram matrix knows no weights"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_meant(layers, given, error, match, tmp_path):
    with pytest.raises(error, match=match):
        streamsvd.compress(layers, tmp_path / "c.zarr", 0.05, **given)
    assert not (tmp_path / "c.zarr" / "log").exists()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_count_very_differently(dtype, tmp_path):
    """Bases of weights over eight decades leave a half-precision type, never the error."""
    rng = np.random.default_rng(14)
    rows = 10.0 ** np.linspace(-8, 0, M)
    B = (orthonormal(rng, M, 3) / rows[:, None] * 1e-6).astype(np.float64)
    blocks = {f"b{i}": (B @ rng.standard_normal((3, N)) * 1e-3).astype(dtype) for i in range(5)}
    streamsvd.compress(blocks, tmp_path / "c.zarr", 0.02, mode="block", row_weights=rows)
    held = streamsvd.open_compressed(tmp_path / "c.zarr")
    for name, A in blocks.items():
        assert weighted_error(A, held[name], rows) <= held.block_errors[name] <= 0.02


def test_on_a_cluster_of_processes_the_same_bits(layers):
    distributed = pytest.importorskip("distributed")
    X = acting(np.random.default_rng(15))
    here = streamsvd.cluster(layers, 0.05, inputs={"layer.*": X})
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        there = streamsvd.cluster(layers, 0.05, inputs={"layer.*": X})
    assert there.labels == here.labels
    for name in layers:
        if not here.clusters[here.labels[name]].raw:
            np.testing.assert_array_equal(there.approximation(name), here.approximation(name))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("offset", [5, 1000])
@pytest.mark.parametrize("shape", [(300, 12), (33, 200)])
def test_verify_fills_with_the_mean_and_keeps_the_vectors(shape, offset, center, tmp_path):
    """Where the first read shows another mean, the second asks about the same vectors."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape) + offset
    X[rng.random(shape) < 0.03] = np.nan
    found = streamsvd.svd(X, 3, nonfinite="mean", center=center, out=tmp_path / "r")
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    filled = filled - filled.mean(axis=0) if center else filled
    error = np.linalg.norm(filled - filled @ found.Vh.T @ found.Vh)
    check = streamsvd.verify(tmp_path / "r", X)
    assert check.agrees, check.findings
    assert error <= check.certificate.frobenius_error * (1 + 1e-12)
    assert check.certificate.frobenius_error == pytest.approx(error, rel=1e-5)


def test_the_mean_of_a_column_that_is_dropped_is_that_of_what_is_there():
    X = np.random.default_rng(0).standard_normal((40, 6)) + 5
    X[:-1, 2], X[-1, 2] = np.nan, 4.0
    for A in (X, X[-8:]):
        found = streamsvd.pca(A, 2, nonfinite="drop_columns")
        assert found.info.dropped_columns == (2,)
        assert found.mean == pytest.approx(np.nanmean(A, axis=0))
