"""C1: matrices that share a basis: clusters, compression, worst error and reads, beside the published methods.

``python -m benchmarks.run --only C1 --size full``. Collections of hidden subspaces whose clusters are known, at an error of
0.05: ours with ranks of its own choice, and the three published methods at the rank of the published tables (candidates in both
orders, the better one shown; on sketches, so that they read once where the originals read 3 to 8 times). Errors are those of a
dense comparison. At full size also the matrices of MiniLM-L6 (`benchmarks.minilm`) and ten thousand matrices in little
memory (`benchmarks.ten_thousand`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import streamsvd
from benchmarks import minilm, ten_thousand
from benchmarks.fresh import Figures
from benchmarks.minilm import relative
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.collections.criteria import Order
from streamsvd.collections.mathematics import (
    ClusterCriteria,
    FactoredCluster,
    cluster_sketches,
    compression_ratio,
    sketch,
)
from streamsvd.testing import collections

Array = npt.NDArray[Any]
Blocks = Mapping[str, Array]
ERROR = 0.05
SETS: dict[str, tuple[Callable[[], list[Array]], int, float]] = {
    "D6": (collections.d6, 10, 13.33),
    "D1": (collections.d1, 10, 5.55),
    "D2": (collections.d2, 10, 5.55),
    "D7": (collections.d7, 10, 8.57),
    "D8": (collections.d8, 16, 3.04),
}
"""Collection, rank of the published tables, and the compression that ours is to reach."""
ORDERS: tuple[Order, ...] = ("norm", "residual")


def ours(given: Blocks, error: float, **options: Any) -> Figures:
    """What ``cluster`` finds, and the worst error of what it decodes."""
    began = time.perf_counter()
    found = streamsvd.cluster(given, error=error, **options)
    elapsed = time.perf_counter() - began
    raw = {name for c in found.clusters if c.raw for name in c.members}
    errors = {k: 0.0 if k in raw else relative(A, found.approximation(k)) for k, A in given.items()}
    return {
        "clusters": len(found.clusters),
        "raw": len(raw),
        "compression": found.compression_ratio,
        "cluster_error": max(c.error_upper for c in found.clusters),
        "worst": max(errors.values()),
        "held": all(errors[k] <= found.block_errors[k] for k in given),
        "reads": found.reads,
        "seconds": elapsed,
    }


def published(given: Blocks, rank: int, method: Any) -> Figures:
    """The better of both orders of a published method, on sketches."""
    seen = [sketch(k, A, error=ERROR) for k, A in given.items()]
    rows = next(iter(given.values())).shape[0]
    tried = [
        cluster_sketches(seen, ClusterCriteria(error=ERROR, rank=rank, method=method, order=order))
        for order in ORDERS
    ]
    best = max(tried, key=lambda clusters: compression_ratio(clusters, rows))
    return {
        "clusters": len(best),
        "compression": compression_ratio(best, rows),
        "worst": max(worst(c, given) for c in best),
        "reads": 1.0,
    }


def worst(cluster: FactoredCluster, given: Blocks) -> float:
    """Worst error of its blocks; none where they are kept as they are."""
    if cluster.raw:
        return 0.0
    return max(
        relative(given[key], np.ldexp(cluster.basis @ C, cluster.exponent))
        for key, C in zip(cluster.keys, cluster.coefficients, strict=True)
    )


def said(f: Figures) -> str:
    """Figures in words."""
    return f"{f['clusters']} clusters, {f['compression']:.2f} x, worst {f['worst']:.3g}, {f['reads']:.2g} reads"


def known(name: str) -> tuple[list[Row], dict[str, Figures]]:
    """A collection whose clusters are known: a row for ours and for each published method."""
    make, rank, goal = SETS[name]
    given = collections.name_blocks(make())
    f = ours(given, ERROR)
    met = f["held"] and f["cluster_error"] <= ERROR and f["reads"] == 1 and f["compression"] >= goal
    asked = f"clusters <= {ERROR}, >= {goal} x, 1 read"
    rows, figures = [Row(f"{name}, ours", asked, said(f), judged(met))], {"ours": f}
    for method in minilm.PUBLISHED:
        figures[method] = published(given, rank, method)
        case = f"{name}, {method} at rank {rank}"
        rows.append(Row(case, "-", said(figures[method]), "not judged"))
    return rows, figures


def table(size: Size, rounds: int = 1) -> Table:
    """All collections; at small size the first."""
    del rounds
    rows: list[Row] = []
    figures: dict[str, Any] = {}
    for name in list(SETS)[: 1 if size == "small" else None]:
        more, figures[name] = known(name)
        rows += more
    if size == "full":
        for name, part in (("minilm", lambda: minilm.table(ours)), ("many", ten_thousand.table)):
            more, figures[name] = part()
            rows += more
    return Table("C1", "matrices that share a basis", rows, figures=figures)
