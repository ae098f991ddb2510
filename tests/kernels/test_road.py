"""What the road can do, the verbs of kernels can do: missing values, saves, clusters, plans; files of earlier releases."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import streamsvd
from streamsvd.cli import app
from streamsvd.engine.events import SpanDone
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.kernels.nystrom import feature_rows
from streamsvd.kernels.options import KernelRidgeOptions, NystromOptions
from streamsvd.verbs import VERBS as KNOWN
from tests.matrices import Rows

RNG = np.random.default_rng(7)
A = RNG.uniform(-2, 2, (2_000, 4))
Y = np.sin(2 * A[:, 0]) * A[:, 1] + 0.1 * RNG.standard_normal(2_000)
SAVED = Path(__file__).parent / "saved"
OPTIONS = {"n_centres": 30, "length": 2.0, "budget": 100}
VERBS = {
    "nystrom": lambda X, **o: streamsvd.nystrom(X, **OPTIONS, **o),
    "direct": lambda X, **o: streamsvd.kernel_ridge(X, Y, solver="direct", **OPTIONS, **o),
    "onepass": lambda X, **o: streamsvd.kernel_ridge(X, Y, solver="onepass", **OPTIONS, **o),
    "pcg": lambda X, **o: streamsvd.kernel_ridge(X, Y, solver="pcg", **OPTIONS, **o),
}


def features_of(found, X):
    Z = found.feature_map(X)
    return Z @ found.coefficients if hasattr(found, "coefficients") else Z


@pytest.fixture
def holes():
    X = A.copy()
    X[RNG.integers(0, 2_000, 30), RNG.integers(0, 2, 30)] = np.nan
    return X


@pytest.mark.parametrize("verb", VERBS)
def test_missing_values_are_what_the_policy_says(verb, holes):
    run = VERBS[verb]
    with pytest.raises(NonFiniteError, match="NaN at row"):
        run(holes)
    same = features_of(run(np.nan_to_num(holes)), A)
    np.testing.assert_array_equal(features_of(run(holes, nonfinite="zero"), A), same)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    by_mean = run(holes, nonfinite="mean")
    np.testing.assert_allclose(features_of(by_mean, A), features_of(run(filled), A), atol=1e-6)
    dropped = run(holes, nonfinite="drop_columns")
    assert dropped.info.dropped_columns == (0, 1)
    np.testing.assert_array_equal(features_of(dropped, A), features_of(run(A[:, 2:]), A[:, 2:]))
    with pytest.raises(SpecError, match="nonfinite='skip' is unknown"):
        run(holes, nonfinite="skip")


@pytest.mark.parametrize("verb", ["nystrom", "direct"])
def test_an_infinite_entry_is_an_error_under_every_policy(verb):
    X = A.copy()
    X[1234, 3] = -np.inf
    for policy in ("raise", "zero", "mean", "drop_columns"):
        with pytest.raises(NonFiniteError, match="Inf at row 1234, column 3"):
            VERBS[verb](X, nonfinite=policy)


@pytest.mark.parametrize(
    ("verb", "record"), [("nystrom", NystromOptions), ("kernel_ridge", KernelRidgeOptions)]
)
def test_the_record_has_the_options_of_the_verb_and_of_its_plan(verb, record):
    for part in ("function", "plan"):
        asked = inspect.signature(KNOWN[verb].resolve(part)).parameters
        for f in fields(record):
            assert asked[f.name].default == f.default, f.name


def test_what_was_asked_and_what_was_chosen_stand_in_the_result():
    found = streamsvd.nystrom(A, n_centres=30)
    assert found.chosen_options == ("length", "gamma")
    assert found.options.length == found.feature_map.kernel.length
    assert (found.options.gamma, found.options.budget) == (found.gamma, 120)
    fit = streamsvd.kernel_ridge(A, Y, n_centres=30)
    assert fit.chosen_options == ("length", "ridge")
    assert (fit.options.ridge, fit.options.solver) == (fit.ridge, "direct")
    again = streamsvd.kernel_ridge(
        A, Y, n_centres=30, length=fit.options.length, ridge=fit.options.ridge
    )
    assert again.chosen_options == ()


class Unread:
    """A matrix that may not be read."""

    shape, dtype, chunks = A.shape, A.dtype, (200, 4)

    def read(self, rows):
        raise AssertionError("a plan reads nothing")


@pytest.mark.parametrize(
    ("verb", "inputs", "options"),
    [
        ("nystrom", (), {}),
        ("nystrom", (), {"certify": False}),
        ("kernel_ridge", (Y,), {"solver": "auto"}),
        ("kernel_ridge", (Y,), {"solver": "onepass", "ridge": 1.0}),
        ("kernel_ridge", (Y,), {"solver": "pcg", "max_passes": 12, "tol": 0.1}),
    ],
)
def test_a_plan_reads_nothing_and_bounds_the_run(verb, inputs, options):
    options = OPTIONS | options
    plan = streamsvd.plan(verb, Unread(), *inputs, memory="1GiB", **options)
    found = getattr(streamsvd, verb)(Rows(A, 200), *inputs, memory="1GiB", **options)
    assert found.info.passes <= plan.passes
    if options.get("solver") != "pcg":
        assert found.info.passes == plan.passes
    assert found.info.projected_bytes == plan.projected_bytes <= plan.budget_bytes == 1 << 30
    assert found.info.bytes_read == plan.bytes_read
    assert verb in plan.explain()
    with pytest.raises(streamsvd.BudgetError, match="memory="):
        streamsvd.plan(verb, Unread(), *inputs, memory="1MiB", **options)


def test_blocks_of_features_depend_on_the_shape_and_the_centres_alone():
    for n, centres in ((3, 30), (3, 4_000), (10**6, 30)):
        source = Rows(np.broadcast_to(np.float32(1), (10**5, n)), 100)
        rows = feature_rows(source, centres, "cpu")
        assert 64 <= rows <= 10**5
        assert rows * centres * 8 <= max(4 << 20, 1024 * centres * 8)
        assert rows * n * 8 <= max(4 << 20, 64 * n * 8)


@pytest.mark.parametrize("verb", VERBS)
def test_saves_of_a_kernel_that_is_a_function_are_refused(verb, tmp_path):
    with pytest.raises(SpecError, match="cannot be told from another"):
        VERBS[verb](A, kernel=lambda a, b: a @ b.T, checkpoint=tmp_path / "saves")


def test_predictions_that_are_stopped_leave_nothing(tmp_path):
    fit = VERBS["direct"](Rows(A, 200))

    def stop(event):
        if isinstance(event, SpanDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.predict_to(Rows(A, 50), tmp_path / "p.zarr", callback=stop)
    assert not list(tmp_path.iterdir())


def test_predictions_of_a_cluster_are_those_of_threads(tmp_path):
    import zarr
    from distributed import Client, LocalCluster

    fit = VERBS["direct"](Rows(A, 200))
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(300, 2), dtype="f8")[...] = A
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster, Client(cluster):
        fit.predict_to(path, tmp_path / "there.zarr")
    fit.predict_to(path, tmp_path / "here.zarr")
    here, there = (zarr.open_array(tmp_path / f"{name}.zarr")[:, 0] for name in ("here", "there"))
    np.testing.assert_array_equal(here, there)
    np.testing.assert_allclose(here, fit.predict(A), rtol=1e-12)


def test_a_dictionary_that_an_earlier_release_saved_is_read():
    found = streamsvd.load_nystrom(SAVED / "dictionary.npz")
    np.testing.assert_array_equal(found.centres, [89, 39, 114, 53])
    assert found.info.dropped_columns == (1,)
    assert (found.info.passes, found.info.bytes_read, found.info.n_rows) == (2, 3840, 120)
    assert found.info.warnings == ("1 of 3 columns are left out: 1 by the mask.",)
    assert found.chosen_options == ("length", "gamma")
    assert found.oversampling == 2.2967022779051245
    asked = found.options
    assert (asked.n_centres, asked.budget, asked.certify, asked.scale) == (4, 16, True, False)
    assert asked.length == pytest.approx(1.7382053835142164, rel=1e-15)
    assert found.update(A[:, :3]).info.n_rows == 2_120


def test_a_regression_that_an_earlier_release_saved_is_read():
    fit = streamsvd.load_ridge(SAVED / "ridge.npz")
    np.testing.assert_allclose(fit.predict(np.ones((1, 2))), 0.57088894, rtol=1e-7)
    assert (fit.solver, fit.n_held_out, fit.info.passes) == ("pcg", 11, 9)
    assert fit.residuals[-1] == 0.00040129001168598107
    assert fit.chosen_options == ("length",)
    assert fit.options is None  # it was not saved


def test_a_regression_is_saved_with_what_was_asked(tmp_path):
    fit = VERBS["pcg"](A, ridge=0.1, tol=0.01)
    np.savez(tmp_path / "fit.npz", **fit.arrays())
    again = streamsvd.load_ridge(tmp_path / "fit.npz")
    assert again.options == fit.options
    assert again.info.status is fit.info.status is streamsvd.Status.CONVERGED
    assert (again.residuals, again.trace_error) == (fit.residuals, fit.trace_error)
    assert again.info.elapsed_s == fit.info.elapsed_s


def test_the_command_line_has_what_the_road_can_do(holes, tmp_path, capsys):
    np.save(tmp_path / "x.npy", holes)
    np.save(tmp_path / "y.npy", Y)
    source, fit = str(tmp_path / "x.npy"), str(tmp_path / "fit.npz")
    options = ["--n-centres", "30", "--length", "2", "--budget", "100", "--json", "--quiet"]
    assert app.run(["nystrom", source, *options]) == 1
    assert "NaN at row" in capsys.readouterr().err
    saves = ["--checkpoint", str(tmp_path / "saves"), "--save-seconds", "0", "--workers", "2"]
    assert app.run(["nystrom", source, *options, *saves, "--nonfinite", "drop_columns"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["dropped_columns"] == [0, 1]
    assert (record["chosen"], record["kernel"]["length"]) == (["gamma"], 2.0)
    ridge = ["krr", "fit", source, "--y", str(tmp_path / "y.npy"), "--out", fit, *options]
    assert app.run([*ridge, "--nonfinite", "zero", "--smoothness", "0.5", *saves]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["solver"], record["chosen"], record["passes"]) == ("direct", ["ridge"], 2)
    np.save(tmp_path / "x.npy", A)
    out = ["--out", str(tmp_path / "p.zarr"), "--workers", "1", "--quiet"]
    assert app.run(["krr", "predict", fit, source, *out]) == 0
    capsys.readouterr()
    assert app.run(["plan", "krr-fit", source, *ridge[3:5], *options[:-1]]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["passes"], planned["options"]["n_centres"]) == (2, 30)
    assert app.run(["nystrom", source, "--smoothness", "0.7", "--quiet"]) == 2
