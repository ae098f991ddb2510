"""What is handed out of a clustering: who shares a basis with whom, and what is certified of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from streamsvd.collections.compressed import CompressedCollection, StoredCluster
from streamsvd.collections.encoding import EncodedCluster, decode_block
from streamsvd.collections.mathematics import MergeStep
from streamsvd.store.collections import Member

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClusteringInfo:
    """How a clustering came about.

    Attributes
    ----------
    n_blocks, rows, columns
        Matrices, their rows, and the columns of all.
    backend
        ``"primal"``, ``"gram"`` or ``"propose"``.
    passes, bytes_read, elapsed_s
        Reads of the collection, bytes decoded by them, and wall seconds.
    peak_bytes, projected_bytes, budget_bytes
        Memory measured, projected before reading, and allowed.
    zeros
        Entries that were NaN and count as zero, by block; empty unless that was asked for.
    seed
        Of the projections.
    input_bytes
        Bytes of the inputs that were read beside the collection.
    warnings
        What a careful user should know.
    """

    n_blocks: int
    rows: int
    columns: int
    backend: str
    passes: int
    bytes_read: int
    elapsed_s: float
    peak_bytes: int
    projected_bytes: int
    budget_bytes: int
    zeros: dict[str, int]
    seed: int
    input_bytes: int
    warnings: tuple[str, ...]


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
class ClusterResult:
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
        Bytes decoded over bytes of the collection.
    info
        How it came about.
    merges
        Who joined whom: the dendrogram. Matrices of zeros are in none. Of proposed clusters, what the second read joined.
    """

    labels: dict[str, int]
    clusters: tuple[Cluster, ...]
    block_errors: dict[str, float]
    compression_ratio: float
    reads: float
    info: ClusteringInfo
    merges: tuple[MergeStep, ...]
    _encoded_clusters: tuple[EncodedCluster, ...]
    _members: dict[str, Member]

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


def clustering(
    shared: tuple[EncodedCluster, ...],
    members: dict[str, Member],
    reads: float,
    info: ClusteringInfo,
    merges: tuple[MergeStep, ...],
) -> ClusterResult:
    """The result of clusters as they are stored."""
    whole = sum(m.nbytes for m in members.values())
    stored = sum(s.nbytes(members) for s in shared)
    return ClusterResult(
        {name: i for i, s in enumerate(shared) for name in s.names},
        tuple(
            Cluster(s.names, s.rank, s.basis, s.error_lower, s.error_upper, s.raw) for s in shared
        ),
        {name: e for s in shared for name, e in zip(s.names, s.block_errors, strict=True)},
        whole / stored if stored else (float("inf") if whole else 1.0),
        reads,
        info,
        merges,
        shared,
        members,
    )


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
    reads, info
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
    info: ClusteringInfo

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes after, as stored."""
        return self.bytes_before / max(self.bytes_after, 1)


def compression(
    held: CompressedCollection, reads: float, info: ClusteringInfo
) -> CompressionReport:
    """What is handed out of a version that was made."""
    return CompressionReport(
        held.name, held.version, held.labels, held.clusters, held.block_errors, held.bytes_before, held.bytes_after, reads, info
    )  # fmt: skip
