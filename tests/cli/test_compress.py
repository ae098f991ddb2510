"""``compress``, ``decompress`` and ``info`` of what they make."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from streamsvd.cli import app
from streamsvd.engine.events import PassDone
from tests.collections.blocks import d7, name_blocks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, A in name_blocks(d7()).items():
        path = tmp_path / "W" / ("odd" if int(name) % 2 else "even") / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, A.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_and_back(run, folder):
    done = run(
        "compress",
        "W",
        "--error",
        "0.05",
        "--out",
        "C.zarr",
        "--select",
        "even/*",
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["status"] == "done"
    assert (record["n_blocks"], record["version"], record["reads"]) == (36, 1, 1.0)
    assert len(record["clusters"]) == 6
    assert max(record["block_errors"].values()) < 0.05
    assert record["peak_bytes"] <= record["projected_bytes"] <= record["budget_bytes"]
    done = run("compress", "W", "--out", "C.zarr", "--append", "--select", "odd/*")
    assert done.code == 0, done.err
    assert "36 matrices of 80 rows" in done.out
    assert "version 2" in done.out
    done = run("decompress", "C.zarr", "--out", "back", "--name", "odd/*", "--json")
    assert len(json.loads(done.out)["names"]) == 36
    A = np.load(folder / "W/odd/00007.npy")
    B = np.load(folder / "back/odd/00007.npy")
    assert B.dtype == A.dtype
    assert np.linalg.norm(A - B) <= 0.05 * np.linalg.norm(A)
    assert run("decompress", "C.zarr", "--out", "back").code == 1
    assert run("decompress", "C.zarr", "--out", "back", "--overwrite").out == "72 matrices: back\n"


def test_info_shows_clusters_intervals_and_bytes(run, folder):
    run("compress", "W", "--out", "C.zarr", "--mode", "block", "--quiet")
    done = run("info", "C.zarr")
    assert done.code == 0
    assert "error 0.05 of each block, least storage, certified" in done.out
    assert "12, ranks 4 to 4" in done.out
    assert "... 33 more" in done.out
    record = json.loads(run("info", "C.zarr", "--json").out)
    assert len(record["clusters"]) == 12
    assert all(0 < c["error_lower"] <= c["error_upper"] <= 0.05 for c in record["clusters"])
    block = record["blocks"]["odd/00007"]
    assert (block["shape"], block["dtype"]) == ([80, 10], "float32")
    assert 0 < block["error"] <= 0.05
    assert record["bytes_before"] == 72 * 80 * 10 * 4
    assert record["compression_ratio"] > 1


def test_views_and_cuts(run, folder):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 60))
    np.save(folder / "snapshots.npy", A)
    assert run("compress", "snapshots.npy", "--cut", "1,10", "--out", "S.zarr").code == 0
    record = json.loads(run("info", "S.zarr", "--json").out)
    assert list(record["blocks"]) == [str(i) for i in range(6)]
    group = zarr.open_group(str(folder / "g.zarr"), mode="a")
    group.create_array("a/w", data=A)
    group.create_array("b", data=A.T.copy())
    group.create_array("t", data=A.reshape(4, 10, 60))
    given = ("compress", "g.zarr", "--transpose", "b", "--out", "G.zarr")
    assert run(*given).code == 0
    given = (
        "compress",
        "g.zarr",
        "--columns",
        "b=60",
        "--columns",
        "*=60",
        "--out",
        "H.zarr",
        "--cut",
    )
    assert run(*given, "x").code == 2
    assert run(*given[:-1]).code == 0
    assert "holds 3. Pass the array itself" in run(*given, "0").err
    assert run("compress", "g.zarr", "--columns", "0", "--out", "I.zarr").code == 2


def test_messages_speak_of_options(run, folder):
    done = run("compress", "W", "--out", "C.zarr", "--error", "2")
    assert done.code == 2
    assert "--error 2" in done.err
    run("compress", "W", "--out", "C.zarr", "--quiet")
    done = run("compress", "W", "--out", "C.zarr")
    assert done.code == 1
    assert "Pass --overwrite to replace it, --append to add to it" in done.err
    done = run("compress", "W", "--out", "C.zarr", "--append")
    assert done.code == 2
    assert "block 'even/00000', and 71 others is in C.zarr already" in done.err
    done = run("compress", "W", "--out", "D.zarr", "--memory", "1MiB", "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"] == "BudgetError"
    assert run("compress", "W", "--out", "E.zarr", "--select", "x").code == 2
    assert not (folder / "D.zarr").exists()
    assert not (folder / "E.zarr").exists()
    assert run("decompress", "W", "--out", "F").code == 1


def test_missing_values_may_count_as_zero(run, folder):
    A = np.load(folder / "W/odd/00007.npy")
    A[3, 4] = np.nan
    np.save(folder / "W/odd/00007.npy", A)
    done = run("compress", "W", "--out", "C.zarr")
    assert done.code == 1
    assert "at row 3, column 4 (block 'odd/00007')" in done.err
    assert not (folder / "C.zarr/log").exists()
    done = run("compress", "W", "--out", "C.zarr", "--missing", "zero")
    assert done.code == 0
    assert "1 missing values of 1 blocks count as zero" in done.err
    assert "1 entries of 1 count as zero" in run("info", "C.zarr").out


def test_weights_and_inputs_from_files(run, folder):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((200, 10)) * 0.4 ** np.arange(10)).astype(np.float32)
    np.save("x.npy", X)
    zarr.create_array("x.zarr", data=X, chunks=(64, 10))
    np.save("rows.npy", np.linspace(0.5, 2.0, 80))
    np.save("columns.npy", np.linspace(1.0, 3.0, 10))
    done = run(
        "compress", "W", "--out", "C.zarr", "--row-weights", "rows.npy", "--column-weights", "odd/*=columns.npy",
        "--inputs", "even/*=x.zarr", "--damping", "0.001", "--json", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["input_bytes"] == X.nbytes
    done = run("info", "C.zarr")
    assert "errors of 72 matrices are weighted" in done.out
    assert all(
        b["weighted"] for b in json.loads(run("info", "C.zarr", "--json").out)["blocks"].values()
    )
    done = run("compress", "W", "--out", "D.zarr", "--inputs", "x.npy")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--inputs", "even/*="), "names nothing. Pass PATH, or PATTERN=PATH"),
        (("--inputs", "x.npy", "--inputs", "y.npy"), r"names two places for '*': x.npy and y.npy"),
        (("--principal", "most"), "pass an error, or auto"),
        (("--column-weights", "nothing.npy"), "nothing.npy"),
        (("--principal", "0.01"), "--principal 0.01 is no error of a principal part beside --error 0.05"),
        (("--damping", "0.1"), "--damping 0.1 was passed, but there are no inputs"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_meant(run, folder, given, said):
    done = run("compress", "W", "--out", "C.zarr", *given)
    assert done.code in (1, 2)
    assert said in done.err
    assert not (folder / "C.zarr").exists()


def test_residuals_are_told_and_come_back(run, folder):
    done = run("compress", "W", "--error", "0.005", "--principal", "auto", "--out", "C.zarr")
    assert done.code == 0, done.err
    assert "residuals of 72 matrices" in done.out
    assert "bases within 0." in run("info", "C.zarr").out
    record = json.loads(run("info", "C.zarr", "--json").out)
    assert sum(c["coded"] for c in record["clusters"]) == 72
    assert record["asked"]["principal"] > 0.005 == record["asked"]["error"]
    run("decompress", "C.zarr", "--out", "back")
    for path in (folder / "W").rglob("*.npy"):
        A = np.load(path)
        B = np.load(folder / "back" / path.relative_to(folder / "W"))
        assert np.linalg.norm(A - B) <= 0.005 * np.linalg.norm(A)


@pytest.mark.parametrize("verb", [("compress", "--out", "C.zarr"), ("rates",)])
def test_a_run_that_was_stopped_says_where_its_saves_are_and_goes_on(
    run, folder, monkeypatch, capsys, verb
):
    given = [
        verb[0],
        "W",
        *verb[1:],
        "--checkpoint",
        "saves",
        "--save-seconds",
        "0",
        "--json",
        "--quiet",
    ]

    def interrupt(self, event):
        if isinstance(event, PassDone):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("streamsvd.cli.progress.Silence.__call__", interrupt)
        assert app.run(given, app.StopHandler(got_signal=True)) == 130
    said = "interrupted; what was saved is in saves, and the same command goes on from it."
    assert json.loads(capsys.readouterr().out)["message"] == said
    record = run(*given).record
    assert (record["status"], record["reads"], record["passes"]) == ("done", 0.0, 1)
    assert not [p for p in (folder / "saves").rglob("*") if p.is_file()]


@pytest.mark.parametrize("verb", ["compress", "rates", "cluster"])
def test_a_plan_is_of_the_matrices_that_are_chosen_and_of_their_weights(run, folder, verb):
    np.save("rows.npy", np.linspace(1, 2, 80))
    np.save("columns.npy", np.ones(10))
    given = ["plan", verb, "W", "--select", "even/*", "--row-weights", "rows.npy"]
    done = run(*given, "--column-weights", "even/*=columns.npy")
    assert done.code == 0, done.err
    assert "36 matrices of 80 rows, 360 columns in all" in done.out
    assert "1 pass of" in done.out
