"""Running a graph of tasks on threads of this process, and whether a cluster is to run them instead."""

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
    """Who is told what while a pass runs: leaves done of all, values of nodes where they are kept, and remarks on the cluster."""

    on_leaf: Callable[[int, int], None]
    on_value: Callable[[Any, Any], None] | None = None
    on_remark: Callable[[str], None] | None = None


def run_graph(
    shared: Any, build: Callable[[Any], Graph], *, workers: int, told: GraphCallbacks
) -> Any:
    """The value of the root, found by threads of this process.

    Parameters
    ----------
    shared
        What many tasks receive.
    build
        Makes the graph from a handle of it.
    workers
        Threads, with one of BLAS in each.
    told
        Who watches.
    """
    handle = dask.delayed(shared, traverse=False, name=f"shared-{uuid.uuid4().hex}")
    graph = build(handle)
    # Handed over, and not made active: what is active is the process's, and runs that overlap would take it from one another.
    callbacks = [*DaskCallback.active, _GraphWatcher(graph, told)._callback]
    with held_memory(), one_thread():
        (value,) = dask.compute(
            graph.root, scheduler=threaded.get, pool=pool_of(workers), optimize_graph=False, callbacks=callbacks
        )  # fmt: skip
    return value


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
