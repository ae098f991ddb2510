"""The sweep over ordinary data at its smallest, and the checks it is made of: truths are true, lies are seen."""

import json
from dataclasses import replace

import numpy as np
import pytest

import streamsvd
from benchmarks import ordinary
from benchmarks.ordinary_data import DATA, SHAPES, hold
from benchmarks.statements import violated


@pytest.fixture(scope="module")
def outcomes():
    return list(ordinary.sweep("tiny", routes=False))


def test_every_run_is_proved_and_every_statement_is_true(outcomes):
    assert ordinary.complaints(outcomes) == []
    assert len(outcomes) == len(DATA) * len(SHAPES["tiny"])
    assert all(o.converged for o in outcomes if o.gram_fits)


def test_the_matrix_is_read_few_times(outcomes):
    assert ordinary.mean_reads(outcomes) <= ordinary.READS


def dense(data, held):
    made = data.make(held.shape.m, held.shape.n).rows(0, held.shape.m).astype(np.float64)
    centred = made - made.mean(axis=0) if data.pca else made
    return centred * held.options.get("column_weights", 1.0)


@pytest.mark.parametrize("shape", SHAPES["tiny"], ids=lambda shape: shape.name)
@pytest.mark.parametrize("data", DATA, ids=lambda data: data.name)
def test_the_truth_is_that_of_lapack(data, shape, tmp_path):
    held = hold(data, shape, tmp_path)
    X = dense(data, held)
    np.testing.assert_allclose(np.concatenate(list(held.panels())), X, atol=1e-15)
    _, s, Vh = np.linalg.svd(X, full_matrices=False)
    known, k = held.truth, data.rank
    found = known.s[: k + 1]
    assert (np.abs(found - s[: k + 1]) <= known.slack[: k + 1] + 1e-14 * s[0]).all()
    assert known.energy == pytest.approx(float(np.sum(s**2)), rel=1e-12)
    assert known.V.shape == (shape.n, k)
    gaps = s[:k] ** 2 - s[1 : k + 1] ** 2
    clear = np.flatnonzero(gaps > 1e-3 * s[0] ** 2)
    for r in clear + 1:
        sines = np.linalg.norm(known.V[:, :r] - Vh[:r].T @ (Vh[:r] @ known.V[:, :r]), 2)
        assert sines < 1e-4 if held.dtype == np.float32 else 1e-9


LIES = {
    "sigma_lower": lambda c: replace(c, sigma_lower=c.sigma_upper * (1 + 1e-6)),
    "sigma_upper": lambda c: replace(c, sigma_upper=c.sigma_lower * (1 - 1e-6)),
    "groups": lambda c: replace(
        c, sigma_lower=c.sigma_lower * 1.001, sigma_upper=c.sigma_upper * 1.001
    ),
    "next_lower": lambda c: replace(c, next_lower=float(c.sigma_upper[-1])),
    "tol": lambda c: replace(c, tol=0.5),
    "energy": lambda c: replace(c, energy=c.energy * (1 + 1e-9)),
    "frobenius_error": lambda c: replace(c, frobenius_error=c.frobenius_error * (1 - 1e-6)),
    "spectral_error": lambda c: replace(c, spectral_error=c.spectral_error * 0.99),
    "excess": lambda c: replace(c, excess=-1e-6),
    "captured_of_best": lambda c: replace(c, excess=-1e-6),
    "orthogonality": lambda c: replace(c, orthogonality=-1.0),
    "deficit": lambda c: replace(c, sigma_lower=c.sigma_upper * 1.01, deficit=0.0),
    "subspace_angle_bound": lambda c: replace(c, subspace_angle_bound=-1.0),
    "resolved_angle_bound": lambda c: replace(c, resolved_angle_bound=-1.0),
}


@pytest.fixture(scope="module")
def spikes(tmp_path_factory):
    held = hold(DATA[7], SHAPES["tiny"][0], tmp_path_factory.mktemp("spikes"))
    return held, streamsvd.svd(held.path, held.data.rank)


def test_what_is_true_is_not_complained_about(spikes):
    held, result = spikes
    assert violated(held, result, 1e-3) == []


@pytest.mark.parametrize("statement", LIES)
def test_a_statement_that_is_not_true_is_seen(statement, spikes):
    held, result = spikes
    lie = replace(result, certificate=LIES[statement](result.certificate))
    assert any(said.startswith(statement) for said in violated(held, lie, 1e-3))


def test_a_value_called_resolved_that_is_not_is_seen(spikes):
    held, result = spikes
    lie = replace(result, s=result.s * 1.01)
    assert any(said.startswith("resolved[") for said in violated(held, lie, 1e-3))


def test_runs_that_do_not_converge_or_crash_are_counted(spikes, monkeypatch):
    held, _ = spikes
    late = ordinary.run(held, "plenty", 1e-9, "krylov", max_passes=1, target="values")
    assert (late.status, late.criterion) == ("not converged", "")
    assert late.violations == ()
    refused = ordinary.run(held, "1MiB", 1e-3)
    assert refused.status == "refused"
    assert "smallest budget" in refused.message

    def broken(*args, **options):
        raise RuntimeError("broken")

    monkeypatch.setattr(streamsvd, "svd", broken)
    crashed = ordinary.run(held, "plenty", 1e-3)
    assert (crashed.status, crashed.message) == ("crashed", "RuntimeError: broken")
    assert "broken" in ordinary.complaints([crashed])[0]
    owed = replace(late, asked_route="", gram_fits=True)
    assert "not converged by krylov" in ordinary.complaints([owed])[0]
    (line,) = ordinary.summary([late, owed, crashed])
    assert (line.runs, line.converged, line.owed, line.crashes) == (2, 0, 2, 1)


def test_the_command_prints_a_line_for_each_kind_and_keeps_every_run(tmp_path, capsys):
    kept = tmp_path / "runs.jsonl"
    with pytest.raises(SystemExit) as left:
        ordinary.main(["tiny", "--only", "floor", "--shape", "tall", "--json", str(kept)])
    assert left.value.code == 0
    assert "| floor .9 at k + 1 | 1 of 1 |" in capsys.readouterr().out
    runs = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [run["asked_route"] for run in runs] == ["", "krylov", "gram"]


def test_the_target_has_a_table():
    table = ordinary.table("small", cases=["one-hot"], of="tiny")
    assert table.target == "T12"
    assert all(row.verdict in ("met", "not judged") for row in table.rows)
    assert "| one-hot |" in table.markdown()
