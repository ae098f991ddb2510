"""What is handed out of a clustering: who shares a basis with whom, and what is certified of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from streamsvd.collections.compressed import CompressedCollection, StoredCluster
from streamsvd.collections.encoding import EncodedCluster, decode_block
from streamsvd.collections.mathematics import MergeStep
from streamsvd.collections.options import ClusterOptions, CompressionOptions
from streamsvd.collections.planning import CollectionPlan
from streamsvd.info import Info
from streamsvd.store.collections import Member
from streamsvd.store.results.saving import Result

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Matrices that share a basis.

    Attributes
    ----------
    members
        Their names, ascending.
    rank
        Columns of the basis.
    basis
        Orthonormal but for rounding, ``(rows, rank)``, in the type of the blocks.
    error_lower, error_upper
        Relative Frobenius error of all together: no basis of this rank has one below, this has none above. In mode
        ``"block"`` each block counts as of norm 1.
    raw
        Whether the matrices are better kept as they are: factors would be no smaller, or miss the error. Then there is no
        basis, and no error.
    """

    members: tuple[str, ...]
    rank: int
    basis: Array
    error_lower: float
    error_upper: float
    raw: bool


@dataclass(frozen=True, slots=True, eq=False)
class ClusterResult(Result):
    """Which matrices of a collection share a basis.

    Attributes
    ----------
    labels
        Number of its cluster, by name.
    clusters
        In the order of their first names.
    block_errors
        Upper bound of the relative Frobenius error of each matrix, the rounding of stored factors and of the type of the
        matrix included.
    compression_ratio
        Bytes of the matrices over bytes of factors, and of matrices kept as they are.
    reads
        Bytes decoded by this run over bytes of the collection.
    merges
        Who joined whom: the dendrogram. Matrices of zeros are in none. Of proposed clusters, what the second read joined.
    zeros
        Entries that were NaN and count as zero, by name of the block.
    input_bytes
        Bytes of the inputs that were read beside the collection.
    options, plan, info
        What was asked, how it was done, and how it came about.
    """

    labels: dict[str, int]
    clusters: tuple[Cluster, ...]
    block_errors: dict[str, float]
    compression_ratio: float
    reads: float
    merges: tuple[MergeStep, ...]
    zeros: dict[str, int]
    input_bytes: int
    options: ClusterOptions
    plan: CollectionPlan
    info: Info
    _encoded_clusters: tuple[EncodedCluster, ...]
    _members: dict[str, Member]

    def __repr__(self) -> str:
        return (
            f"<ClusterResult: {len(self.labels):,} matrices in {len(self.clusters):,} clusters, {self.compression_ratio:.3g} times less, "
            f"{self.info.cost}>"
        )

    def coefficients(self, name: str) -> Array:
        """``(rank, columns)`` of a matrix in the basis of its cluster, as float64.

        Raises
        ------
        KeyError
            If there is no such matrix.
        """
        shared = self._encoded_clusters[self.labels[name]]
        return shared.coefficients_of(name)

    def approximation(self, name: str) -> Array:
        """A matrix from its factors, in its own shape and type.

        Raises
        ------
        KeyError
            If there is no such matrix, or it is kept as it is.
        """
        shared, member = self._encoded_clusters[self.labels[name]], self._members[name]
        if shared.raw:
            raise KeyError(f"{name!r} is kept as it is; read it from the collection.")
        i = shared.names.index(name)
        A = decode_block(shared.basis, shared.coefficients[i], shared.exponents[i], member)
        return member.layout.array(A)


def labels_of(shared: Sequence[EncodedCluster]) -> dict[str, int]:
    """Number of its cluster, by name."""
    return {name: i for i, s in enumerate(shared) for name in s.names}


def ratio_of(shared: Sequence[EncodedCluster], members: dict[str, Member]) -> float:
    """Bytes of the matrices over bytes of clusters as stored."""
    whole = sum(m.nbytes for m in members.values())
    stored = sum(s.nbytes(members) for s in shared)
    return whole / stored if stored else (float("inf") if whole else 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class CompressionReport:
    """What was written.

    Attributes
    ----------
    path, version
        Where, and its number.
    labels, clusters, block_errors
        Of all matrices there, as of `CompressedCollection`.
    bytes_before, bytes_after
        Of the matrices, and of all stored objects.
    reads, zeros, input_bytes, options, plan, info
        As of `ClusterResult`; after an addition, of the matrices that were added.
    """

    path: str
    version: int
    labels: dict[str, int]
    clusters: tuple[StoredCluster, ...]
    block_errors: dict[str, float]
    bytes_before: int
    bytes_after: int
    reads: float
    zeros: dict[str, int]
    input_bytes: int
    options: CompressionOptions
    plan: CollectionPlan
    info: Info

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes after, as stored."""
        return self.bytes_before / max(self.bytes_after, 1)


def compression_report(
    held: CompressedCollection,
    options: CompressionOptions,
    plan: CollectionPlan,
    info: Info,
    **facts: Any,
) -> CompressionReport:
    """What is handed out of a version that was made."""
    return CompressionReport(
        path=held.name, version=held.version, labels=held.labels, clusters=held.clusters, block_errors=held.block_errors,
        bytes_before=held.bytes_before, bytes_after=held.bytes_after, options=options, plan=plan, info=info, **facts,
    )  # fmt: skip
