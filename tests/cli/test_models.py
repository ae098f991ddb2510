"""The verbs of models, as someone types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import zarr

from streamsvd import Model
from streamsvd.cli import app

ASKED = {
    "version", "absorbed", "skipped", "n_rows", "singular_values", "frobenius_error", "drift",
}  # fmt: skip


@pytest.fixture
def growing(tmp_path):
    """An array of 300 rows on disk, and the rows that will come."""
    rows = np.random.default_rng(0).standard_normal((900, 30)) * 0.8 ** np.arange(30)
    array = zarr.create_array(
        str(tmp_path / "grow.zarr"), shape=(300, 30), chunks=(100, 30), dtype="f8"
    )
    array[:] = rows[:300]
    return tmp_path / "grow.zarr", array, rows


def test_the_first_update_makes_the_model_and_later_ones_take_what_is_new(run, growing, tmp_path):
    path, array, rows = growing
    record = run("update", tmp_path / "m", path, "--rank", 4, "--center", "--json").record
    assert set(record) >= ASKED
    assert (record["version"], record["absorbed"], record["n_rows"]) == (1, 300, 300)
    assert record["drift"]["captured"] is None
    array.append(rows[300:])
    record = run("update", tmp_path / "m", path, "--json").record
    assert (record["version"], record["absorbed"], record["n_rows"]) == (2, 600, 900)
    assert record["singular_values"] == Model.open(tmp_path / "m").s.tolist()
    assert 0 < record["drift"]["captured"] <= 1
    record = run("update", tmp_path / "m", path, "--json").record
    assert (record["status"], record["skipped"], record["version"]) == ("skipped", "nothing new", 2)
    shown = run("update", tmp_path / "m", path)
    assert "version 2: no new rows" in shown.out
    assert "of the energy is held" in shown.out


def test_a_named_block_enters_once(run, data, tmp_path):
    np.save(tmp_path / "b.npy", np.random.default_rng(0).standard_normal((20, 60)))
    given = ("update", tmp_path / "m", tmp_path / "b.npy", "--rank", 3, "--block-id", "b")
    assert "20 rows absorbed, 20 in all" in run(*given).out
    assert "this block is in the model already" in run(*given).out
    np.save(tmp_path / "b.npy", np.ones((20, 60)))
    refused = run(*given)
    assert refused.code == 2
    assert "'b' is in the model with other content" in refused.err
    assert "Traceback" not in refused.err
    del data


def test_the_log_tells_versions_errors_and_drift(run, growing, tmp_path):
    path, array, rows = growing
    run("update", tmp_path / "m", path, "--rank", 4, "--tol", 0.01)
    array.append(rows[300:])
    run("update", tmp_path / "m", path)
    record = run("log", tmp_path / "m", "--json").record
    assert [v["version"] for v in record["versions"]] == [1, 2]
    assert record["versions"][1]["absorbed"] == 600
    assert record["ledger"]["energy"] == pytest.approx(np.linalg.norm(rows) ** 2)
    assert "make the model again" in record["advice"]
    shown = run("log", tmp_path / "m", "--last", 1).out
    assert shown.splitlines()[1].split()[0] == "2"
    assert "advice" in shown


def test_verify_and_repair_speak_of_the_damage(run, growing, tmp_path):
    path, array, rows = growing
    run("update", tmp_path / "m", path, "--rank", 4)
    array.append(rows[300:])
    run("update", tmp_path / "m", path)
    assert "is intact at version 2" in run("verify", tmp_path / "m").out
    assert run("verify", tmp_path / "m", path, "--json").record["status"] == "agrees"
    chunk = max((tmp_path / "m" / "versions").glob("000000000002-*/Vh/c/*/*"))
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    found = run("verify", tmp_path / "m", "--json")
    assert found.code == 1
    assert [d["key"] for d in found.record["damage"]] == [
        chunk.relative_to(tmp_path / "m").as_posix()
    ]
    assert run("update", tmp_path / "m", path).code == 1
    mended = run("repair", tmp_path / "m", "--json").record
    assert (mended["status"], mended["n_rows"]) == ("repaired", 300)
    assert run("update", tmp_path / "m", path, "--json").record["n_rows"] == 900
    assert run("repair", tmp_path / "m", "--json").record["status"] in ("intact", "repaired")
    refused = run("verify", path)
    assert refused.code == 2
    assert "only its source can tell" in refused.err


def test_rollback_merge_and_export(run, growing, tmp_path):
    path, array, rows = growing
    run("update", tmp_path / "m", path, "--rank", 4, "--u")
    array.append(rows[300:])
    run("update", tmp_path / "m", path)
    assert run("rollback", tmp_path / "m", 1, "--json").record["n_rows"] == 300
    assert run("rollback", tmp_path / "m", 7).code == 1
    np.save(tmp_path / "rest.npy", rows[300:])
    run("update", tmp_path / "rest", tmp_path / "rest.npy", "--rank", 4)
    merged = run("merge", tmp_path / "m", tmp_path / "rest", "--out", tmp_path / "all", "--json")
    assert merged.record["n_rows"] == 900
    assert (
        "900 rows" in run("merge", tmp_path / "m", tmp_path / "rest", "--out", tmp_path / "b").out
    )
    exported = run("export", tmp_path / "m", "--out", tmp_path / "e.npz", "--json").record
    assert exported["rank"] == 4
    assert np.load(tmp_path / "e.npz")["U"].shape == (300, 4)
    assert run("export", tmp_path / "m", "--out", tmp_path / "e.npz").code == 1
    assert (
        "4 triplets"
        in run("export", tmp_path / "m", "--out", tmp_path / "e.npz", "--overwrite").out
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("update", "m", "nothing.npy"), 1, "nothing.npy"),
        (("update", "m", "wide.npy", "--forget", "2"), 2, "--forget 2.0 is outside"),
        (
            ("update", "m", "wide.npy", "--rank", "5", "--window", "3"),
            2,
            "--window 3 rows cannot hold",
        ),
        (("update", "m", "wide.npy", "--rank", "500"), 2, "exceeds the 30 columns"),
        (("log", "nowhere"), 1, "nowhere does not exist"),
        (("repair", "nowhere"), 1, "nowhere does not exist"),
        (("watch", "wide.npy", "m", "--every", "often"), 2, "is no time"),
        (("export", "nowhere", "--out", "e.npz"), 1, "nowhere does not exist"),
    ],
)
def test_errors_are_one_sentence(run, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.random.default_rng(0).standard_normal((50, 30)))
    found = run(*arguments)
    assert found.code == code, found
    assert message in found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "m").exists() or list((tmp_path / "m").iterdir())


def test_a_watch_follows_the_array_until_it_is_stopped(start, growing, tmp_path):
    path, array, rows = growing
    process = start("watch", path, tmp_path / "m", "--rank", 4, "--every", "0.2s", "--quiet")
    try:
        assert "300 rows absorbed" in process.stdout.readline()
        array.append(rows[300:600])
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and Model.open(tmp_path / "m").n_rows < 600:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped" in err
    assert Model.open(tmp_path / "m").n_rows == 600
    del out


def test_a_watch_waits_for_a_source_that_is_not_there_yet(run, growing, tmp_path):
    found = run("watch", tmp_path / "later.zarr", tmp_path / "m", "--every", "0.1s", "--looks", 2)
    assert found.code == 1
    assert found.err.count("later.zarr") == 2
    del growing


def test_a_look_that_fails_is_an_object_too(run, tmp_path):
    look = ("watch", tmp_path / "nope.npy", tmp_path / "m", "--every", "0.1s", "--looks")
    found = run(*look, 1, "--json")
    assert (found.code, found.record["status"], found.record["exit_code"]) == (1, "error", 1)
    assert found.record["error"] == "StoreError"
    assert "nope.npy" in found.record["message"]
    assert run(*look, 2, "--json").out.count("\n") == 2
    assert not (tmp_path / "m").exists()


def test_a_model_that_holds_nothing_yet_is_no_error(run, tmp_path):
    zarr.create_array(str(tmp_path / "z"), shape=(50, 6), chunks=(10, 6), dtype="f8")
    given = (tmp_path / "m", tmp_path / "z", "--missing", "fill", "--rank", 2)
    found = run("update", *given, "--json").record
    assert (found["status"], found["skipped"], found["version"]) == ("skipped", "nothing new", 0)
    assert "version 0: no new rows" in run("update", *given).out
    assert run("watch", given[1], given[0], *given[2:], "--looks", 1, "--json").code == 0


def test_a_first_update_that_fails_may_ask_for_less_next_time(run, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((50, 30)))
    assert run("update", tmp_path / "m", tmp_path / "a.npy", "--rank", 99).code == 2
    assert not (tmp_path / "m").exists()
    assert run("update", tmp_path / "m", tmp_path / "a.npy", "--json").record["rank"] == 30


def test_the_log_names_the_versions_that_are_there(run, growing, tmp_path):
    path, array, rows = growing
    run("update", tmp_path / "m", path, "--rank", 4)
    for start in (300, 400, 500):
        array.append(rows[start : start + 100])
        run("update", tmp_path / "m", path)
    assert "versions 1 to 4, to which" in run("log", tmp_path / "m").out
    for version in (2, 4):
        chunk = next((tmp_path / "m" / "versions").glob(f"{version:012d}-*/Vh/c/0/0"))
        chunk.write_bytes(b"")
    run("repair", tmp_path / "m")
    assert "versions 1, 3, 5, to which" in run("log", tmp_path / "m").out
    assert run("log", tmp_path / "m", "--json").record["kept"] == [1, 3, 5]
    for version in (1, 3, 5):
        assert run("rollback", tmp_path / "m", version).code == 0
    assert run("rollback", tmp_path / "m", 2).code == 1


def test_a_model_without_any_whole_version_is_told_to_be_restored(run, growing, tmp_path):
    run("update", tmp_path / "m", growing[0], "--rank", 4)
    for chunk in (tmp_path / "m" / "versions").glob("*/Vh/c/0/0"):
        chunk.write_bytes(b"")
    found = run("verify", tmp_path / "m")
    assert found.code == 1
    assert "is damaged; no version is whole" in found.out
    assert "restore it from a copy" in found.out
    assert "repair" not in found.out
    assert run("repair", tmp_path / "m").code == 1


def test_an_interrupt_says_what_was_committed(tmp_path):
    """Pieces of a growing array that were committed before Ctrl-C are kept, and said to be."""
    rows = np.random.default_rng(0).standard_normal((40_000, 200))
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=rows.shape, chunks=(500, 200), dtype="f8"
    )
    array[:] = rows
    code = """
        import signal, sys
        from streamsvd.cli import app
        from streamsvd.models import absorption

        def commit(self, pending):
            done = original(self, pending)
            if self.n_committed == 2:
                signal.raise_signal(signal.SIGINT)
            return done

        original, absorption.Absorption._commit = absorption.Absorption._commit, commit
        absorption.ROUND = 1
        app.main(sys.argv[1:])
    """
    asked = ("update", tmp_path / "m", tmp_path / "a.zarr", "--rank", 30, "--memory", "80MiB")
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, asked), "--json"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert found.returncode == 130, found.stderr
    record = json.loads(found.stdout)
    assert record["status"] == "interrupted"
    assert 0 < record["n_rows"] == Model.open(tmp_path / "m").n_rows < 40_000
    n_rows = record["n_rows"]
    assert (record["version"], record["versions"], record["absorbed"]) == (2, 2, n_rows)
    assert found.stderr.endswith(
        f"streamsvd: interrupted; {tmp_path / 'm'} holds {n_rows:,} rows in version 2, of which {n_rows:,} are new, and the "
        "same command goes on from there.\n"
    )


def test_an_interrupt_before_a_commit_says_what_the_model_holds(
    run, growing, tmp_path, monkeypatch, capsys
):
    path, array, rows = growing

    def stopped(*_, **__):
        raise KeyboardInterrupt

    def interrupted(*arguments):
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr("streamsvd.models.absorption.absorb_piece", stopped)
            given = ["update", tmp_path / "m", path, *arguments]
            assert app.run([str(x) for x in given], app.StopHandler(got_signal=True)) == 130
        return capsys.readouterr()

    assert interrupted("--rank", 4).err.endswith("interrupted; nothing was kept.\n")
    run("update", tmp_path / "m", path, "--rank", 4)
    array.append(rows[300:])
    out, err = interrupted("--json")
    assert err.endswith(
        "m holds 300 rows in version 1, as before, and the same command goes on from there.\n"
    )
    record = json.loads(out)
    assert (record["status"], record["absorbed"], record["n_rows"]) == ("interrupted", 0, 300)
    assert run("update", tmp_path / "m", path, "--json").record["n_rows"] == len(rows)


def test_a_result_that_nothing_was_added_to_is_no_error(run, growing, tmp_path):
    path, _, _ = growing
    run("svd", path, "--rank", 3, "--out", tmp_path / "r")
    assert "no new rows" in run("update", tmp_path / "r", path).out
    assert "is intact" in run("repair", tmp_path / "r").out
    assert run("rollback", tmp_path / "r", 0).code == 1


def test_columns_without_their_vectors_are_exported_as_far_as_they_are_known(run, tmp_path):
    np.save(tmp_path / "c.npy", np.random.default_rng(0).standard_normal((30, 20)))
    run("update", tmp_path / "m", tmp_path / "c.npy", "--columns", "--rank", 3)
    assert run("export", tmp_path / "m", "--out", tmp_path / "e.npz").code == 0
    assert np.load(tmp_path / "e.npz")["U"].shape == (30, 3)
    assert "not kept" in run("export", tmp_path / "m", "--out", tmp_path / "e").err
    assert (
        "is no folder. Make it"
        in run("export", tmp_path / "m", "--out", tmp_path / "no" / "e.npz").err
    )


def test_a_plan_says_what_an_update_will_take_and_changes_nothing(run, growing, tmp_path):
    path, array, rows = growing
    planned = run("plan", "update", tmp_path / "m", path, "--rank", 4, "--json").record
    assert (planned["n_new"], planned["passes"], planned["pass_bytes"]) == (300, 1, 300 * 30 * 8)
    assert not (tmp_path / "m").exists()
    run("update", tmp_path / "m", path, "--rank", 4, "--workers", 1)
    array.append(rows[300:])
    shown = run("plan", "update", tmp_path / "m", path)
    assert "600 rows are new, 300 are in the model" in shown.out
    assert Model.open(tmp_path / "m").n_rows == 300
    refused = run("plan", "update", tmp_path / "m", path, "--rank", 5)
    assert refused.code == 2
    assert "--rank 5 was asked, the model was made with" in refused.err


def test_policies_of_models_are_spelt_as_those_of_all_verbs_and_as_before(run, tmp_path):
    gap = np.random.default_rng(0).standard_normal((20, 6))
    np.save(tmp_path / "a.npy", gap)
    gap[3, 2] = np.nan
    np.save(tmp_path / "b.npy", gap)
    run("update", tmp_path / "m", tmp_path / "a.npy", "--rank", 3, "--block-id", "a", "--center")
    given = ("update", tmp_path / "m", tmp_path / "b.npy", "--block-id", "b", "--json")
    for skipping in ("skip_block", "skip-block"):
        assert run(*given, "--nonfinite", skipping).record["skipped"] == "nonfinite"
    refused = run(*given, "--nonfinite", "drop_columns")
    assert refused.code == 2
    assert "Pass --mask auto with the first block" in refused.err
    assert run(*given, "--nonfinite", "median").code == 2
    assert run(*given, "--nonfinite", "zero").record["absorbed"] == 20


def test_verify_has_a_plan(run, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((30, 8)))
    run("svd", tmp_path / "a.npy", "--rank", 3, "--out", tmp_path / "r")
    planned = run("plan", "verify", tmp_path / "r", tmp_path / "a.npy", "--json").record
    assert (planned["verb"], planned["passes"], planned["options"]["seed"]) == ("verify", 1, 1)
