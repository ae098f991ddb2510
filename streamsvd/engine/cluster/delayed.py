"""A graph of delayed tasks on a cluster, sent whole: how a matrix that is a dask array is read, whose own tasks feed the spans."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat
from streamsvd.engine.cluster.losses import (
    is_connection_lost,
    is_input_lost,
    is_killed,
    killed_error,
)
from streamsvd.engine.cluster.passes import on_cluster
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.submit import Graph, GraphCallbacks
from streamsvd.engine.task import Work
from streamsvd.engine.worker_checks import inspect_workers

RETRIES = 3
"""Times a graph is sent anew when what it needs was lost with the workers that held it."""


def run_delayed(
    client: Any,
    work: Work[Any],
    build: Callable[[Any], Graph],
    told: GraphCallbacks,
    what: str,
    needs: int = 0,
) -> Any:
    """The value of the root of a graph.

    Parameters
    ----------
    client, work
        The cluster, and what all tasks receive.
    build
        Makes the graph from a future of it; called again when workers were lost.
    told, what, needs
        As of `streamsvd.engine.cluster.passes.run_tree`.

    Raises
    ------
    StreamSVDError
        As `streamsvd.engine.cluster.passes.run_tree`.
    """
    with on_cluster(client, work.run, what, work.device) as beat:
        inspect_workers(client, work, needs)
        for attempt in range(RETRIES):
            transfers = Transfers(client, beat)
            try:
                shared, _ = transfers.send(work)
                return _run_graph(client, beat, transfers, build(shared), told, needs)
            except Exception as error:
                if is_connection_lost(error):
                    raise beat.loss() from None
                if not is_input_lost(error) or attempt == RETRIES - 1:
                    raise
    raise AssertionError


def _run_graph(
    client: Any,
    beat: Heartbeat,
    transfers: Transfers,
    graph: Graph,
    told: GraphCallbacks,
    needs: int,
) -> Any:
    leaves = {leaf.key for leaf in graph.leaves}
    named = {task.key: name for name, task in graph.tasks_by_name.items() if told.on_value}
    watched = {task.key: task for task in (*graph.leaves, *graph.tasks_by_name.values())}
    tasks = [task for key, task in watched.items() if key in leaves or key in named]
    futures = client.compute(
        [*tasks, graph.root], optimize_graph=False, resources=beat.resources or None
    )
    ended: SimpleQueue[Any] = SimpleQueue()
    try:
        for future in futures:
            future.add_done_callback(ended.put)
        left, done = len(futures), 0
        while left:
            try:
                future = ended.get(timeout=BEAT_SECONDS / 4)
            except Empty:
                beat.workers()
                continue
            left -= 1
            if future.status in ("error", "cancelled"):
                try:
                    future.result()
                except Exception as error:
                    if is_killed(error):
                        raise killed_error(error, beat.what, "a task", needs) from error
                    raise
            if future.key in leaves:
                done += 1
                told.on_leaf(done, len(leaves))
            if told.on_value is not None and future.key in named:
                told.on_value(named[future.key], transfers.fetch(future))
            if future is not futures[-1] and future.key not in named:
                future.release()
        return transfers.fetch(futures[-1])
    finally:
        for future in futures:  # to cancel them fails where a task nobody asked for hangs on one
            future.release()
