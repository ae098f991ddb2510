"""How a collection is read within the memory: which backend, tasks at once, and bytes projected before reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamsvd.collections.mathematics.sketches import GRAM_LEAST
from streamsvd.collections.options import Backend
from streamsvd.collections.readers import CollectionReader, SlabReader, slab_rows
from streamsvd.collections.weights import NO_WEIGHTS, Weights
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.schedule import SAVE_COPIES
from streamsvd.errors import BudgetError, SpecError
from streamsvd.store.collections import Collection, Member

PROJECTION_ROWS = 96
"""Rows of a projection."""
MOST_COLUMNS = 15_000
"""Columns of a Gram matrix."""
COPIES = 7
"""Of the left factors of all sketches, while clusters are tried: scored, joined, stacked and decomposed."""
FEW_COPIES = 3
"""The same of projections, whose stacks have few rows."""
ITEM = 8
WEIGHTS_REFUSAL = "a Gram matrix knows no weights."
WRITE_BYTES = 24 << 20
"""Arrays on their way to the store."""
PASSES = {"primal": 1, "gram": 2, "propose": 2}
SENTENCES = {
    "primal": "Backend primal: sketches of all are in memory.",
    "gram": "Backend gram: sums over rows, and a second read that completes bases and measures errors.",
    "propose": "Backend propose: clusters proposed on projections, and a second read that certifies them.",
}
ALONE = "Backend primal: each matrix is coded by itself, and written by the task that reads it."
CODING_COPIES = 18
"""Of a matrix in double precision, while it is coded: itself, weighted, scaled, what is tried and what was best, and what is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionPlan(RunPlan):
    """What a run over a collection will read and need.

    Attributes
    ----------
    backend
        Not ``"auto"`` any more.
    room
        Bytes that sketches, and what clustering makes of them, may take.
    n_blocks, rows, columns
        Matrices, their rows, and the columns of all.
    """

    backend: Backend
    room: int
    n_blocks: int
    rows: int
    columns: int


def plan_collection(
    verb: str,
    collection: Collection,
    options: Any,
    backend: Backend,
    budget: int,
    *,
    error: float,
    keep: bool,
    rank: int | None = None,
    weights: Weights = NO_WEIGHTS,
    saving: bool = False,
    passes: int | None = None,
    beside: int = 0,
    alone: bool = False,
) -> CollectionPlan:
    """The plan of the first backend that fits: sketches in memory, else the Gram matrix, else proposals.

    Parameters
    ----------
    verb, collection, options
        For the record, and what is read.
    backend, budget
        As asked, and the memory.
    error, rank, weights
        Of clusters.
    keep
        Whether matrices that are kept as they are are handed out.
    saving
        Whether what passes find is saved.
    passes
        Reads, at most, if not those of the backend.
    beside
        Bytes that there are once, beside all this.
    alone
        Whether tasks code each matrix by itself, and write it: then nothing of them is at home.

    Raises
    ------
    BudgetError
        If none fits; it names the least memory that works.
    SpecError
        If the backend cannot be used here.
    """
    refused = gram_refused(collection, error) if weights.plain else WEIGHTS_REFUSAL
    if backend == "gram" and refused:
        raise SpecError(f"{refused} Pass backend='auto'.")
    order: list[Backend] = ["primal", "gram", "propose"] if backend == "auto" else [backend]
    least = []
    for name in order:
        if name == "gram" and refused:
            continue
        for workers in range(most_workers(collection), fewest_workers() - 1, -1):
            held, task = (
                coding_bytes(collection, weights)
                if alone
                else needs(collection, name, keep=keep, rank=rank, weights=weights, saving=saving)
            )
            needed = BASE_BYTES + beside + held + workers * task
            if needed <= budget:
                spare = min(budget - needed, _all(collection)) if name == "propose" else 0
                reader = (SlabReader if name == "gram" else CollectionReader)(collection)
                members = collection.members
                columns = sum(m.shape[1] for m in members)
                notes = (
                    f"{len(members):,} matrices of {collection.rows:,} rows, {columns:,} columns in all.",
                    ALONE if alone else SENTENCES[name],
                    *((f"Inputs of {weights.input_bytes:,} bytes are read beside.",) if weights.sources else ()),
                )  # fmt: skip
                return CollectionPlan(
                    verb=verb, source=collection.name, options=options, passes=passes or PASSES[name],
                    pass_bytes=collection.pass_bytes, workers=workers, spans=len(reader.spans), projected_bytes=needed + spare,
                    budget_bytes=budget, notes=notes, backend=name, room=held + spare, n_blocks=len(members),
                    rows=collection.rows, columns=columns,
                )  # fmt: skip
            least.append(needed)
    raise BudgetError(
        f"clustering the {len(collection.members):,} blocks of {collection.name}",
        min(least),
        budget,
        f"The smallest budget that works is memory={min(least)}.",
    )


def _all(collection: Collection) -> int:
    """Bytes of the sketches of all, which no group of them exceeds."""
    return sum(certified_bytes(m) for m in collection.members)


def gram_refused(collection: Collection, error: float) -> str:
    """Why a Gram matrix of all columns cannot be used; empty if it can."""
    columns = sum(m.shape[1] for m in collection.members)
    if collection.rows == 0:
        return "blocks without rows have no Gram matrix."
    if columns > MOST_COLUMNS:
        return f"{columns:,} columns are too many for a Gram matrix, {MOST_COLUMNS:,} at most."
    if error < GRAM_LEAST:
        return f"error={error:.3g} is lost in the squares of a Gram matrix, which resolves {GRAM_LEAST:g}."
    if any(p.axis is not None for p in collection.parts):
        return "a Gram matrix is summed over rows of whole arrays, this one is cut."
    for m in collection.members:
        if m.layout.slab(0, m.shape[0]) is None:
            return f"a Gram matrix is summed over rows, and those of {m.name!r} are no rectangle of its array."
    return ""


def most_workers(collection: Collection) -> int:
    """Tasks that may run at once in one process."""
    return max(1, min(concurrency()[1], len(collection.parts)))


def fewest_workers() -> int:
    """Threads of a cluster are what they are."""
    return concurrency()[1] if is_on_cluster() else 1


def workers_within(
    most: int, fewest: int, once: int, each: int, budget: int, what: str
) -> tuple[int, int]:
    """As many tasks at once as the memory allows, and the bytes that they take.

    Raises
    ------
    BudgetError
        If the fewest do not fit; it names the least memory that works.
    """
    for workers in range(most, fewest - 1, -1):
        if once + workers * each <= budget:
            return workers, once + workers * each
    least = once + fewest * each
    raise BudgetError(what, least, budget, f"Pass memory={least} or more.")


def needs(
    collection: Collection,
    backend: Backend,
    *,
    keep: bool,
    rank: int | None = None,
    weights: Weights = NO_WEIGHTS,
    saving: bool = False,
) -> tuple[int, int]:
    """Bytes there are once, and in each task; with a rank, of clusters of no more than that."""
    members = collection.members
    kept = (sum(m.held_bytes for m in members) if keep else 0) + weights.nbytes
    if saving:
        kept += SAVE_COPIES * saved_bytes(collection, backend, keep=keep)
    reading = max(p.nbytes + p.array.read_bytes for p in collection.parts)
    alone = max(task_bytes(m, weighted=not weights.plain) for m in members)
    if backend == "gram":
        n = sum(m.shape[1] for m in members)
        sums = max(16, 9 + len(SlabReader(collection).spans).bit_length())
        kept += ITEM * n * n * sums + ITEM * collection.rows * sum(min(m.shape) for m in members)
        return kept, 2 * ITEM * n * n + ITEM * 4 * slab_rows(n) * n
    if backend == "propose":
        tall = [(min(PROJECTION_ROWS, m.shape[0]), m.shape[1]) for m in members]
        proposals = sum(sketch_bytes(p, n, FEW_COPIES) for p, n in tall) + keys_bytes(len(members))
        certified = max(certified_bytes(m) for m in members) + keys_bytes(0)
        out = (
            WRITE_BYTES if keep else factors_bytes(members, rank)
        )  # those that are written are not held
        omega = ITEM * 2 * PROJECTION_ROWS * collection.rows
        return max(proposals, certified + out) + omega + weights.nbytes, reading + alone
    held = sum(sketch_bytes(*m.shape) for m in members) + keys_bytes(len(members))
    return held + kept, reading + alone


def coding_bytes(collection: Collection, weights: Weights) -> tuple[int, int]:
    """Bytes there are once, and in each task, where matrices are coded by themselves: steps of columns alone are at home."""
    members = collection.members
    steps = 4 * ITEM * sum(m.shape[1] for m in members) + keys_bytes(0)
    reading = max(p.nbytes + p.array.read_bytes for p in collection.parts)
    weighing = 0 if weights.plain else 6
    task = max(
        ITEM * (CODING_COPIES * m.shape[0] * m.shape[1] + weighing * m.shape[1] ** 2)
        for m in members
    )
    return steps + weights.nbytes, reading + task


def saved_bytes(collection: Collection, backend: Backend, *, keep: bool) -> int:
    """Upper bound of what passes find that is saved: sketches, a Gram matrix and bases, or projections; and matrices."""
    members = collection.members
    if backend == "gram":
        n = sum(m.shape[1] for m in members)
        return ITEM * (n * n + collection.rows * sum(min(m.shape) for m in members))
    tall = [
        m.shape[0] if backend == "primal" else min(PROJECTION_ROWS, m.shape[0]) for m in members
    ]
    sketches = sum(
        ITEM * min(t, m.shape[1]) * (t + m.shape[1]) for t, m in zip(tall, members, strict=True)
    )
    return sketches + (sum(m.held_bytes for m in members) if keep else 0)


def factors_bytes(members: Sequence[Member], rank: int | None) -> int:
    """Upper bound of the factors of all clusters, however they fall.

    Factors are smaller than what they stand for, or are not kept; without a rank nothing less is known before reading. With
    one, a cluster takes no more than its members would alone, ``8 rank (m + n)`` bytes each, where that is less than the
    member; so long as the columns of factors, ``8 rank n``, are not more than those of the members.
    """
    if rank is None or any(ITEM * rank * m.shape[1] > m.held_bytes for m in members):
        return sum(m.held_bytes for m in members)
    return sum(min(m.held_bytes, ITEM * rank * sum(m.shape)) for m in members)


def sketch_bytes(rows: int, columns: int, copies: int = COPIES) -> int:
    """A sketch that keeps all directions, and what clustering makes of it."""
    k = min(rows, columns)
    return ITEM * k * ((1 + copies) * rows + 3 * columns) + 2_000


def certified_bytes(member: Member) -> int:
    """A sketch, its factors, and the matrix itself where it is kept as it is."""
    return sketch_bytes(*member.shape) + 2 * member.held_bytes


def keys_bytes(count: int) -> int:
    """Keys of all pairs, and small objects."""
    return 9 * min(count, 1500) ** 2 + (2 << 20)


def task_bytes(member: Member, *, weighted: bool = False) -> int:
    """A matrix in float64, scaled, with weights if it has any, and its decomposition."""
    m, n = member.shape
    weighing = 4 * m * n + 6 * n * n if weighted else 0
    return ITEM * (6 * m * n + weighing + 8 * min(m, n) ** 2 + 4 * PROJECTION_ROWS * n)
