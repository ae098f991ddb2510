"""Recipes of the page of clusters: run as written where that can be done here, else checked for what they say."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import streamsvd
from streamsvd.engine.memory import parse_bytes
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_known
from tests.docs.test_pages import ROOT, blocks

PAGE = ROOT / "docs" / "uses" / "cluster.md"
WAIT_SECONDS = 120


@pytest.fixture
def commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A folder with a matrix and, on the path, the commands that the page has; processes put here end with the test."""
    folder, programs = tmp_path / "a folder", tmp_path / "bin"
    for place in (folder, programs):
        place.mkdir()
    write_known(folder / "A.zarr", KnownMatrix("geometric", 900, 80))
    for name in ("dask", "streamsvd"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [ROOT, *filter(None, sys.path)])))
    running: list[subprocess.Popen[bytes]] = []
    try:
        yield running
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_cluster(file: Path, workers: int) -> None:
    """Until a reader who types one line after another would go on."""
    from distributed import Client

    deadline = time.monotonic() + WAIT_SECONDS
    while not (file.exists() and file.read_text().rstrip().endswith("}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with Client(scheduler_file=str(file), timeout=WAIT_SECONDS) as client:
        client.wait_for_workers(workers, timeout=WAIT_SECONDS)


@pytest.mark.slow
def test_scheduler_and_workers_started_by_hand(commands):
    (block,) = blocks(PAGE, "bash")
    *services, ask = block.splitlines()
    for line in services:
        commands.append(
            subprocess.Popen(
                shlex.split(line), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
    wait_for_cluster(Path("cluster.json"), 2)
    done = subprocess.run(shlex.split(ask), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there, here = streamsvd.load("A.result"), streamsvd.svd("A.zarr", 5, memory="256MiB")
    assert np.array_equal(there.s, here.s)
    assert np.array_equal(there.Vh, here.Vh)
    assert all(process.poll() is None for process in commands)


def script_of_page() -> str:
    """The block that makes the cluster of jobs."""
    (block,) = [b for b in blocks(PAGE, "text") if b.startswith("from dask_jobqueue")]
    return block


@pytest.fixture
def _signals():
    """dask-jobqueue takes Ctrl-C of the process that imports it; other tests have theirs."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_signals")
def test_the_job_of_slurm_has_what_the_page_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    try:
        exec(compile(script_of_page(), "cluster.md[slurm]", "exec"), module.__dict__)
        script = capsys.readouterr().out
    finally:
        if hasattr(module, "cluster"):
            module.cluster.close()
    for directive in ("-p compute", "-A climate", "-t 04:00:00", "--cpus-per-task=16", "--mem=64G"):
        assert f"#SBATCH {directive}\n" in script
    (start,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    words = shlex.split(start)
    for option, value in (
        ("--nworkers", "16"),
        ("--nthreads", "1"),
        ("--memory-limit", "4.00GiB"),
        ("--lifetime", "235m"),
    ):
        assert words[words.index(option) + 1] == value
    assert script.index("module load python") < script.index(start)


def test_the_manifest_of_kubernetes_agrees_with_itself():
    (block,) = blocks(PAGE, "yaml")
    made = yaml.safe_load(block)
    assert (made["apiVersion"], made["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    worker, scheduler = made["spec"]["worker"], made["spec"]["scheduler"]
    (pod,), (head,) = worker["spec"]["containers"], scheduler["spec"]["containers"]
    assert pod["image"] == head["image"]
    words = pod["args"]
    assert words[:3] == ["dask-worker", "--name", "$(DASK_WORKER_NAME)"]
    assert all(isinstance(word, str) for word in words)
    limit = parse_bytes(words[words.index("--memory-limit") + 1])
    assert limit < parse_bytes(pod["resources"]["limits"]["memory"])
    assert pod["resources"]["requests"] == pod["resources"]["limits"]
    assert words[words.index("--nthreads") + 1] == pod["resources"]["limits"]["cpu"]
    volumes = {volume["name"] for volume in worker["spec"]["volumes"]}
    assert {mount["name"] for mount in pod["volumeMounts"]} == volumes
    service = scheduler["service"]
    assert service["selector"] == {
        "dask.org/cluster-name": made["metadata"]["name"],
        "dask.org/component": "scheduler",
    }
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    assert ports["tcp-comm"] == 8786
    assert f"`--scheduler tcp://{made['metadata']['name']}-scheduler:8786`" in PAGE.read_text(
        encoding="utf-8"
    )


def test_every_verb_that_runs_on_a_cluster_is_in_the_table():
    import click

    from streamsvd.cli.commands import VERBS, verbs

    text = PAGE.read_text(encoding="utf-8").partition("## Which verbs")[2]
    context = click.Context(verbs)
    for name in VERBS:
        command = verbs.get_command(context, name)
        parts = [command, *getattr(command, "commands", {}).values()]
        if name not in ("plan", "run", "check") and any(
            p.name == "scheduler" for part in parts for p in part.params
        ):
            assert f"`{name}" in text, name
