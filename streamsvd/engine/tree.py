"""A pass as a dask graph: one task for each span, and a binary tree of fixed shape that joins what they hand back.

The shape depends on the number of spans alone, so a result is the same bits on any scheduler. What a node found may be
there already (``done``): a run that was killed goes on from the nodes that were saved, to the same bits.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from dask import delayed

from streamsvd.checks.masks import as_block, write_block
from streamsvd.engine.dask_source import DaskSource, LoadedSpan
from streamsvd.engine.passes import Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.submit import Graph, active_client
from streamsvd.engine.task import Work, absorb, merge, run_span
from streamsvd.numerics.blocks import Axis

Node = tuple[int, int]
"""Level, 0 for spans, and number from the left."""


def build(
    work: Work[Any], shared: Any, done: Mapping[Node, Any] | None = None, *, kept: bool = False
) -> Graph:
    """Delayed spans and the delayed tree over them.

    Parameters
    ----------
    work
        The pass; its source, where it is a dask array, puts its own tasks before the spans.
    shared
        ``work`` itself or a future of it: what the tasks receive.
    done
        Values of nodes that need not be found again.
    kept
        Whether values of nodes are told, and so must stay what they are.
    """
    leaf, have = delayed(run_span, pure=False), {} if done is None else done
    join = delayed(merge if kept or active_client() is not None else absorb, pure=False)
    reader, spans = work.reader, work.reader.spans
    chunks: dict[Span, list[Any]] = {}
    if isinstance(reader, MatrixReader) and isinstance(reader.source, DaskSource):
        fed_leaf = delayed(run_chunks, pure=False)
        whole = reader.source.spans(reader.layout.axis)
        chunks = {(a, b): parts for a, b, parts in whole if not reader.is_cached((a, b))}
    count = len(spans)
    leaves: list[Any] = []
    named: dict[Node, Any] = {}
    graph = uuid.uuid4().hex

    def grow(node: Node) -> Any:
        if node in have:
            return delayed(have[node], traverse=False, pure=False)
        name = f"{graph}-{node[0]:02d}-{count - node[1]:06d}"  # of two alike, dask begins with the later name
        if node[0] == 0:
            span = spans[node[1]]
            if span in chunks:
                task = fed_leaf(shared, span, chunks[span], dask_key_name=f"span-{name}")
            else:
                task = leaf(shared, span, dask_key_name=f"span-{name}")
            leaves.append(task)
        else:
            below = [grow(child) for child in children(node, count)]
            if len(below) == 1:
                return below[0]
            task = join(shared, *below, dask_key_name=f"join-{name}")
        named[node] = task
        return task

    height = (count - 1).bit_length()
    root = grow((height, 0))
    return Graph(leaves, root, named if kept else {})


def children(node: Node, count: int) -> tuple[Node, ...]:
    """The two nodes that one joins, or the only one, in a tree over so many spans."""
    level, index = node
    below = count
    for _ in range(level - 1):
        below = -(-below // 2)
    return tuple((level - 1, i) for i in (2 * index, 2 * index + 1) if i < below)


@dataclass(frozen=True, slots=True)
class Subtree:
    """Neighbouring spans that one task folds, from number ``first`` to ``stop`` (exclusive): all below a node."""

    node: Node
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Join:
    """A node above the subtrees, and the two that it joins."""

    node: Node
    left: Node
    right: Node


def cut_tree(
    count: int, level: int, done: Container[Node] = (), above: Container[Node] = ()
) -> tuple[list[Subtree], list[Join], Node]:
    """The tree over so many spans as aligned subtrees of a level, in order, joins above them, children first, and its root.

    Parameters
    ----------
    count, level
        Spans, and the level of the subtrees: each has ``2**level`` spans, but for the last.
    done, above
        Nodes that need not be found again, and all nodes above those: a subtree that holds one is cut further.
    """
    subtrees: list[Subtree] = []
    joins: list[Join] = []

    def grow(node: Node) -> Node:
        if node in done:
            return node
        below = children(node, count) if node[0] else ()
        if len(below) == 1:
            return grow(below[0])
        if not below or (node[0] <= level and node not in above):
            subtrees.append(Subtree(node, node[1] << node[0], min(node[1] + 1 << node[0], count)))
        else:
            joins.append(Join(node, grow(below[0]), grow(below[1])))
        return node

    root = grow(((count - 1).bit_length(), 0))
    return subtrees, joins, root


def nodes_above(done: Iterable[Node], count: int) -> set[Node]:
    """All nodes above some."""
    height = (count - 1).bit_length()
    return {
        (up, index >> (up - level)) for level, index in done for up in range(level + 1, height + 1)
    }


def missing_spans(spans: Sequence[Span], done: Container[Node]) -> list[Span]:
    """Spans that are still to be read: neither they nor a node above them is there."""
    height = (len(spans) - 1).bit_length()
    return [
        span
        for index, span in enumerate(spans)
        if not any((level, index >> level) in done for level in range(height + 1))
    ]


def run_chunks(work: Work[Any], span: Span, chunks: list[Any]) -> Any:
    """A span whose rows (along columns: columns) another part of the graph has computed."""
    reader = work.reader
    assert isinstance(reader, MatrixReader)
    assert isinstance(reader.source, DaskSource)
    axis = reader.layout.axis
    data = assemble(reader.source, chunks, axis, span[0])
    there = replace(reader, source=LoadedSpan(data, axis, span[0], reader.source), prefetch=False)
    return run_span(replace(work, reader=there), span)


def assemble(source: DaskSource, chunks: list[Any], axis: Axis, start: int) -> npt.NDArray[Any]:
    """Chunks side by side (along columns: one below the other), from a row or column on; what is masked is NaN."""
    along, chunks = axis == "rows", [as_block(chunk) for chunk in chunks]
    edges = np.cumsum([0, *(chunk.shape[1 if along else 0] for chunk in chunks)])
    other = chunks[0].shape[0 if along else 1]
    out = np.empty((other, edges[-1]) if along else (edges[-1], other), dtype=source.dtype)
    for chunk, a, b in zip(chunks, edges[:-1], edges[1:], strict=True):
        place, at = (out[:, a:b], (start, a)) if along else (out[a:b], (a, start))
        write_block(place, chunk, name=source.name, row=int(at[0]), column=int(at[1]))
    return out
