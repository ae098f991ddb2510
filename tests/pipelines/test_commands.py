"""``streamsvd run``, ``runs`` and ``check``: what they print, as text and as JSON, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.records import RunLog
from streamsvd.testing.spectra import KnownMatrix
from tests.pipelines.kit import CHAIN, SVD, Watch, folder_of_work, write

WRONG = '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1e9\n'


@pytest.fixture
def file(folder: Path) -> Path:
    """A pipeline of three steps, below a folder with a space in its name."""
    write(folder, CHAIN)
    return folder / "p.toml"


def test_a_run_says_what_it_did(run, file):
    outcome = run("run", file, "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["step", "verb", "status", "seconds", "read", "peak", "rows"]
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["eof", "pca", "done"],
        ["model", "update", "done"],
        ["proof", "verify", "done"],
    ]
    assert lines[4].startswith("check eof: width ")
    assert lines[4].endswith(", at most 0.1: passed")
    assert lines[5] == f"published: {file.parent}/latest/eof"
    assert lines[-1] == "run 1 of p: done."
    assert run("run", file, "--quiet").out.endswith("run 2 of p: unchanged.\n")


def test_progress_is_said_on_stderr(run, file):
    assert "streamsvd: pass 1 of about 1: " in run("run", file).err


def test_a_run_as_json_is_its_record(run, file):
    record = run("run", file, "--quiet", "--json").record
    assert (record["kind"], record["status"], record["number"]) == ("pipeline run", "done", 1)
    assert [s["name"] for s in record["steps"]] == ["eof", "model", "proof"]
    assert record["checks"][0]["passed"] is True
    assert record["published"] == [f"{file.parent}/latest/{name}" for name in ("eof", "model")]


def test_a_notice_does_not_spoil_the_json(file):
    text = file.read_text() + '[[notify]]\nwhen = "always"\ncommand = ["echo", "hello"]\n'
    file.write_text(text + '[[notify]]\nwhen = "always"\ncommand = ["false"]\n')
    child = subprocess.run(
        [sys.executable, "-m", "streamsvd.cli", "run", str(file), "--json", "--quiet"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    assert child.returncode == 0
    assert json.loads(child.stdout)["status"] == "done"
    assert (
        child.stderr
        == "hello\nstreamsvd: the notice false ended with code 1. The run is as it was recorded.\n"
    )


def test_a_check_that_does_not_pass_is_exit_code_4(run, folder):
    write(folder, SVD + WRONG)
    outcome = run("run", folder / "p.toml", "--quiet")
    assert outcome.code == 4
    said = "rows of eof is 240, at least 1e+09 was asked. What was published before stays."
    assert outcome.out.endswith(
        f"check eof: rows 240, at least 1e+09: NOT PASSED\nrun 1 of p: refused. {said}\n"
    )
    outcome = run("run", folder / "p.toml", "--quiet", "--json")
    assert (outcome.code, outcome.record["status"], outcome.record["error"]) == (4, "refused", said)


def test_a_step_that_fails_is_exit_code_1(run, folder):
    text = SVD.replace("rank = 3", 'rank = 3, route = "krylov", tol = 1e-12, max_passes = 2')
    np.save(folder / "A.npy", np.random.default_rng(0).standard_normal((300, 200)))
    write(folder, text)
    outcome = run("run", folder / "p.toml", "--quiet")
    assert outcome.code == 1
    assert "run 1 of p: failed. step eof: " in outcome.out
    assert (
        run("run", folder / "p.toml", "--quiet", "--json").record["steps"][0]["status"] == "failed"
    )


@pytest.mark.parametrize("verb", ["run", "check", "runs"])
def test_a_fault_of_the_file_is_exit_code_2(run, folder, verb):
    (folder / "p.toml").write_text(SVD.replace("rank", "ranks"))
    outcome = run(verb, folder / "p.toml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        f"streamsvd: {folder}/p.toml: unknown field 'ranks' - at $.steps[0].svd. Its fields are source, rank, energy,"
    )
    assert outcome.err.count("\n") == 1
    record = run(verb, folder / "p.toml", "--json").record
    assert (record["status"], record["error"], record["exit_code"]) == (
        "error",
        "DescriptionError",
        2,
    )
    assert not (folder / "p.runs").exists()


@pytest.mark.parametrize("verb", ["run", "check", "runs"])
def test_a_file_that_is_not_there_is_exit_code_1(run, tmp_path, verb):
    outcome = run(verb, tmp_path / "no.toml")
    assert outcome.code == 1
    assert (
        outcome.err
        == f"streamsvd: {tmp_path}/no.toml does not exist. Pass the file of a pipeline.\n"
    )


@pytest.mark.parametrize("verb", ["run", "check"])
def test_options_are_spoken_of_as_the_file_writes_them(run, folder, verb):
    write(folder, SVD)
    outcome = run(verb, folder / "p.toml", "--set", "steps.eof.svd.memory=1KiB")
    assert outcome.code == 1
    assert "streamsvd: step eof: factorising " in outcome.err
    assert "The smallest budget that works is memory=" in outcome.err
    outcome = run(verb, folder / "p.toml", "--set", "steps.eof.svd.tol=7")
    assert outcome.code == 2
    assert "step eof: tol=7 is out of range" in outcome.err


def test_check_says_what_is_right_and_what_is_not_planned_yet(run, file):
    outcome = run("check", file)
    assert outcome.code == 0
    assert outcome.out == (
        f"{file} is right: eof (pca), model (update), proof (verify)\n"
        "step proof is not planned yet: what it verifies is made by a step before it\n"
    )
    record = run("check", file, "--json").record
    assert (record["kind"], record["status"]) == ("pipeline check", "right")
    assert record["steps"] == ["eof", "model", "proof"]
    assert list(record["unplanned"]) == ["proof"]
    assert not (file.parent / "p.runs").exists()


def test_a_dry_run_prints_plans_and_writes_nothing(run, file):
    before = sorted(file.parent.rglob("*"))
    outcome = run("run", file, "--dry-run")
    assert outcome.code == 0
    assert "step eof: pca\n  " in outcome.out
    assert "step proof: verify\n  what it verifies is made by a step before it\n" in outcome.out
    record = run("run", file, "--dry-run", "--json").record
    assert (record["kind"], record["status"]) == ("pipeline plan", "planned")
    by_name = {s["name"]: s for s in record["steps"]}
    assert by_name["eof"]["passes"] >= 1
    assert by_name["model"]["projected_bytes"] > 0
    assert (by_name["proof"]["passes"], by_name["proof"]["note"] != "") == (None, True)
    assert sorted(file.parent.rglob("*")) == before


def test_settings_are_taken_by_every_command(run, file):
    assert run("run", file, "--quiet", "--set", "name=other", "--set", "keep=1").out.endswith(
        "of other: done.\n"
    )
    assert run("runs", file, "--set", "state=nowhere").out == "p: no run yet\n"
    assert run("check", file, "--set", "steps.proof.verify.source=zz").code == 2
    assert not (file.parent / "nowhere").exists()


def test_paths_are_relative_to_the_file_from_any_folder(run, file, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with folder_of_work(tmp_path / "elsewhere"):
        assert run("run", f"../{file.parent.name}/p.toml", "--quiet").code == 0
    with folder_of_work(file.parent):
        assert run("run", "p.toml", "--quiet").out.endswith("run 2 of p: unchanged.\n")


def test_runs_say_how_each_ended(run, folder):
    path = folder / "p.toml"
    pipeline = write(folder, SVD + WRONG.replace("1e9", "1"))
    assert run("runs", path).out == "p: no run yet\n"
    assert run("runs", path, "--json").record["runs"] == []
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(pipeline, callback=Watch(2, KeyboardInterrupt))
    RunLog(pipeline.state).begin("p", "2026-01-01T00:00:00+00:00", "0")
    run("run", path, "--quiet")
    run("run", path, "--quiet")
    run("run", path, "--quiet", "--set", "steps.eof.svd.rank=2", "--set", "sources.a.path=none.npy")
    write(folder, SVD + WRONG)
    run("run", path, "--quiet")
    outcome = run("runs", path)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    head = [line.split()[:1] + line.split()[2:3] for line in lines[1:7]]
    wanted = ["interrupted", "killed", "done", "unchanged", "failed", "refused"]
    assert head == [[str(n), status] for n, status in enumerate(wanted, 1)]
    rest = "\n".join(lines[7:])
    assert "run 1: KeyboardInterrupt" in rest
    assert "run 2 has no end: it was killed." in rest
    assert "run 5: step eof: " in rest
    assert "none.npy does not exist" in rest
    assert "run 6: rows of eof is 240, at least 1e+09 was asked." in rest
    record = run("runs", path, "--json", "--last", 2).record
    assert (record["kind"], record["pipeline"]) == ("pipeline runs", "p")
    assert [(r["number"], r["status"]) for r in record["runs"]] == [(5, "failed"), (6, "refused")]
    assert run("runs", path, "--last", 0).code == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"pipeline": 3}', b"\xff"])
def test_a_record_that_is_damaged_is_named_and_stops_no_run(run, file, damage):
    run("run", file, "--quiet")
    record = file.parent / "p.runs" / "runs" / "000001.json"
    record.write_bytes(damage)
    outcome = run("runs", file)
    assert outcome.code == 1
    assert "runs/000001.json is no record of a run: " in outcome.err
    assert "Take it away: results do not depend on it." in outcome.err
    assert run("run", file, "--quiet").out.endswith("run 2 of p: unchanged.\n")
    assert run("runs", file, "--last", 1).code == 0
    record.unlink()
    assert "run 1 has no end" in run("runs", file).out


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_stop_is_recorded_and_the_next_run_goes_on(run, start, folder, sent):
    np.save(folder / "A.npy", KnownMatrix("slow", 3000, 1500).rows(0, 3000))
    endless = 'rank = 5, tol = 1e-12, max_passes = 1000000, memory = "320MiB"'
    text = (
        CHAIN
        + f'[sources.b]\npath = "A.npy"\n[[steps]]\nname = "long"\nsvd = {{source = "b", {endless}}}\n'
    )
    write(folder, text)
    child = start("run", folder / "p.toml", "--json")
    for line in child.stderr:
        if "pass 3 " in line:
            break
    child.send_signal(sent)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "Traceback" not in err
    said = "interrupted; what was published stays, and the same command goes on from what was made."
    assert err.endswith(f"streamsvd: {said}\n")
    assert json.loads(out)["message"] == said
    (record,) = run("runs", folder / "p.toml", "--json").record["runs"]
    assert record["status"] == "interrupted"
    by_name = {s["name"]: s["status"] for s in record["steps"]}
    assert by_name == {"eof": "done", "model": "done", "proof": "done", "long": "interrupted"}
    assert not (folder / "latest").exists()
    shorter = ["--set", "steps.long.svd.max_passes=50", "--set", "steps.long.svd.tol=0.5"]
    record = run("run", folder / "p.toml", "--quiet", "--json", *shorter).record
    assert [s["status"] for s in record["steps"]][:3] == ["unchanged"] * 3
    assert (folder / "latest" / "eof").exists() == (record["status"] == "done")


def test_two_commands_at_once_are_one_and_a_sentence(run, folder):
    write(folder, SVD)
    with run_lock(folder / "p.runs"):
        outcome = run("run", folder / "p.toml")
    assert outcome.code == 1
    assert f"a run of this pipeline is going on (process {os.getpid()})" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_run_that_goes_on_is_told_from_one_that_was_killed(run, folder):
    pipeline = write(folder, SVD)
    path = folder / "p.toml"
    with run_lock(pipeline.state):
        RunLog(pipeline.state).begin("p", "2026-01-01T00:00:00+00:00", "0")
        assert f"run 1 goes on: process {os.getpid()}." in run("runs", path).out
        (record,) = run("runs", path, "--json").record["runs"]
        assert record["status"] == "running"
    assert "run 1 has no end: it was killed." in run("runs", path).out
