"""``streamsvd serve`` and ``run --cron``: processes that stay, what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streamsvd.pipelines.lock import lock_holder
from streamsvd.pipelines.records import RunLog
from tests.pipelines.kit import CHAIN, SVD, write, write_matrix, write_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


FAST = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
sys.path[:0] = {path!r}
from datetime import UTC, datetime, timedelta
from streamsvd.pipelines import claims
from streamsvd.pipelines.serving import claiming, server
BEGIN = datetime(2026, 11, 29, tzinfo=UTC)
def now():  # a minute lasts {minute} seconds, from a moment that all servers share
    return BEGIN + timedelta(seconds=(time.time() - {since}) * 60 / {minute})
server.CLOCK = claiming.Clock(now)
server.LOOK_S = 0.05
claims.LEASE_S = {lease}
from streamsvd.cli.app import main
main({arguments!r})
"""
"""A server whose minutes are short."""
EVERY_MINUTE = 'schedule = "* * * * *"\n' + SVD
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def long_run(folder: Path) -> str:
    """A pipeline whose run takes minutes: hundreds of steps, each of a second."""
    np.save(folder / "A.npy", np.random.default_rng(0).standard_normal((3000, 1500)))
    step = '[[steps]]\nname = "s{0}"\nsvd = {{source = "a", rank = 5, tol = 1e-9, seed = {0}}}\n'
    return '[sources.a]\npath = "A.npy"\n' + "".join(step.format(i) for i in range(300))


@pytest.fixture
def start_fast():
    """Starts a server with short minutes; what still goes on at the end is ended."""
    children: list[subprocess.Popen[str]] = []
    began = time.time()

    def begin(*arguments, minute, since=began, lease=120.0, **options):
        program = FAST.format(
            path=sys.path,
            since=since,
            minute=minute,
            lease=lease,
            arguments=[str(a) for a in arguments],
        )
        child = subprocess.Popen(
            [sys.executable, "-c", program], **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.terminate()  # it ends its runs
        child.communicate(timeout=120)


def entries_until(child: subprocess.Popen[str], *events: str) -> list[dict]:
    """What it tells on stderr, up to the events, each of which has come."""
    found, wanted = [], Counter(events)
    assert child.stderr is not None
    for line in child.stderr:
        found.append(json.loads(line))
        wanted.subtract([found[-1]["event"]])
        if not +wanted:
            return found
    raise AssertionError(f"it ended: {found}")


def test_a_server_runs_a_pipeline_and_stops_cleanly(start_fast, folder, tmp_path):
    write(folder, EVERY_MINUTE + '[[publish]]\nstep = "eof"\nto = "latest"\n')
    metrics = tmp_path / "m.prom"
    child = start_fast("serve", folder, "--json", "--port", "0", "--metrics", metrics, minute=1)  # fmt: skip
    told = entries_until(
        child, "serve", "pages", "tick", "start", "step", "published", "end", "exit"
    )
    address = next(e["address"] for e in told if e["event"] == "pages")
    with OPEN(address, timeout=60) as answer:
        assert b"<td>p</td><td>" in answer.read()
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"
    records = [json.loads(line) for line in out.splitlines()]
    assert records[0]["status"] == "done"
    assert records[0]["claim"] > 1
    by_event = {e["event"]: e for e in told}
    assert records[0]["tick"].startswith(by_event["tick"]["tick"].rstrip("Z"))
    assert {e["pipeline"] for e in told} <= {"p", ""}
    assert (folder / "latest").exists()
    assert "streamsvd_runs_total" in metrics.read_text()


@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_that_goes_on_is_interrupted_within_a_block_and_waited_for(start_fast, folder, sent):
    write(folder, long_run(folder))
    line = ["--cron", "* * * * *", "--log", "json"]
    child = start_fast("run", folder / "p.toml", *line, minute=1)
    entries_until(child, "start")
    child.send_signal(sent)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    told = [json.loads(line) for line in err.splitlines()]
    assert [e["event"] for e in told if e["event"] in ("stop", "end", "exit", "stopped")] == ["stop", "end", "exit", "stopped"]  # fmt: skip
    record = RunLog(folder / "p.runs").records()[-1]
    assert record.status == "interrupted"
    assert (folder / "p.runs" / "claims" / f"{record.claim:06d}.end").exists()
    assert lock_holder(folder / "p.runs") == ""


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_servers_never_run_one_pipeline_twice_in_a_hundred_times(start_fast, folder):
    write(folder, EVERY_MINUTE)
    since = time.time()
    with (folder / "log").open("w") as log:
        children = [
            start_fast("serve", folder, since=since, minute=1, stdout=log, stderr=log)
            for _ in range(2)
        ]
        while len(RunLog(folder / "p.runs").numbers()) < 100:
            assert all(child.poll() is None for child in children)
            time.sleep(0.5)
    for child in children:
        child.send_signal(signal.SIGTERM)
    for child in children:
        child.wait(timeout=300)
    assert [child.returncode for child in children] == [0, 0]
    records = RunLog(folder / "p.runs").records()
    ticks = [record.tick for record in records]
    assert len(ticks) >= 100
    assert len(set(ticks)) == len(ticks)
    assert {record.status for record in records} <= {"done", "unchanged", "interrupted"}
    spans = sorted((record.started, record.ended) for record in records)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


@pytest.mark.slow
def test_a_server_that_is_killed_in_a_run_is_followed_by_another(start_fast, folder):
    write(folder, 'schedule = "* * * * *"\n' + long_run(folder))
    since = time.time()
    first = start_fast("serve", folder, since=since, minute=3)
    told = entries_until(first, "tick", "start")
    run = next(e["process"] for e in told if e["event"] == "tick")
    first.kill()
    first.wait()
    second = start_fast("serve", folder, since=since, minute=3)
    told = entries_until(second, "wait")
    assert "waits: a run goes on" in told[-1]["text"]  # which outlived its server
    os.kill(run, signal.SIGTERM)
    told = entries_until(second, "tick", "start")
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=120)
    ticks = [record.tick for record in RunLog(folder / "p.runs").records()]
    assert len(set(ticks)) == len(ticks) >= 2


@pytest.mark.slow
def test_a_time_whose_server_and_run_were_killed_is_gone_on_with(start_fast, folder):
    write(folder, 'schedule = "* * * * *"\n' + long_run(folder))
    since = time.time() - 100
    first = start_fast("serve", folder, since=since, minute=120)
    told = entries_until(first, "tick", "start")
    before = next(e for e in told if e["event"] == "tick")
    first.kill()
    first.wait()
    os.kill(before["process"], signal.SIGKILL)
    second = start_fast("serve", folder, since=since, minute=120, lease=1)
    told = entries_until(second, "tick", "start")
    after = next(e for e in told if e["event"] == "tick")
    assert (after["tick"], after["claim"]) == (before["tick"], before["claim"] + 1)
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=120)
    statuses = [(r.status, r.tick) for r in RunLog(folder / "p.runs").records()]
    (killed, tick), (interrupted, same) = statuses
    assert (killed, interrupted) == ("killed", "interrupted")
    assert (tick, same) == ("", before["tick"].replace("Z", "+00:00"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("serve none", 1, "none does not exist. Pass a folder of pipelines."),
        ("serve empty", 1, "empty has no file *.toml with a schedule. Write schedule = '0 3 * * *' into one, above its tables."),
        ("serve p.toml", 1, "p.toml is no folder. Pass the folder that it lies in, or run it by: streamsvd run p.toml --cron '0 3 * * *'"),
        ("run . --cron @daily", 2, ". is a folder; all its pipelines are run by: streamsvd serve ."),
        ("run p.toml --cron 61_*_*_*_*", 2, "schedule='61 * * * *' is no cron line: "),
        ("run p.toml --cron 0_0_31_2_*", 2, "schedule='0 0 31 2 *' comes at no time: no such month has such a day"),
        ("run p.toml --cron 3", 2, "schedule='3' has 1 fields, not 5"),
        ("run p.toml --cron @daily --timezone Mars/Base", 2, "there is no timezone 'Mars/Base' - at $.timezone."),
        ("run p.toml --timezone UTC", 2, "--timezone and --jitter are of --cron"),
        ("run p.toml --cron @daily --jitter -1", 2, "-1"),
        ("run p.toml --cron @daily --dry-run", 2, "leave --dry-run and --claim out"),
        ("run p.toml --claim 3", 2, "claim=3 is not in "),
        ("run none.toml --cron @daily", 1, "none.toml does not exist"),
        ("run p.toml --metrics empty", 1, "metrics=empty is a folder. Pass the path of a file."),
        ("run p.toml --metrics no/m.prom", 1, "no is no folder"),
        ("serve . --metrics no/m.prom", 1, "no is no folder"),
        ("serve . --port 70000", 2, "70000"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_words(run, folder, monkeypatch, arguments, code, words):
    write(folder, SVD)
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    outcome = run(*(word.replace("_", " ") for word in arguments.split()))
    assert outcome.code == code
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert not (folder / "p.runs").exists()


def test_two_files_of_one_state_are_refused_by_serve(run, folder):
    write(folder, EVERY_MINUTE)
    write(folder, 'state = "p.runs"\n' + EVERY_MINUTE, name="q.toml")
    outcome = run("serve", folder)
    assert outcome.code == 2
    assert "q.toml and " in outcome.err
    assert "both keep their runs in " in outcome.err


def test_a_port_that_is_taken_is_refused_by_serve(run, folder):
    write(folder, EVERY_MINUTE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = run("serve", folder, "--port", taken.getsockname()[1], "--log", "text")
    assert outcome.code == 1
    assert "of 127.0.0.1 cannot be served: Address already in use. Pass another" in outcome.err


def test_a_stay_without_apscheduler_says_how_to_get_it(run, folder, monkeypatch):
    write(folder, SVD)
    monkeypatch.setattr("streamsvd.pipelines.timetable.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "apscheduler.triggers.cron", None)
    outcome = run("run", folder / "p.toml", "--cron", "@daily")
    assert outcome.code == 1
    assert "pip install 'streamsvd[schedule]'" in outcome.err


EVENTS = ["start", "step", "step", "step", "check", "published", "published", "end"]


def test_events_are_json_lines(run, folder):
    write_sources(folder)
    write(folder, CHAIN)
    outcome = run("run", folder / "p.toml", "--log", "json")
    told = [json.loads(line) for line in outcome.err.splitlines()]
    assert [e["event"] for e in told if e["event"] != "message"] == EVENTS
    assert all(e["pipeline"] == "p" for e in told if e["event"] != "message")
    assert any(e["text"].startswith("pass 1 of ") for e in told if e["event"] == "message")
    step = next(e for e in told if e["event"] == "step")
    assert (step["step"], step["verb"], step["status"], step["rows"]) == ("eof", "pca", "done", 240)
    assert outcome.out.splitlines()[-1] == "run 1 of p: done."
    outcome = run("run", folder / "p.toml", "--log", "auto", "--quiet", "--json")
    assert outcome.record["status"] == "unchanged"
    assert [json.loads(line)["event"] for line in outcome.err.splitlines()] == [*EVENTS[:5], "end"]


def test_events_are_sentences(run, folder):
    write_sources(folder)
    write(folder, CHAIN)
    outcome = run("run", folder / "p.toml", "--log", "text", "--quiet")
    lines = outcome.err.splitlines()
    assert len(lines) == len(EVENTS)
    assert all(re.match(r"streamsvd: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ p: ", line) for line in lines)
    assert lines[0].endswith("p: run 1 begins")
    assert "p: step eof (pca): done in " in lines[1]
    assert "p: check eof: width " in lines[4]
    assert lines[-1].endswith("p: run 1 has ended: done")


def test_an_error_is_a_json_line_too(run, folder):
    write(folder, SVD)
    outcome = run("run", folder / "p.toml", "--log", "json", "--set", "sources.a.path=none.npy")
    assert outcome.code == 1
    told = [json.loads(line) for line in outcome.err.splitlines()]
    assert [(e["event"], e["level"]) for e in told] == [
        ("start", "info"),
        ("end", "error"),
        ("message", "info"),
    ]
    assert "none.npy does not exist" in told[-1]["text"]
    (folder / "p.toml").write_text(SVD.replace("rank", "rnk"))
    (line,) = run("run", folder / "p.toml", "--log", "json").err.splitlines()
    assert "unknown field 'rnk'" in json.loads(line)["text"]
    assert run("check", folder / "p.toml").err.startswith("streamsvd: ")


def test_a_run_leaves_its_metrics_however_it_ends(run, folder, tmp_path):
    write(folder, SVD)
    place = tmp_path / "m.prom"
    assert run("run", folder / "p.toml", "--quiet", "--metrics", place).code == 0
    assert 'streamsvd_runs_total{pipeline="p",status="done"} 1.0' in place.read_text()
    outcome = run(
        "run", folder / "p.toml", "--quiet", "--metrics", place, "--set", "sources.a.path=none.npy"
    )
    assert outcome.code == 1
    assert 'streamsvd_runs_total{pipeline="p",status="failed"} 1.0' in place.read_text()
