"""Running a graph of tasks: on threads of this process, or on the cluster of an active distributed client."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask
from dask import threaded  # by name, dask would import distributed to ask for a client
from dask.callbacks import Callback as DaskCallback

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import one_thread
from streamsvd.engine.threads import pool_of
from streamsvd.engine.worker_checks import inspect_workers
from streamsvd.errors import StreamSVDError

RETRIES = 3
"""Times a graph is begun anew when a worker that held its shared input was lost."""
SCATTER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Graph:
    """Delayed tasks.

    Attributes
    ----------
    leaves
        Those whose ends are progress.
    root
        The one whose value is wanted.
    tasks_by_name
        Tasks whose values are told as they come, under their names.
    """

    leaves: list[Any]
    root: Any
    tasks_by_name: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphCallbacks:
    """Who is told what while a graph runs: leaves done of all, and values of named tasks."""

    on_leaf: Callable[[int, int], None]
    on_value: Callable[[Any, Any], None] | None = None


def run_graph(
    shared: Any,
    build: Callable[[Any], Graph],
    *,
    workers: int,
    told: GraphCallbacks,
    what: str,
    needs: int = 0,
) -> Any:
    """The value of the root; on a cluster, after a look at every worker.

    Parameters
    ----------
    shared
        What many tasks receive: one copy in each process.
    build
        Makes the graph from a handle of it; called again when workers were lost.
    workers
        Threads of this process, with one of BLAS in each; a cluster has its own.
    told
        Who watches.
    what
        How messages call it, such as ``"pass 3"``.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Raises
    ------
    StreamSVDError
        If a cluster lost its workers again and again, or a worker is not as this process is; see `inspect_workers`.
    """
    client = active_client()
    if client is not None:
        return _run_on_cluster(client, shared, build, told, what, needs)
    handle = dask.delayed(shared, traverse=False, name=f"shared-{uuid.uuid4().hex}")
    graph = build(handle)
    # Handed over, and not made active: what is active is the process's, and runs that overlap would take it from one another.
    callbacks = [*DaskCallback.active, _GraphWatcher(graph, told)._callback]
    with held_memory(), one_thread():
        (value,) = dask.compute(
            graph.root, scheduler=threaded.get, pool=pool_of(workers), optimize_graph=False, callbacks=callbacks
        )  # fmt: skip
    return value


def _run_on_cluster(
    client: Any,
    shared: Any,
    build: Callable[[Any], Graph],
    told: GraphCallbacks,
    what: str,
    needs: int,
) -> Any:
    from distributed import as_completed
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    futures: list[Any] = []
    for attempt in range(RETRIES):
        try:
            inspect_cluster(client, shared, needs)
            graph = build(scatter_shared(client, shared))
            leaves = {leaf.key for leaf in graph.leaves}
            named = {task.key: name for name, task in graph.tasks_by_name.items() if told.on_value}
            watched = {task.key: task for task in (*graph.leaves, *graph.tasks_by_name.values())}
            tasks = [task for key, task in watched.items() if key in leaves or key in named]
            futures = client.compute([*tasks, graph.root], optimize_graph=False)
            root, done = futures[-1], 0
            for future in as_completed(futures[:-1], raise_errors=False):
                if future.status == "error":
                    break
                if future.key in leaves:
                    done += 1
                    told.on_leaf(done, len(leaves))
                if told.on_value is not None and future.key in named:
                    told.on_value(named[future.key], future.result())
            return root.result()
        except (FutureCancelledError, KilledWorker, WorkersLost) as error:
            if attempt == RETRIES - 1:
                raise StreamSVDError(
                    f"{what} lost its workers {RETRIES} times: {error}. Give the workers more "
                    "memory than the budget of the plan, or fewer threads each."
                ) from error
        except BaseException:
            for future in (
                futures
            ):  # to cancel them fails in the scheduler where a task nobody asked for hangs on one
                future.release()
            raise
    raise AssertionError


class WorkersLost(Exception):
    """A worker left while it was sent its work."""


def inspect_cluster(client: Any, shared: Any, needs: int) -> None:
    """A look at the workers; a scheduler that does not answer has lost them."""
    try:
        inspect_workers(client, shared, needs)
    except StreamSVDError:
        raise
    except (OSError, KeyError, TimeoutError) as error:
        raise WorkersLost(str(error) or type(error).__name__) from error


def scatter_shared(client: Any, shared: Any) -> Any:
    """One copy, which each worker fetches once; a graph that carried it would pass through the scheduler.

    Broadcasting it would wait for ever for a worker that dies meanwhile.
    """
    try:
        client.wait_for_workers(1, timeout=SCATTER_SECONDS)
        (handle,) = client.scatter([shared], hash=False)
    except (
        OSError,
        KeyError,
        TimeoutError,
    ) as error:  # what a closed connection looks like from here
        raise WorkersLost(str(error) or type(error).__name__) from error
    return handle


class _GraphWatcher(DaskCallback):  # type: ignore[misc]
    """Turns finished tasks of the threaded scheduler into what is told."""

    def __init__(self, graph: Graph, told: GraphCallbacks) -> None:
        super().__init__(posttask=self._on_task_done)
        self._keys, self._told = {leaf.key for leaf in graph.leaves}, told
        self._named = {task.key: name for name, task in graph.tasks_by_name.items()}
        self._total, self._count = len(self._keys), 0

    def _on_task_done(self, key: Any, value: Any, *_: Any) -> None:
        if key in self._keys:
            self._count += 1
            self._told.on_leaf(self._count, self._total)
        if self._told.on_value is not None and key in self._named:
            self._told.on_value(self._named[key], value)


def active_client() -> Any | None:
    """The distributed client in force, if distributed was imported and one is; never imports it."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
