"""A pass as a dask graph: one task per span, and a merge tree of fixed shape in span order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from dask import delayed

from streamsvd.checks.masks import as_block, write_block
from streamsvd.engine.dask_source import DaskSource, LoadedSpan
from streamsvd.engine.span import SpanWork, run_span
from streamsvd.engine.submit import active_client
from streamsvd.numerics.blocks import Axis
from streamsvd.numerics.passes import PassSums


def merge_sums(a: PassSums, b: PassSums) -> PassSums:
    """Node of the tree; on a cluster the same sums may be asked for again."""
    return a.merge(b)


def absorb_sums(a: PassSums, b: PassSums) -> PassSums:
    """Node of the tree where nobody else holds the sums: threads run each task once and keep nothing."""
    return a.absorb(b)


def merge_tree(leaves: list[Any], join: Any) -> Any:
    """Binary tree over the leaves in their order; its shape depends on their number alone."""
    while len(leaves) > 1:
        pairs = [
            join(leaves[i], leaves[i + 1]) if i + 1 < len(leaves) else leaves[i]
            for i in range(0, len(leaves), 2)
        ]
        leaves = pairs
    return leaves[0]


def build_pass_graph(work: SpanWork, shared: Any) -> tuple[list[Any], Any]:
    """Delayed spans and the delayed sum of them.

    Parameters
    ----------
    work
        The pass; its source, where it is a dask array, puts its own tasks before the spans.
    shared
        ``work`` itself or a future of it: what the span tasks receive.
    """
    if isinstance(work.source, DaskSource):
        leaves = [
            delayed(run_loaded_span, pure=False)(shared, (a, b), chunks)
            for a, b, chunks in work.source.spans(work.layout.axis)
        ]
    else:
        leaves = [delayed(run_span, pure=False)(shared, span) for span in work.layout.spans]
    join = merge_sums if copies_sums() else absorb_sums
    return leaves, merge_tree(leaves, delayed(join, pure=False))


def copies_sums() -> bool:
    """Whether sums that are joined stay as they were: those of a task that a cluster may run again."""
    return active_client() is not None


def assemble_chunks(
    source: DaskSource, chunks: list[Any], axis: Axis, start: int
) -> npt.NDArray[Any]:
    """Chunks side by side (along columns: one below the other), from a row or column on; what is masked is NaN."""
    along, chunks = axis == "rows", [as_block(chunk) for chunk in chunks]
    edges = np.cumsum([0, *(chunk.shape[1 if along else 0] for chunk in chunks)])
    other = chunks[0].shape[0 if along else 1]
    out = np.empty((other, edges[-1]) if along else (edges[-1], other), dtype=source.dtype)
    for chunk, a, b in zip(chunks, edges[:-1], edges[1:], strict=True):
        place, at = (out[:, a:b], (start, a)) if along else (out[a:b], (a, start))
        write_block(place, chunk, name=source.name, row=int(at[0]), column=int(at[1]))
    return out


def run_loaded_span(work: SpanWork, span: tuple[int, int], chunks: list[Any]) -> PassSums:
    """A span whose rows (along columns: columns) another part of the graph has computed."""
    assert isinstance(work.source, DaskSource)
    axis = work.layout.axis
    held = LoadedSpan(
        assemble_chunks(work.source, chunks, axis, span[0]), axis, span[0], work.source
    )
    return run_span(replace(work, source=held, prefetch=False), span)
