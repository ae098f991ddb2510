"""Recipes of the page of schedules run what they say: their commands are taken from the page, and run on a small pipeline."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from streamsvd.cli import app
from streamsvd.pipelines.records import RunLog
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_known
from tests.docs.test_pages import ROOT, blocks

PAGE = ROOT / "docs" / "schedule.md"
PIPELINE = """
schedule = "0 3 * * *"

[sources.hours]
path = "${STATIONS}"

[[steps]]
name = "model"
svd = {source = "hours", rank = 3}

[[publish]]
step = "model"
to = "latest"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder in place of ``/data``, with a pipeline; and the command where the page has it installed."""
    data = tmp_path / "my data"
    (data / "pipelines").mkdir(parents=True)
    write_known(data / "stations.zarr", KnownMatrix("geometric", 200, 20))
    for place in (data, data / "pipelines"):
        (place / "stations.toml").write_text(PIPELINE)
    command = tmp_path / "bin" / "streamsvd"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m streamsvd "$@"\n')
    command.chmod(0o755)
    return data


def environment(machine: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(machine.parent / "bin"), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": path, **more}


def here(text: str, machine: Path) -> str:
    """A line of the page, as it would be of this machine."""
    words = text.replace("/opt/streamsvd/bin/streamsvd", shlex.quote(str(machine.parent / "bin" / "streamsvd")))  # fmt: skip
    words = words.replace("/var/lib/node_exporter", shlex.quote(str(machine)))
    for name in ("/data/stations.zarr", "/data"):
        words = words.replace(f"{name} ", f"{shlex.quote(str(machine) + name[5:])} ")
    return words


def assert_published(machine: Path) -> None:
    assert (machine / "latest").resolve(strict=True).is_relative_to(machine / "stations.runs")
    (record,) = RunLog(machine / "stations.runs").records()
    assert record.status == "done"


def cron_command() -> str:
    (line,) = [line for block in blocks(PAGE, "text") for line in block.splitlines() if line.startswith("7 * * * *")]  # fmt: skip
    return line.split(maxsplit=5)[5]


def run_by_shell(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", here(cron_command(), machine)], capture_output=True, text=True, env=environment(machine), check=False
    )  # fmt: skip


def test_cron_prints_nothing_where_all_is_well(machine):
    done = run_by_shell(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_published(machine)


@pytest.mark.slow
def test_cron_mails_the_log_where_something_is_not(machine):
    (machine / "stations.toml").write_text(PIPELINE.replace("rank = 3", "rank = 30"))
    assert "rank=30 is more than the 20 singular values" in run_by_shell(machine).stdout


def run_here(words: list[str], machine: Path, monkeypatch, more: dict[str, str]) -> int:
    """Exit code of a command in this process, in its folder and environment."""
    monkeypatch.chdir(machine)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    return app.run(words)


def unit(description: str) -> configparser.SectionProxy:
    """The service of a unit of the page."""
    for block in blocks(PAGE, "ini"):
        found = configparser.ConfigParser(interpolation=None)
        found.optionxform = str  # type: ignore[assignment, method-assign]
        found.read_string(block)
        if found["Unit"]["Description"] == description:
            return found["Service"]
    raise AssertionError(description)


def test_systemd_runs_the_pipeline(machine, monkeypatch):
    service = unit("Components of the stations")
    assert service["WorkingDirectory"] == "/data"
    name, _, value = service["Environment"].partition("=")
    more = {name: value.replace("/data", str(machine))}
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/streamsvd/bin/streamsvd"
    assert run_here(words, machine, monkeypatch, more) == 0
    assert_published(machine)


@pytest.mark.slow
def test_systemd_serves_a_folder_and_stops_it(machine):
    service = unit("Pipelines")
    words = shlex.split(here(service["ExecStart"] + " ", machine))
    child = subprocess.Popen(
        words, cwd=machine, stderr=subprocess.PIPE, text=True,
        env=environment(machine, STATIONS=str(machine / "stations.zarr")),
    )  # fmt: skip
    assert child.stderr is not None
    assert json.loads(child.stderr.readline())["event"] == "serve"
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"


def test_kubernetes_runs_the_pipeline(machine, monkeypatch, capsys):
    (job,) = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    assert (job["kind"], job["spec"]["concurrencyPolicy"]) == ("CronJob", "Forbid")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    more = {e["name"]: e["value"].replace("/data", str(machine)) for e in container["env"]}
    assert container["workingDir"] == container["volumeMounts"][0]["mountPath"] == "/data"
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}
    program, *words = container["command"]
    assert program == "streamsvd"
    assert run_here(words, machine, monkeypatch, more) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["start", "step", "published", "end"]
    assert_published(machine)


def program(mark: str, machine: Path) -> ModuleType:
    """The program of the page that has some words, as a module."""
    (block,) = [block for block in blocks(PAGE, "text") if mark in block]
    module = ModuleType("program")
    exec(block.replace("/data/stations.zarr", str(machine / "stations.zarr")).replace('"/data"', repr(str(machine))), module.__dict__)  # fmt: skip
    return module


@pytest.mark.slow
def test_airflow_runs_the_pipeline(machine, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(machine / "airflow"))
    pytest.importorskip("airflow", reason="Airflow is not installed")
    for name, value in environment(machine).items():
        monkeypatch.setenv(name, value)
    dag = program("from airflow import DAG", machine).dag
    (task,) = dag.tasks
    task.execute({})
    assert_published(machine)


@pytest.mark.slow
def test_dagster_runs_the_pipeline(machine, monkeypatch):
    pytest.importorskip("dagster", reason="Dagster is not installed")
    for name, value in environment(machine, STATIONS=str(machine / "stations.zarr")).items():
        monkeypatch.setenv(name, value)
    assert program("from dagster import", machine).stations.execute_in_process().success
    assert_published(machine)
