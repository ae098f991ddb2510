"""What the verbs print is what the library returns."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd

KEYS = {
    "status", "rank", "passes", "bytes_read", "elapsed_s", "peak_bytes", "projected_bytes", "singular_values",
    "certificate", "out", "kind", "streamsvd",
}  # fmt: skip


def test_json_holds_what_the_function_returns(run, data) -> None:
    record = run("svd", data / "A.zarr", "--rank", 5, "--memory", "256MiB", "--json").record
    result = streamsvd.svd(data / "A.zarr", rank=5, memory="256MiB")
    assert set(record) >= KEYS
    assert record["status"] == "converged"
    assert record["singular_values"] == result.s.tolist()
    assert record["certificate"]["sigma_upper"] == result.certificate.sigma_upper.tolist()
    assert record["passes"] == result.info.passes
    assert record["peak_bytes"] <= record["projected_bytes"] <= record["budget_bytes"] == 256 << 20
    assert record["out"] is None


def test_stdout_of_every_verb_is_one_object(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    assert run("info", data / "A.zarr", "--json").record["shape"] == [600, 60]
    assert run("plan", data / "A.zarr", "--rank", 3, "--json").record["status"] == "planned"
    assert run("svd", data / "A.zarr", "--rank", 3, "--out", out, "--json").record["out"] == str(
        out
    )
    assert run("pca", data / "A.npy", "--rank", 3, "--json").record["rank"] == 3
    assert run("verify", out, data / "A.zarr", "--json").record["status"] == "agrees"


def test_infinities_are_text(run, data) -> None:
    np.save(data.parent / "equal.npy", np.eye(8))
    record = run("svd", data.parent / "equal.npy", "--rank", 2, "--json").record
    assert record["certificate"]["subspace_angle_bound"] == "inf"


def test_pca_speaks_of_variances(run, data) -> None:
    record = run("pca", data / "A.npy", "--rank", 4, "--scale", "--json").record
    result = streamsvd.pca(data / "A.npy", 4, scale=True)
    np.testing.assert_allclose(record["explained_variance"], result.explained_variance)
    np.testing.assert_allclose(record["explained_variance_ratio"], result.explained_variance_ratio)
    shown = run("pca", data / "A.npy", "--rank", 4).out
    assert f"{result.explained_variance_ratio[0]:.4%}" not in shown  # that one is not scaled
    assert "4 components certified" in shown
    np.save(data.parent / "huge.npy", np.load(data / "A.npy").astype(float) * 2.0**590)
    said = run("pca", data.parent / "huge.npy", "--rank", 4)
    assert f"{streamsvd.pca(data / 'A.npy', 4).explained_variance_ratio[0]:.4%}" in said.out
    assert "leave the range of float64" in said.err


def test_the_summary_says_what_is_proved(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    shown = run("svd", data / "A.zarr", "--rank", 30, "--memory", "256MiB", "--out", out).out
    assert "A.zarr: 600 x 60 float32" in shown
    assert "converged: 30 singular values certified" in shown
    for name in ("width", "error", "subspace", "chance", "passes", "memory", "route", "written"):
        assert f"\n  {name} " in shown
    assert "256 MiB allowed" in shown
    lines = shown.splitlines()
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["i", "singular", "value", "at", "least", "at", "most", "width"]
    assert [line.split()[0] for line in table[1:13]] == [*map(str, range(1, 11)), "...", "30"]
    assert len({len(line) for line in table[:13]}) == 1


def test_an_estimate_is_not_called_certified(run, data) -> None:
    shown = run("svd", data / "A.zarr", "--rank", 3, "--certify", "estimate").out
    assert "estimated, nothing is proved" in shown
    assert "certified" not in shown


def test_options_reach_the_library(run, data) -> None:
    given = dict(rank=3, center=True, nonfinite="mean", seed=7, precision="double", tol=1e-4)
    weights = {name: np.load(data / f"{name}.npy") for name in ("row_weights", "column_weights")}
    result = streamsvd.svd(data / "nan.npy", **given, **weights)
    options = [
        "--rank",
        3,
        "--center",
        "--nonfinite",
        "mean",
        "--seed",
        7,
        "--precision",
        "double",
        "--tol",
        1e-4,
    ]
    for name in weights:
        options += [f"--{name.replace('_', '-')}", data / f"{name}.npy"]
    record = run("svd", data / "nan.npy", *options, "--json").record
    np.testing.assert_allclose(record["singular_values"], result.s, rtol=1e-12)
    assert record["missing"] == result.info.missing
    assert record["seed"] == 7


@pytest.mark.parametrize(
    "rows", [["--rows", "time,lat"], ["--rows", "time", "--rows", "1"], ["--rows", "0,1"]]
)
def test_rows_are_named_numbered_and_repeated(run, data, rows) -> None:
    record = run("info", data / "grid.zarr", *rows, "--json").record
    assert record["shape"] == [200, 6]
    assert record["dims"] == {"extents": [40, 5, 6], "rows": [0, 1], "columns": [2]}
    assert record["missing_values"] == [-99]
    assert record["dtype"] == "float64"
    assert record["stored_dtype"] == "int16"


def test_info_reads_like_a_label(run, data) -> None:
    shown = run("info", data / "grid.zarr", "--rows", "time", "--variable", "t2m").out
    assert "shape     40 x 30" in shown
    assert "array     40 x 5 x 6; rows from dimension 0, columns from 1, 2" in shown
    assert "stored as int16" in shown


def test_u_is_written_in_chunks(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    record = run("svd", data / "A.zarr", "--rank", 4, "--u", "--out", out, "--json").record
    group = zarr.open_group(str(out), mode="r")
    A, s = np.load(data / "A.npy"), np.asarray(record["singular_values"])
    np.testing.assert_allclose(group["U"][...] * s, A @ group["Vh"][...].T, atol=1e-4)


def test_a_result_is_replaced_only_when_told(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    command = ["svd", data / "A.zarr", "--rank", 2, "--out", out, "--quiet"]
    assert run(*command).code == 0
    assert run(*command).code == 1
    assert run(*command, "--overwrite").code == 0


def test_missing_the_tolerance_keeps_the_partial_result(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    hard = ["--rank", 2, "--tol", "1e-12", "--max-passes", 1, "--target", "values"]
    np.save(
        tmp_path / "hard.npy",
        np.random.default_rng(0).standard_normal((6000, 300)).astype(np.float32),
    )
    done = run("svd", tmp_path / "hard.npy", *hard, "--out", out, "--json", "--quiet")
    assert done.code == 3
    assert done.record["status"] == "not converged"
    assert done.record["out"] == str(out)
    assert done.err.rstrip("\n").endswith(f"the partial result is in {out}.")
    assert (
        zarr.open_group(str(out), mode="r").attrs["streamsvd"]["info"]["status"] == "not converged"
    )
    shown = run("pca", tmp_path / "hard.npy", *hard, "--quiet")
    assert shown.code == 3
    assert "not converged: 2 components certified" in shown.out
    assert "nothing was written as there was no --out" in shown.err


def test_verify_tells_another_matrix_from_its_own(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    assert run("svd", data / "A.zarr", "--rank", 4, "--out", out, "--quiet").code == 0
    good = run("verify", out, data / "A.zarr")
    assert good.code == 0
    assert f"{out} agrees with its source" in good.out
    bad = run("verify", out, data / "double.npy")
    assert bad.code == 1
    assert "does not agree" in bad.out
    assert "\n  - " in bad.out
    told = run("verify", out, data / "double.npy", "--json")
    assert told.record["status"] == "disagrees"
    assert told.record["findings"]
    assert run("verify", out, data / "narrow.npy").code == 2


@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_verify_takes_nan_for_what_it_was_when_the_result_was_made(
    run, data, tmp_path, policy
) -> None:
    out = tmp_path / "M.zarr"
    made = run("svd", data / "nan.npy", "--rank", 4, "--nonfinite", policy, "--out", out, "--quiet")
    assert made.code == 0
    assert run("verify", out, data / "nan.npy", "--json").record["status"] == "agrees"


def test_verify_advises_no_option_that_it_lacks(run, data, tmp_path) -> None:
    out = tmp_path / "M.zarr"
    assert run("svd", data / "A.npy", "--rank", 4, "--out", out, "--quiet").code == 0
    done = run("verify", out, data / "nan.npy", "--quiet")
    assert done.code == 1
    assert "NaN at row 77, column 3 " in done.err
    assert done.err.endswith(
        ". The result was made of a matrix that had none there: pass that matrix, "
        "or make the result again of this one.\n"
    )


def test_threads_are_as_many_as_told(run, data) -> None:
    for workers in (1, 3):
        record = run("plan", data / "A.zarr", "--rank", 3, "--workers", workers, "--json").record
        assert record["workers"] <= workers
    one = run("svd", data / "A.zarr", "--rank", 3, "--workers", 1, "--json").record
    three = run("svd", data / "A.zarr", "--rank", 3, "--workers", 3, "--json").record
    assert one["singular_values"] == three["singular_values"]


def test_plan_explains_and_calibrates(run, data) -> None:
    shown = run("plan", data / "A.zarr", "--rank", 3, "--u", "--calibrate").out
    assert "asked      rank 3" in shown
    assert "with U" in shown
    assert "measured   a core reads" in shown
    record = run("plan", data / "A.zarr", "--rank", 3, "--calibrate", "--json").record
    assert all(rate > 0 for rate in record["rates"].values())
    assert record["alternatives"][0]["verdict"] == "chosen"


def test_quiet_says_nothing_while_it_works(run, data) -> None:
    assert run("svd", data / "A.zarr", "--rank", 3, "--quiet", "--json").err == ""
    assert "pass 1 of about" in run("svd", data / "A.zarr", "--rank", 3, "--json").err


def test_a_cluster_gives_the_same_bits(run, data) -> None:
    from distributed import LocalCluster

    here = run("svd", data / "A.zarr", "--rank", 3, "--workers", 1, "--json").record
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        there = run("svd", data / "A.zarr", "--rank", 3, "--scheduler", address, "--json").record
    assert there["singular_values"] == here["singular_values"]


def test_a_cluster_without_workers_is_refused(run, data) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        done = run("svd", data / "A.zarr", "--rank", 3, "--scheduler", address)
    assert done.code == 1
    assert "has no workers. Start some: dask worker" in done.err


def test_constant_data_have_converged(run, tmp_path):
    """What is no more than the rounding of the data is zero, and the command ends well."""
    np.save(tmp_path / "c.npy", np.full((500, 20), 0.1))
    done = run("pca", tmp_path / "c.npy", "--rank", 1, "--json")
    assert done.code == 0
    assert done.record["certificate"]["sigma_lower"] == [0]


def test_what_has_weight_zero_is_left_out_of_what_is_printed(run, tmp_path) -> None:
    A = np.random.default_rng(0).standard_normal((90, 8))
    w, c = np.ones(90), np.ones(8)
    w[60:], c[3] = 0, 0
    cut = streamsvd.pca(np.delete(A[:60], 3, axis=1), 2)
    A[60:], A[:, 3] = np.nan, np.inf
    for name, value in (("A", A), ("w", w), ("c", c)):
        np.save(tmp_path / f"{name}.npy", value)
    given = ["--row-weights", tmp_path / "w.npy", "--column-weights", tmp_path / "c.npy"]
    record = run("pca", tmp_path / "A.npy", "--rank", 2, "--json", *given).record
    np.testing.assert_allclose(record["explained_variance"], cut.explained_variance, rtol=1e-3)
    assert record["freedom"] == 59
    table = run("pca", tmp_path / "A.npy", "--rank", 2, *given).out
    assert f"{cut.explained_variance[0]:.6g}"[:6] in table
