"""Where a pass runs: on threads of this process, or on the cluster of an active client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.submit import Graph, GraphCallbacks, active_client, run_graph
from streamsvd.engine.task import Work
from streamsvd.engine.tree import Node, build


def run_pass(
    work: Work[Any],
    done: Mapping[Node, Any],
    told: GraphCallbacks,
    *,
    workers: int,
    what: str,
    needs: int = 0,
) -> Any:
    """What a pass adds up over all that is read, to the same bits wherever it runs.

    Parameters
    ----------
    work, done
        The pass, and sums of nodes that need not be found again.
    told
        Who watches.
    workers
        Threads of this process; a cluster has its own.
    what
        How messages call it, such as ``"pass 3"``.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Raises
    ------
    StreamSVDError
        If a cluster cannot do it; see `streamsvd.engine.cluster.passes.run_tree`.
    """

    def grow(shared: Any) -> Graph:
        return build(work, shared, done, kept=told.on_value is not None)

    client = active_client()
    if client is None:
        return run_graph(work, grow, workers=workers, told=told)
    if isinstance(getattr(work.reader, "source", None), DaskSource):
        from streamsvd.engine.cluster.delayed import run_delayed

        return run_delayed(client, work, grow, told, what, needs)
    from streamsvd.engine.cluster.passes import run_tree  # what threads do not need

    return run_tree(client, work, done, told, what, needs)
