"""The Gram backend: sums over rows of all blocks, then a second read that completes bases and measures every error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.encoding import (
    EncodedCluster,
    as_they_are,
    decode_block,
    ladder,
    narrow_coefficients,
    slack,
    split_off_zeros,
    without_basis,
)
from streamsvd.collections.mathematics import FactoredCluster, cluster_sketches, from_gram, gram
from streamsvd.collections.planning import gram_slab
from streamsvd.engine.tree import Run
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.store.collections import Collection, Member
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    from streamsvd.collections.run import ClusteringRun

Array = npt.NDArray[Any]
SAFE = 2.0**400
"""Entries beyond it, and below its inverse, have squares that float64 does not sum."""


@dataclass(frozen=True, slots=True, eq=False)
class GramSums:
    """A Gram matrix, the largest entry of each block, and NaN that count as zero."""

    K: Matrix
    largest: Real
    zeros: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CollectionGramPass:
    """The Gram matrix of all columns over runs of rows."""

    collection: Collection

    def leaf(self, rows: Run) -> GramSums:
        """That of some rows."""
        widths = [m.shape[1] for m in self.collection.members]
        n, count = sum(widths), len(widths)
        out = GramSums(np.zeros((n, n)), np.zeros(count), np.zeros(count, np.int64))
        K = out.K
        for start, stop in steps(rows, n):
            slabs = []
            for i, (A, zeros) in enumerate(slab_of(self.collection, start, stop)):
                size = float(np.abs(A).max(initial=0.0))
                if size >= SAFE:
                    raise unsafe(self.collection.members[i], size)
                out.largest[i] = max(out.largest[i], size)
                out.zeros[i] += zeros
                slabs.append(A)
            K = gram(K, np.concatenate(slabs, axis=1))
        return GramSums(K, out.largest, out.zeros)

    def join(self, left: GramSums, right: GramSums) -> GramSums:
        """That of both."""
        return GramSums(
            left.K + right.K, np.maximum(left.largest, right.largest), left.zeros + right.zeros
        )


def steps(rows: Run, columns: int) -> Iterator[Run]:
    """Rows that are read at once."""
    step = gram_slab(columns)
    edges = [*range(rows[0], rows[1], step), rows[1]]
    yield from pairwise(edges)


def slab_of(collection: Collection, start: int, stop: int) -> Iterator[tuple[Matrix, int]]:
    """Rows of every block in float64, and NaN that became zero.

    Raises
    ------
    NonFiniteError
        At the first NaN or Inf.
    """
    for member, part in zip(collection.members, collection.parts, strict=True):
        box = member.layout.slab(start, stop)
        assert box is not None
        values = part.array.read(box)
        rows = (
            values.T
            if member.layout.is_transposed
            else values.reshape(stop - start, member.shape[1])
        )
        A = rows.astype(np.float64)
        zeros = 0
        if collection.zeros:
            gaps = np.isnan(A)
            zeros = int(np.count_nonzero(gaps))
            A[gaps] = 0.0
        if not np.isfinite(A).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(A))[0])
            remedy = "Replace such values, or leave the block out."
            raise NonFiniteError(
                f"{A[row, column]}", start + row, column, f"block {member.name!r}", remedy
            )
        yield A, zeros


@dataclass(frozen=True, slots=True, eq=False)
class BasisRows:
    """Rows of a basis in the types tried, and squared errors of each block for each."""

    bases: list[list[Array]]
    squares: list[Matrix]


@dataclass(frozen=True, slots=True, eq=False)
class BasisPass:
    """The best left factors for given coefficients, and the error of what will be read.

    Attributes
    ----------
    collection
        What is read again.
    places
        Numbers of the blocks of each cluster.
    inverses
        Pseudoinverse of the coefficients of each.
    trials
        Types tried, with coefficients and exponents in each: ``[cluster][type]``.
    """

    collection: Collection
    places: Sequence[Sequence[int]]
    inverses: Sequence[Matrix]
    trials: Sequence[Sequence[tuple[np.dtype[Any], list[Array], list[int]]]]

    def leaf(self, rows: Run) -> list[BasisRows]:
        """Some rows of all bases."""
        columns = sum(m.shape[1] for m in self.collection.members)
        found: list[BasisRows] | None = None
        for start, stop in steps(rows, columns):
            blocks = [A for A, _ in slab_of(self.collection, start, stop)]
            one = [self._slab(c, [blocks[i] for i in at]) for c, at in enumerate(self.places)]
            found = one if found is None else self.join(found, one)
        assert found is not None
        return found

    def join(self, left: list[BasisRows], right: list[BasisRows]) -> list[BasisRows]:
        """The rows of both."""
        return [
            BasisRows(
                [a + b for a, b in zip(x.bases, y.bases, strict=True)],
                [a + b for a, b in zip(x.squares, y.squares, strict=True)],
            )
            for x, y in zip(left, right, strict=True)
        ]

    def _slab(self, c: int, blocks: list[Matrix]) -> BasisRows:
        U = np.concatenate(blocks, axis=1) @ self.inverses[c]
        bases, squares = [], []
        for dtype, coefficients, exponents in self.trials[c]:
            basis = U.astype(dtype)
            bases.append([basis])
            members = [self.collection.members[i] for i in self.places[c]]
            squares.append(
                np.array(
                    [
                        float(np.sum((A - decode_block(basis, C, e, m).astype(np.float64)) ** 2))
                        for A, C, e, m in zip(blocks, coefficients, exponents, members, strict=True)
                    ]
                )
            )
        return BasisRows(bases, squares)


def row_runs(rows: int, columns: int) -> tuple[Run, ...]:
    """Runs of rows, each a task; at most 64."""
    step = max(gram_slab(columns), -(-rows // 64))
    return tuple(pairwise([*range(0, rows, step), rows]))


def by_gram(run: ClusteringRun) -> Iterator[tuple[EncodedCluster, dict[str, Array]]]:
    """Clusters as stored, and the arrays that are kept as they are."""
    source, asked = run.source, run.request
    members = source.members
    widths = [m.shape[1] for m in members]
    runs = row_runs(source.rows, sum(widths))
    summed: GramSums = run.read(source, CollectionGramPass(source), "Gram matrix", runs)
    run.zeros |= {m.name: int(z) for m, z in zip(members, summed.zeros, strict=True) if z}
    _check_sizes(members, summed.largest)
    names = [m.name for m in members]
    sketches = from_gram(summed.K, names, widths, source.rows, error=asked.options.error)
    del summed
    found = cluster_sketches(sketches, asked.options)
    run.merges += [c.merges for c in found]
    del sketches
    usable = [c for c in found if c.within_error and not c.raw and c.rank > 0]
    place = {name: i for i, name in enumerate(names)}
    if usable:
        job = _completing(source, usable, place)
        done: list[BasisRows] = run.read(source, job, "bases and errors", runs)
    by_name = {m.name: m for m in members}
    for c in found:
        if c in usable:
            i = usable.index(c)
            shared = _pick_encoding(c, job.trials[i], done[i], by_name, run)
        elif c.rank == 0 and not c.raw and c.within_error:
            shared = without_basis(c.keys, by_name, source.rows)
        else:
            shared = as_they_are(c, source.rows)
        for one in split_off_zeros(shared, by_name):
            yield one, run.raw_arrays(one, {})


def _check_sizes(members: Sequence[Member], largest: Real) -> None:
    for member, size in zip(members, largest, strict=True):
        if 0 < size <= 1 / SAFE:
            raise unsafe(member, size)


def unsafe(member: Member, size: float) -> SpecError:
    """Entries that are too large, or all too small, for sums of squares."""
    return SpecError(
        f"entries of block {member.name!r} reach {size:g}, whose squares float64 does not sum. "
        "Pass backend='primal' or 'propose'."
    )


def _completing(
    source: Collection, usable: Sequence[FactoredCluster], place: dict[str, int]
) -> BasisPass:
    places = [[place[key] for key in c.keys] for c in usable]
    inverses, tried = [], []
    for c, at in zip(usable, places, strict=True):
        scale = 2.0**c.exponent
        C = [scale * part for part in c.coefficients]
        inverses.append(np.linalg.pinv(np.concatenate(C, axis=1)))
        each = []
        for dtype in ladder([source.members[i] for i in at]):
            pairs = [narrow_coefficients(part, dtype) for part in C]
            each.append((dtype, [p[0] for p in pairs], [p[1] for p in pairs]))
        tried.append(each)
    return BasisPass(source, places, inverses, tried)


def _pick_encoding(
    c: FactoredCluster,
    tried: Sequence[tuple[np.dtype[Any], list[Array], list[int]]],
    done: BasisRows,
    members: dict[str, Member],
    run: ClusteringRun,
) -> EncodedCluster:
    """The narrowest type that meets the error; the blocks as they are if none does."""
    of = [members[key] for key in c.keys]
    norms = np.sqrt(c.energies) * 2.0**c.exponent
    mode, asked = run.request.options.mode, run.request
    hidden = slack(of[0].shape[0], max(m.shape[1] for m in of))
    for (dtype, coefficients, exponents), pieces, squares in zip(
        tried, done.bases, done.squares, strict=True
    ):
        errors = np.divide(np.sqrt(squares), norms, out=np.zeros_like(norms), where=norms > 0)
        errors = errors + hidden * (norms > 0)
        total = float(np.linalg.norm(norms))
        if mode == "block":
            upper = float(np.sqrt(np.sum(errors**2) / max(np.count_nonzero(norms), 1)))
        else:
            upper = float(np.sqrt(np.sum(squares))) / total + hidden if total else 0.0
        shared = EncodedCluster(
            c.keys, np.concatenate(pieces).astype(dtype, copy=False), tuple(coefficients), tuple(exponents),
            min(c.error_lower, upper), upper, tuple(float(e) for e in errors), tuple(float(x) for x in norms), False,
        )  # fmt: skip
        if shared.nbytes(members) >= sum(m.nbytes for m in of):
            break
        limit = c.error_upper + asked.spare if mode == "global" else asked.error
        worst = max(shared.block_errors) if mode == "block" else upper
        if worst <= max(limit, 4 * hidden):
            return shared
    return as_they_are(c, of[0].shape[0])
