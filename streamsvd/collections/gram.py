"""The Gram backend: sums over rows of all blocks, then a second read that completes bases and measures every error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from streamsvd.collections.readers import Slab, SlabReader
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.run import ClusteringRun, FoundCluster
from streamsvd.engine.device import Device
from streamsvd.errors import SpecError
from streamsvd.store.collections import Member
from streamsvd.typing import Matrix, Real

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
    """The Gram matrix of all columns of these members, over runs of rows."""

    members: tuple[Member, ...]

    def init(self, device: Device) -> GramSums:
        """Of no rows."""
        del device
        n, count = sum(m.shape[1] for m in self.members), len(self.members)
        return GramSums(np.zeros((n, n)), np.zeros(count), np.zeros(count, np.int64))

    def update(self, state: GramSums, block: Slab, /) -> GramSums:
        """With some rows."""
        sizes = np.array([float(np.abs(A).max(initial=0.0)) for A in block.matrices])
        if (sizes >= SAFE).any():
            i = int(np.argmax(sizes >= SAFE))
            raise unsafe(self.members[i], sizes[i])
        return GramSums(
            gram(state.K, np.concatenate(block.matrices, axis=1)),
            np.maximum(state.largest, sizes),
            state.zeros + np.array(block.zeros, np.int64),
        )

    def close(self, state: GramSums) -> GramSums:
        """The sums."""
        return state

    def merge(self, left: GramSums, right: GramSums) -> GramSums:
        """That of both."""
        return GramSums(
            left.K + right.K, np.maximum(left.largest, right.largest), left.zeros + right.zeros
        )


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
    members
        Of the collection.
    places
        Numbers of the blocks of each cluster.
    inverses
        Pseudoinverse of the coefficients of each.
    trials
        Types tried, with coefficients and exponents in each: ``[cluster][type]``.
    """

    members: tuple[Member, ...]
    places: Sequence[Sequence[int]]
    inverses: Sequence[Matrix]
    trials: Sequence[Sequence[tuple[np.dtype[Any], list[Array], list[int]]]]

    def init(self, device: Device) -> list[BasisRows]:
        """No rows."""
        del device
        return []

    def update(self, state: list[BasisRows], block: Slab, /) -> list[BasisRows]:
        """With some rows of all bases."""
        one = [self._slab(c, [block.matrices[i] for i in at]) for c, at in enumerate(self.places)]
        return self.merge(state, one) if state else one

    def close(self, state: list[BasisRows]) -> list[BasisRows]:
        """The rows of a span."""
        return state

    def merge(self, left: list[BasisRows], right: list[BasisRows]) -> list[BasisRows]:
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
            members = [self.members[i] for i in self.places[c]]
            squares.append(
                np.array(
                    [
                        float(np.sum((A - decode_block(basis, C, e, m).astype(np.float64)) ** 2))
                        for A, C, e, m in zip(blocks, coefficients, exponents, members, strict=True)
                    ]
                )
            )
        return BasisRows(bases, squares)


def by_gram(run: ClusteringRun) -> Iterator[FoundCluster]:
    """From a Gram matrix of all columns; a second read completes bases, where there are any."""
    source, criteria = run.source, run.request.criteria
    members, reader = source.members, SlabReader(source)
    names, widths = [m.name for m in members], [m.shape[1] for m in members]
    summed: GramSums = run.run.once("Gram matrix", CollectionGramPass(members), reader=reader)
    zeros = {name: int(z) for name, z in zip(names, summed.zeros, strict=True) if z}
    _check_sizes(members, summed.largest)
    sketches = from_gram(summed.K, names, widths, source.rows, error=criteria.error)
    del summed
    found = cluster_sketches(sketches, criteria)
    del sketches
    usable = [c for c in found if c.within_error and not c.raw and c.rank > 0]
    place = {name: i for i, name in enumerate(names)}
    if usable:
        pass_ = _completing(members, usable, place)
        done: list[BasisRows] = run.run.once("bases and errors", pass_, reader=reader)
    passes = 2 if usable else 1
    for c in found:
        if c in usable:
            i = usable.index(c)
            shared = _pick_encoding(c, pass_.trials[i], done[i], run.members, run.request)
        elif c.rank == 0 and not c.raw and c.within_error:
            shared = without_basis(c.keys, run.members, source.rows)
        else:
            shared = as_they_are(c, source.rows)
        mine = {name: zeros[name] for name in c.keys if name in zeros}
        parts = tuple(split_off_zeros(shared, run.members))
        yield FoundCluster(parts, {}, mine, passes, c.merges)


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
    members: tuple[Member, ...], usable: Sequence[FactoredCluster], place: dict[str, int]
) -> BasisPass:
    places = [[place[key] for key in c.keys] for c in usable]
    inverses, tried = [], []
    for c, at in zip(usable, places, strict=True):
        scale = 2.0**c.exponent
        C = [scale * part for part in c.coefficients]
        inverses.append(np.linalg.pinv(np.concatenate(C, axis=1)))
        each = []
        for dtype in ladder([members[i] for i in at]):
            pairs = [narrow_coefficients(part, dtype) for part in C]
            each.append((dtype, [p[0] for p in pairs], [p[1] for p in pairs]))
        tried.append(each)
    return BasisPass(members, places, inverses, tried)


def _pick_encoding(
    c: FactoredCluster,
    tried: Sequence[tuple[np.dtype[Any], list[Array], list[int]]],
    done: BasisRows,
    members: Mapping[str, Member],
    request: ClusteringRequest,
) -> EncodedCluster:
    """The narrowest type that meets the error; the blocks as they are if none does."""
    of = [members[key] for key in c.keys]
    norms = np.sqrt(c.energies) * 2.0**c.exponent
    mode = request.criteria.mode
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
        limit = c.error_upper + request.spare if mode == "global" else request.error
        worst = max(shared.block_errors) if mode == "block" else upper
        if worst <= max(limit, 4 * hidden):
            return shared
    return as_they_are(c, of[0].shape[0])
