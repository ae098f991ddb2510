"""Rows that stand for a stored matrix: the asked accuracy, the proof, the bits, the budget, and what is refused."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import zarr
from scipy import linalg

import streamsvd
from streamsvd.cli import app
from streamsvd.engine.memory import parse_bytes

N, D = 20_000, 40


def coherent(seed):
    """20 000 rows of 40 numbers, singular values from 1 to 1e-3, ten rows replaced by large ones."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    A = rng.standard_normal((N, D)) * np.geomspace(1, 1e-3, D) @ Q
    large = rng.choice(N, 10, replace=False)
    A[large] = 30 * rng.standard_normal((10, D))
    b = A @ rng.standard_normal(D)
    noise = rng.standard_normal(N)
    return A, b + noise * np.linalg.norm(b) / np.linalg.norm(noise), np.sort(large)


def excess(A, b, indices, weights):
    """How much larger the residual of sampled least squares is."""
    root = np.sqrt(weights)
    x = np.linalg.lstsq(root[:, None] * A[indices], root * b[indices], rcond=None)[0]
    best = np.linalg.lstsq(A, b, rcond=None)[0]
    return np.linalg.norm(A @ x - b) / np.linalg.norm(A @ best - b) - 1


def truth(A, found):
    """Extreme ratios of the sample and the whole, by dense algebra."""
    S = (A[found.indices].T * found.weights) @ A[found.indices]
    return linalg.eigh(S, A.T @ A, eigvals_only=True)[[0, -1]] - 1


@pytest.mark.parametrize("seed", [0, 1])
def test_few_rows_are_enough_where_a_uniform_sample_fails(seed):
    """Acceptance 21: c = 4, at most 180 rows, least squares within 0.4; uniform rows are beyond 5; online at most 1300."""
    A, b, large = coherent(seed)
    found = streamsvd.sample_rows(A, oversampling=4.0, seed=seed)
    assert found.indices.size <= 180
    assert excess(A, b, found.indices, found.weights) <= 0.4
    assert np.isin(large, found.indices).all()
    assert found.dimension == pytest.approx(D, rel=1e-6)
    uniform = np.random.default_rng(seed).choice(N, found.indices.size, replace=False)
    assert excess(A, b, uniform, np.ones(uniform.size)) > 5
    online = streamsvd.sample_rows(A, oversampling=4.0, method="online", seed=seed)
    assert online.indices.size <= 1300
    assert excess(A, b, online.indices, online.weights) <= 0.1
    for each, most in ((found, 2.0), (online, 0.9)):
        c = each.certificate
        low, high = truth(A, each)
        np.testing.assert_allclose([-c.lower, c.upper], [low, high], rtol=1e-4)
        assert -c.lower <= low + 1e-8
        assert c.upper >= high - 1e-8
        assert c.upper <= most
        assert c.lower < 1
        assert c.rank == D


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3_000, 12)) * np.abs(rng.standard_t(2, 3_000))[:, None]
    return A.astype(np.float32)


def same(one, other):
    for name in ("indices", "rows", "weights", "chances", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.certificate == other.certificate
    assert one.dimension == other.dimension


@pytest.mark.parametrize("chunk", [50, 999, 3_000])
@pytest.mark.parametrize(
    "how", [{"size": 200}, {"oversampling": 5.0}, {"method": "online", "oversampling": 2.0}]
)
def test_memory_threads_and_clusters_change_no_bit(tmp_path, A, chunk, how):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(chunk, 5), dtype="f4")[...] = A
    whole = streamsvd.sample_rows(path, **how)
    for memory, threads in (("60MiB", 1), ("200MiB", 4)):
        with dask.config.set(num_workers=threads):
            found = streamsvd.sample_rows(path, memory=memory, **how)
        same(found, whole)
        assert found.info.peak_bytes <= found.info.projected_bytes <= parse_bytes(memory)
    assert found.info.passes == (1 if "method" in how else 2)
    if "method" in how:
        same(streamsvd.sample_rows(A, **how), whole)  # one run of blocks: chunks change nothing


def test_a_cluster_draws_the_same(tmp_path, A):
    from distributed import Client, LocalCluster

    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(300, 5), dtype="f4")[...] = A
    here = streamsvd.sample_rows(path, 200)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster, Client(cluster):
        there = streamsvd.sample_rows(path, 200)
        solved = streamsvd.lstsq(path, A[:, 0], method="precondition")
    same(there, here)
    np.testing.assert_array_equal(solved.x, streamsvd.lstsq(path, A[:, 0], method="precondition").x)


def test_a_sample_is_what_it_says(A):
    found = streamsvd.sample_rows(A, 200, seed=3)
    assert found.indices.size == 200
    assert np.all(np.diff(found.indices) > 0)
    wide = A.astype(float)
    np.testing.assert_array_equal(found.rows, wide[found.indices])
    U = np.linalg.svd(wide, full_matrices=False)[0]
    np.testing.assert_allclose(found.scores, np.sum(U * U, axis=1)[found.indices], rtol=1e-7)
    chances = np.minimum(1, found.oversampling * found.scores)
    np.testing.assert_allclose(found.chances, chances)
    np.testing.assert_array_equal(found.weights, 1 / found.chances)
    low, high = truth(wide, found)
    np.testing.assert_allclose(
        [-found.certificate.lower, found.certificate.upper], [low, high], rtol=1e-7
    )
    assert not np.array_equal(found.indices, streamsvd.sample_rows(A, 200, seed=4).indices)
    assert found.chosen_options == ()
    default = streamsvd.sample_rows(A)
    assert default.chosen_options == ("oversampling",)
    assert default.oversampling == pytest.approx(8 * np.log(12))
    assert default.certificate.upper < 0.7


def test_ridge_scores_leave_weak_directions_out(A):
    wide = A.astype(float) * np.geomspace(1, 1e-4, 12)
    gamma = 50.0
    found = streamsvd.sample_rows(wide, oversampling=6.0, scores="ridge", gamma=gamma)
    s = np.linalg.svd(wide, compute_uv=False)
    assert found.dimension == pytest.approx(np.sum(s**2 / (s**2 + gamma)))
    assert found.dimension < 9
    G, eye = wide.T @ wide, gamma * np.eye(12)
    S = (found.rows.T * found.weights) @ found.rows
    low, high = linalg.eigh(S + eye, G + eye, eigvals_only=True)[[0, -1]] - 1
    np.testing.assert_allclose(
        [-found.certificate.lower, found.certificate.upper], [low, high], rtol=1e-6
    )
    assert found.certificate.gamma == gamma
    online = streamsvd.sample_rows(
        wide, oversampling=1.0, scores="ridge", gamma=gamma, method="online"
    )
    S = (online.rows.T * online.weights) @ online.rows
    low, high = linalg.eigh(S + eye, G + eye, eigvals_only=True)[[0, -1]] - 1
    np.testing.assert_allclose(
        [-online.certificate.lower, online.certificate.upper], [low, high], rtol=1e-6
    )


def test_the_norm_one_of_rows_of_very_different_size():
    """l_1 with rows of Cauchy size: root-leverage is better than leverage, and both than uniform rows."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5_000, 8)) * np.abs(rng.standard_cauchy(5_000))[:, None]
    X = rng.standard_normal((8, 300))
    whole = np.abs(A @ X).sum(axis=0)

    def off(indices, weights):
        return np.abs((np.abs(A[indices] @ X) * weights[:, None]).sum(axis=0) / whole - 1).max()

    found = {
        kind: np.median([
            off(f.indices, f.weights)
            for f in (streamsvd.sample_rows(A, 300, scores=kind, p=p, seed=s) for s in range(7))
        ])
        for kind, p in (("root-leverage", 1.0), ("leverage", 2.0))
    }  # fmt: skip
    plain = np.median([
        off(rng.choice(5_000, 300, replace=False), np.full(300, 5_000 / 300)) for _ in range(7)
    ])  # fmt: skip
    assert found["root-leverage"] < 0.2
    assert found["root-leverage"] < found["leverage"]
    assert found["root-leverage"] < 0.5 * plain
    one, other = (
        streamsvd.sample_rows(A, 50, scores=k, p=1.5) for k in ("root-leverage", "sensitivity")
    )
    same(one, other)
    assert streamsvd.sample_rows(A, 50, scores="sensitivity", p=4.0).indices.size == 50


def test_samples_are_unbiased(A):
    wide = A[:400].astype(float)
    sums = np.array([
        (f.rows.T * f.weights) @ f.rows
        for f in (streamsvd.sample_rows(wide, 60, seed=s) for s in range(60))
    ])  # fmt: skip
    error = sums.std(axis=0) / np.sqrt(60)
    off = np.abs(sums.mean(axis=0) - wide.T @ wide)
    assert np.mean(off <= 2 * error) > 0.85
    assert np.all(off <= 5 * error)


def degenerate():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((600, 6))
    zeros = A.copy()
    zeros[50:500] = 0
    return {
        "deficient": (A[:, :2] @ rng.standard_normal((2, 6)), 2), "zero rows": (zeros, 6), "zeros": (np.zeros((300, 4)), 0),
        "one row": (A[:1], 1), "one column": (A[:, :1], 1), "wide": (A[:4], 4), "duplicates": (np.repeat(A[:6], 100, 0), 6),
        "tiny": (A * 1e-135, 6), "huge": (A * 1e135, 6), "integers": ((A * 100).astype("i4"), 6),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(degenerate()))
@pytest.mark.parametrize("how", [{"size": 30}, {"oversampling": 6.0}, {"method": "online"}])
def test_degenerate_matrices(name, how):
    A, rank = degenerate()[name]
    found = streamsvd.sample_rows(A, **how)
    c = found.certificate
    assert c.rank == rank
    assert found.indices.size <= A.shape[0]
    assert np.all((found.chances > 0) & (found.chances <= 1))
    assert A[found.indices].any(axis=1).all()
    U, s, _ = np.linalg.svd(A / max(np.abs(A).max(), 1e-300), full_matrices=False)
    U = U[:, s > 1e-9 * max(s[0], 1e-300)][found.indices]
    if rank:
        values = np.linalg.svd(np.sqrt(found.weights)[:, None] * U, compute_uv=False) ** 2
        low = values[-1] if values.size == rank and U.shape[0] >= rank else 0.0
        np.testing.assert_allclose(
            [1 - c.lower, 1 + c.upper], [low, values[0]], rtol=1e-6, atol=1e-9
        )
        assert c.lower < 0.95
    else:
        assert (c.lower, c.upper, found.indices.size) == (0, 0, 0)
    assert any("numerical rank" in said for said in found.info.warnings) == (rank < A.shape[1])
    if "size" not in how:
        assert found.dimension >= rank * (1 - 1e-9)


def test_too_few_rows_are_told(A):
    found = streamsvd.sample_rows(A, 5)
    assert found.certificate.lower == 1.0
    assert any("5 rows cannot span the 12 directions" in said for said in found.info.warnings)
    everything = streamsvd.sample_rows(A[:100], 100)
    assert everything.indices.size == 100
    assert any("all 100 rows were kept" in said for said in everything.info.warnings)
    assert everything.certificate.upper < 1e-10


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"size": 0}, streamsvd.SpecError, "size=0 is no number of rows"),
        ({"size": 2.5}, streamsvd.SpecError, "size=2.5 is no number of rows"),
        ({"size": 5, "oversampling": 2.0}, streamsvd.SpecError, "exclude each other"),
        ({"oversampling": 0.0}, streamsvd.SpecError, "oversampling=0.0 keeps nothing"),
        ({"oversampling": np.nan}, streamsvd.SpecError, "oversampling=nan keeps nothing"),
        ({"p": "2"}, streamsvd.SpecError, "p='2' is not a number"),
        ({"gamma": True}, streamsvd.SpecError, "gamma=True is not a number"),
        ({"scores": "best"}, streamsvd.SpecError, "scores='best' is unknown"),
        ({"method": "three"}, streamsvd.SpecError, "method='three' is unknown"),
        ({"scores": "ridge"}, streamsvd.SpecError, "Pass gamma="),
        ({"scores": "ridge", "gamma": -1.0}, streamsvd.SpecError, "gamma=-1.0 is no ridge"),
        ({"gamma": 1.0}, streamsvd.SpecError, "has no meaning for scores='leverage'"),
        ({"p": 3.0}, streamsvd.SpecError, "are for p=2, and p=3.0"),
        ({"scores": "root-leverage"}, streamsvd.SpecError, "1 <= p < 2, and p=2.0"),
        ({"scores": "sensitivity", "p": 0.5}, streamsvd.SpecError, "p=0.5 is no norm"),
        ({"scores": "sensitivity", "p": np.inf}, streamsvd.SpecError, "p=inf is no norm"),
        ({"method": "online", "size": 5}, streamsvd.SpecError, "no size=5 can be kept"),
        ({"method": "online", "scores": "sensitivity"}, streamsvd.SpecError, "must be leverage or ridge"),
        ({"seed": -1}, streamsvd.SpecError, "seed=-1 is no seed"),
        ({"memory": "1MiB"}, streamsvd.BudgetError, "a sample of up to 402 rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(A, change, error, message):
    given = {"size": 200} if set(change) <= {"memory"} else {}
    with pytest.raises(error, match=message):
        streamsvd.sample_rows(A, **(given | change))


def test_what_cannot_be_sampled_is_named(A):
    for value, word in ((np.nan, "NaN"), (np.inf, "Inf")):
        bad = A.copy()
        bad[1234, 5] = value
        for method in ("two-pass", "online"):
            with pytest.raises(streamsvd.NonFiniteError, match=f"{word} at row 1234, column 5"):
                streamsvd.sample_rows(bad, method=method)
    with pytest.raises(streamsvd.SpecError, match="is complex"):
        streamsvd.sample_rows(A + 1j)
    with pytest.raises(streamsvd.SpecError, match="whose squares float64 does not hold"):
        streamsvd.sample_rows(A.astype(float) * 1e200)


def test_the_budget_that_is_named_works(A):
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.sample_rows(A, 100, memory="40MiB")
    least = caught.value.needs
    assert f"memory={least}" in str(caught.value)
    found = streamsvd.sample_rows(A, 100, memory=least)
    assert found.info.projected_bytes == least
    same(found, streamsvd.sample_rows(A, 100))
    with pytest.raises(streamsvd.BudgetError):
        streamsvd.sample_rows(A, 100, memory=least - 1)


def test_an_online_sample_that_outgrows_its_plan_is_stopped():
    """Rows that double in size: each is new, whatever came before."""
    A = np.diag(2.0 ** np.arange(400))[:, :1] + np.zeros((400, 1))
    A[:, 0] = 2.0 ** np.arange(400)
    with pytest.raises(
        streamsvd.BudgetError, match="an online sample of .* more than the .* planned"
    ):
        streamsvd.sample_rows(A, method="online", oversampling=0.05)


def test_the_command_line_samples(A, tmp_path, capsys):
    np.save(tmp_path / "a.npy", A)
    source, out = str(tmp_path / "a.npy"), str(tmp_path / "s.npz")
    asked = ["sample", source, "--size", "100", "--out", out]
    assert app.run([*asked, "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = streamsvd.sample_rows(A, 100)
    assert record["kept"] == 100
    assert record["certificate"]["upper"] == found.certificate.upper
    with np.load(out) as kept:
        for name in ("indices", "rows", "weights", "chances", "scores"):
            np.testing.assert_array_equal(kept[name], getattr(found, name))
    assert app.run([*asked, "--quiet"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert app.run([*asked, "--overwrite", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "100 of 3,000 rows" in text
    assert "for every x of the row space, of dimension 12" in text
    assert app.run(["sample", source, "--size", "3", "--oversampling", "2"]) == 2
    assert "--size 3 and --oversampling 2.0 exclude" in capsys.readouterr().err
    assert app.run(["sample", source, "--method", "online", "--gamma", "1", "--quiet"]) == 0
    assert app.run(["sample", source, "--size", "2", "--quiet"]) == 0
    assert "2 rows cannot span" in capsys.readouterr().err
