"""What a pass of a factorisation asks of a cluster, and costs there."""

from __future__ import annotations

from dataclasses import replace

from streamsvd.engine.cluster_plan import ClusterPlan, PassLoad, plan_cluster
from streamsvd.engine.layout import matrix_bytes
from streamsvd.engine.machines import machines_in_force
from streamsvd.engine.memory import RUN_BYTES, show_bytes
from streamsvd.factor.candidates import (
    PASS_SECONDS,
    PlanCandidate,
    Speeds,
    dense_seconds,
    pass_seconds,
)
from streamsvd.factor.options import SVDOptions
from streamsvd.protocols import Source

MOMENTS = 6
"""Columns of a sum beside those of the block and the probes."""


def cluster_plan(
    source: Source, options: SVDOptions, shape: PlanCandidate, rates: Speeds, *, passes: float
) -> ClusterPlan | None:
    """A pass of an arrangement on the cluster that it is planned for; None where passes run in this process."""
    machines = machines_in_force()
    if machines is None:
        return None
    load = pass_load(source, options, shape, rates, threads=machines.threads, passes=passes)
    return plan_cluster(load, machines, f"factorising {source.name}")


def worker_bytes(shape: PlanCandidate, threads: int) -> int:
    """Memory of a worker of so many threads, which are what they are, however few of them the plan would run at once."""
    spans = len(shape.layout.spans)
    busy, most = min(shape.at_once, spans), min(threads, spans)
    return RUN_BYTES + -(-(shape.tasks - RUN_BYTES) * most // busy)


def dense_remedy(at_home: float, budget: int) -> str:
    """What is said besides where it is the dense step that does not fit: more workers are no remedy."""
    if at_home <= budget or machines_in_force() is None:
        return ""
    return (
        f" The process that asks makes the dense step alone and needs {show_bytes(at_home)} for it: more workers do not help. "
        "Run it on a machine with that much memory, or ask for a smaller rank."
    )


def pass_load(
    source: Source,
    options: SVDOptions,
    shape: PlanCandidate,
    rates: Speeds,
    *,
    threads: int,
    passes: float,
) -> PassLoad:
    """Of an arrangement, on workers of so many threads."""
    lay, s = shape.layout, shape.sizes
    if shape.route == "gram":
        operand, one_sum = lay.width * s.wide, lay.width**2 * s.wide
    else:
        vectors = s.block + max(s.probes, s.pinned_vectors)
        operand, one_sum = lay.width * vectors * s.narrow, lay.width * (vectors + MOMENTS) * s.wide
    dense = dense_seconds(shape, rates)
    alone = replace(shape, at_once=1)
    return PassLoad(
        leaves=len(lay.spans),
        pass_bytes=int(matrix_bytes(source, lay) * lay.amplification),
        thread_seconds=pass_seconds(source, options, alone, rates, 1, 1) - dense - PASS_SECONDS,
        operand_bytes=operand,
        sum_bytes=one_sum,
        dense_seconds=dense,
        worker_bytes=worker_bytes(shape, threads),
        client_bytes=min(shape.home, shape.projected_bytes),
        passes=passes,
    )
