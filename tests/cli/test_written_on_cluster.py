"""Commands that write much, on a cluster: files and records are those of threads; what is small is done at home."""

from __future__ import annotations

import logging

import distributed
import numpy as np
import pytest
import zarr
from distributed.diagnostics.plugin import SchedulerPlugin

import streamsvd
from streamsvd.cli.commands import verbs as command_line
from tests.contracts.verbs import files_in

AT_HOME = (
    "info", "report", "plot", "rotate", "log", "repair", "rollback", "merge", "export", "run", "serve", "runs", "check",
    "publish", "demo", "transpose",
)  # fmt: skip
"""Commands whose own work is small, or a sort that one process makes; those of pipelines ask verbs."""


@pytest.fixture(scope="module")
def cluster():
    """A scheduler on the loopback, with workers in this process."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What the commands take."""
    root = tmp_path_factory.mktemp("kept")
    rows = np.random.default_rng(0).standard_normal((1600, 12)) * 0.8 ** np.arange(12)
    zarr.create_array(root / "A.zarr", data=rows, chunks=(100, 12))
    np.save(root / "y.npy", rows[:, 0])
    streamsvd.pca(root / "A.zarr", 3, u=True, out=root / "pca")
    fit = streamsvd.kernel_ridge(root / "A.zarr", rows[:, 0], n_centres=9, length=3.0, ridge=0.1)
    fit.save(root / "krr")
    group = zarr.create_group(root / "many.zarr")
    for i in range(6):
        values = np.tile(rows[200 * i : 200 * (i + 1)].T, 200)
        group.create_array(f"x{i}", data=values, chunks=values.shape)
    streamsvd.compress(root / "many.zarr", root / "packed", 0.1)
    return root


class TaskCount(SchedulerPlugin):
    """Tasks of passes that were given to workers."""

    count = 0

    def transition(self, key, start, finish, *args, **options):
        self.count += finish == "processing" and str(key).startswith(("subtree", "span"))


COMMANDS = {
    "project": "project pca A.zarr --out OUT",
    "residual": "project pca A.zarr --residual --out OUT",
    "reconstruct": "reconstruct pca --out OUT",
    "reconstruct source": "reconstruct pca --source A.zarr --out OUT",
    "predict": "krr predict krr A.zarr --out OUT",
    "convert": "convert A.zarr OUT --chunk-rows 50",
    "verify": "verify pca A.zarr",
    "decompress": "decompress packed --out OUT",
    "compress": "compress many.zarr --out OUT --error 0.02 --principal 1",
    "cluster": "cluster many.zarr",
    "rates": "rates many.zarr --errors 0.1,0.3",
}
MEASURED = ("elapsed_s", "peak_bytes", "projected_bytes", "budget_bytes", "bytes_read", "out", "seconds", "workers")  # fmt: skip


def without_costs(record):
    """A record without what is measured."""
    if isinstance(record, list):
        return [without_costs(one) for one in record]
    if not isinstance(record, dict):
        return record
    return {name: without_costs(value) for name, value in record.items() if name not in MEASURED}


def contents(place):
    """What was written: of a compressed collection, in which names are drawn, its matrices."""
    if (place / "collection.json").exists():
        return {name: A.tobytes() for name, A in streamsvd.open_compressed(place).items()}
    return {name: (place / name).read_bytes() for name in files_in(place)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cluster_writes_what_threads_write(run, kept, cluster, tmp_path, monkeypatch, command):
    monkeypatch.chdir(kept)
    done = {}
    plugin = TaskCount()
    cluster.scheduler.add_plugin(plugin, name=command)
    for name, options in (("here", ["--workers", 2]), ("there", ["--scheduler", cluster.scheduler_address])):  # fmt: skip
        words = COMMANDS[command].replace("OUT", str(tmp_path / name)).split()
        done[name] = run(*words, *options, "--json")
        assert done[name].code == 0, done[name].err
    cluster.scheduler.remove_plugin(command)
    assert plugin.count > 0
    assert without_costs(done["there"].record) == without_costs(done["here"].record)
    if "OUT" in COMMANDS[command]:
        assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_every_command_whose_work_is_large_takes_a_scheduler():
    for name in command_line.list_commands(None):
        command = command_line.get_command(None, name)
        for one in getattr(command, "commands", {"": command}).values():
            takes = any(p.name == "scheduler" for p in one.params)
            assert takes == (name not in AT_HOME), name
