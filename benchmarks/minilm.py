"""The 36 matrices of MiniLM-L6, of nearly full rank: ours beside every simpler way to the same error.

Compression at an error, by clusters that `streamsvd.cluster` finds (mode ``"cluster"``: the error is that of each cluster;
``"block"``: of every matrix), by an SVD of each matrix alone, by random clusters of 2, 6 and all 36 matrices at the least
rank that meets the error (exact; mean of three draws), and by the published methods at the best rank of a ladder. Then by a
principal part and residuals, ``compress(principal="auto")``: bytes of all stored objects, each matrix read again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.tables import Row, judged
from streamsvd.collections.criteria import Method
from streamsvd.collections.mathematics import (
    BlockSketch,
    ClusterCriteria,
    cluster_sketches,
    compression_ratio,
    sketch,
)

Array = npt.NDArray[Any]
Blocks = Mapping[str, Array]
ERRORS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
SIZES = (2, 6, 36)
"""Matrices of random clusters."""
DRAWS = 3
LADDER = (96, 128, 192, 256, 320)
"""Ranks of the published methods."""
PUBLISHED: tuple[Method, ...] = tuple(m for m in get_args(Method) if m != "certified")


def load() -> dict[str, Array]:
    """All matrices with 384 rows."""
    import zarr

    from tools.realdata import fetch

    group = zarr.open_group(str(fetch("minilm-layers")), mode="r")
    arrays = {name: np.asarray(value[...]) for name, value in group.arrays()}
    return {k: A.T if "intermediate" in k else A for k, A in arrays.items()}


def least_cost(squares: Array, rows: int, width: int, error: float) -> int:
    """Numbers stored at the least rank that meets the error, or the matrix as it is."""
    tails = np.cumsum(squares[::-1])[::-1]
    r = int(np.count_nonzero(tails > error * error * tails[0]))
    return min(r * (rows + width), rows * width)


class Groups:
    """Squared singular values of clusters, from the sums of products of their matrices."""

    def __init__(self, given: Blocks) -> None:
        self.widths = [A.shape[1] for A in given.values()]
        doubles = (np.asarray(A, dtype=np.float64) for A in given.values())
        self.grams = [A @ A.T for A in doubles]
        self.rows = self.grams[0].shape[0]

    def random(self, size: int, draw: int) -> list[Array]:
        """Places of a random partition into clusters of one size."""
        order = np.random.default_rng([size, draw]).permutation(len(self.grams))
        return [order[at : at + size] for at in range(0, order.size, size)]

    def compression(self, partition: Iterable[Sequence[int]], errors: Sequence[float]) -> Array:
        """At each error."""
        stored = np.zeros(len(errors))
        for places in partition:
            squares = np.linalg.eigvalsh(np.sum([self.grams[i] for i in places], axis=0))[::-1]
            width = sum(self.widths[i] for i in places)
            squares = np.maximum(squares, 0.0)
            stored += [least_cost(squares, self.rows, width, e) for e in errors]
        return np.asarray(self.rows * sum(self.widths) / stored)


def plain(given: Blocks, errors: Sequence[float] = ERRORS) -> dict[str, list[float]]:
    """Compression of each matrix alone, and of random clusters, at each error."""
    groups = Groups(given)
    found = {"alone": groups.compression([[i] for i in range(len(given))], errors)}
    for size in SIZES:
        draws = range(DRAWS if size < len(given) else 1)
        tried = [groups.compression(groups.random(size, draw), errors) for draw in draws]
        found[f"random {size}"] = np.mean(tried, axis=0)
    return {name: [float(x) for x in values] for name, values in found.items()}


def published(seen: Sequence[BlockSketch], rows: int, error: float) -> dict[str, float]:
    """Best compression of each published method over the ladder."""
    return {
        method: max(
            compression_ratio(
                cluster_sketches(seen, ClusterCriteria(error=error, rank=r, method=method)), rows
            )
            for r in LADDER
        )
        for method in PUBLISHED
    }


def relative(A: Array, B: Array) -> float:
    """Relative Frobenius error, in float64."""
    A = np.asarray(A, dtype=np.float64)
    return float(np.linalg.norm(A - B) / np.linalg.norm(A))


def residuals(given: Blocks, error: float) -> dict[str, Any]:
    """What a principal part and residuals store, and the worst error of what is read."""
    import streamsvd

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = streamsvd.compress(given, Path(folder, "C.zarr"), error, principal="auto")
        elapsed = time.perf_counter() - began
        held = streamsvd.open_compressed(Path(folder, "C.zarr"))
        off = [relative(A, held[k]) for k, A in given.items()]
        chosen = held.options.principal
    return {
        "compression": done.compression_ratio, "worst": max(off), "bound": max(done.block_errors.values()),
        "reads": done.reads, "seconds": elapsed, "principal": chosen,
    }  # fmt: skip


def table(ours: Callable[..., dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
    """One row for each error and mode, and one for what it is beside."""
    given = load()
    beside = plain(given)
    rows, figures = [], {}
    for i, error in enumerate(ERRORS):
        seen = [sketch(k, A, error=error) for k, A in given.items()]
        others = {name: values[i] for name, values in beside.items()}
        others |= published(seen, 384, error)
        figures[f"{error}"] = {"others": others}
        for mode in ("cluster", "block"):
            f = ours(given, error, mode=mode)
            figures[f"{error}"][mode] = f
            met = f["held"] and f["reads"] == 1 and f["cluster_error"] <= error
            met = met and (mode == "cluster" or f["worst"] <= error)
            asked = f"every {'cluster' if mode == 'cluster' else 'matrix'} <= {error}, 1 read"
            said = f"{f['clusters']} clusters, {f['compression']:.3f} x, worst {f['worst']:.3g}, "
            said += f"{f['reads']:.2g} reads, {f['seconds']:.0f} s"
            rows.append(Row(f"MiniLM-L6, error {error}, mode {mode}", asked, said, judged(met)))
        f = residuals(given, error)
        figures[f"{error}"]["residuals"] = f
        met = f["worst"] <= f["bound"] <= error and f["reads"] <= 2
        said = f"bases within {f['principal']:g}, {f['compression']:.2f} x, worst {f['worst']:.3g}, {f['reads']:.2g} reads, {f['seconds']:.0f} s"
        rows.append(
            Row(
                f"MiniLM-L6, error {error}, residuals",
                f"every matrix <= {error}, 2 reads",
                said,
                judged(met),
            )
        )
        words = ", ".join(f"{name} {value:.3f} x" for name, value in others.items())
        rows.append(Row(f"MiniLM-L6, error {error}, others", "-", words, "not judged"))
    return rows, figures
