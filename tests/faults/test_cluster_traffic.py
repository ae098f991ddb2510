"""What a pass sends over the network: the operand once to each worker, and a sum from each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dask
import numpy as np
import pytest
import zarr
from distributed.comm import tcp
from distributed.diagnostics.plugin import SchedulerPlugin

import streamsvd
from streamsvd.engine.cluster.placement import TaskPlacement
from streamsvd.engine.cluster.tree_run import TreeRun
from streamsvd.engine.events import PassDone, PassStarted
from tests.faults.cluster_kit import processes

M, N = 1024, 20_000


@dataclass(eq=False)
class Sizes(SchedulerPlugin):
    """Bytes of what tasks hand back, and of what is sent to them, as the scheduler knows them."""

    scheduler: Any = None
    found: dict[str, int] = field(default_factory=dict)

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **options: Any) -> None:
        if finish == "memory" and str(key).startswith("subtree"):
            task = self.scheduler.tasks[key]
            self.found["sum"] = task.nbytes
            self.found["operand"] = max(sent.nbytes for sent in task.dependencies)


def count_bytes() -> None:
    """Count in this process what every connection writes."""
    if hasattr(tcp.TCP, "counted"):
        return
    write = tcp.TCP.write

    async def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        sent = await write(self, *arguments, **options)
        tcp.TCP.counted += sent or 0
        return sent

    tcp.TCP.counted, tcp.TCP.write = 0, counting


def bytes_sent() -> int:
    return int(tcp.TCP.counted)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_pass_sends_the_operand_and_a_sum_for_each_worker(tmp_path, workers, monkeypatch):
    # Each worker does its own run: one that takes over what another is late with adds a sum that travels.
    monkeypatch.setattr(TreeRun, "_help", lambda *_: None)
    monkeypatch.setattr(TaskPlacement, "_take_over", lambda *_: None)
    rng = np.random.default_rng(0)
    A = zarr.create_array(str(tmp_path / "A.zarr"), shape=(M, N), chunks=(64, N), dtype="f4")
    for start in range(0, M, 64):
        A[start : start + 64] = rng.standard_normal((64, N)) * np.geomspace(1, 1e-2, N)
    passes, before = [], 0
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        processes(workers) as (cluster, client),
    ):
        count_bytes()
        client.run(count_bytes)
        client.register_plugin(Sizes(), name="sizes")

        def count(event: Any) -> None:
            nonlocal before
            if isinstance(event, PassStarted | PassDone):
                now = bytes_sent() + sum(client.run(bytes_sent).values())
                if isinstance(event, PassDone):
                    passes.append(now - before)
                before = now

        source = streamsvd.open(tmp_path / "A.zarr")
        plan = streamsvd.plan_svd(source, 90, route="krylov", axis="rows", tol=1e-2, memory="4GiB")
        streamsvd.svd(source, plan=plan, callback=count)
        sizes = cluster.scheduler.plugins["sizes"].found
    operand, found = sizes["operand"], sizes["sum"]
    print(workers, "workers:", operand, found, passes)
    assert sum(passes) <= 1.2 * len(passes) * workers * (operand + found)
