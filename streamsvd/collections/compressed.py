"""A compressed collection as a mapping: each matrix is read by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.encoding import StoredFactors, cast_block, decode_block
from streamsvd.collections.mathematics.residuals import values as residual
from streamsvd.collections.records import from_stored, member_of
from streamsvd.store.collections import Origin
from streamsvd.store.collections.archive import CompressedStore, Contents, RequestRecord
from streamsvd.store.collections.codes import unpack_codes
from streamsvd.store.sight import Address

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StoredCluster:
    """A cluster of a compressed collection.

    Attributes
    ----------
    members, rank, error_lower, error_upper, raw
        As of `SharedBasis`.
    n_residuals
        How many of them have a residual in whole numbers.
    """

    members: tuple[str, ...]
    rank: int
    error_lower: float
    error_upper: float
    raw: bool
    n_residuals: int


class CompressedCollection(Mapping[str, Array]):
    """Matrices by name, in their own shape and type; reading one decodes no other.

    Integers, and packed values, are the nearest to what the factors say. What was compressed as bfloat16 comes as float32.

    Attributes
    ----------
    options
        Error, rank, mode, method, and error of the principal part, that it was made with.
    version
        Its number; each addition makes one.
    """

    def __init__(self, store: CompressedStore, contents: Contents) -> None:
        self._store, self._contents = store, contents
        self._last: tuple[str, Array] | None = None
        self._sizes: dict[str, int] | None = None

    @property
    def options(self) -> RequestRecord:
        return self._contents.asked

    @property
    def version(self) -> int:
        return self._contents.version

    @property
    def name(self) -> str:
        """Where it is."""
        return self._store.name

    @property
    def rows(self) -> int:
        """Rows that all matrices have as they are seen."""
        return self._contents.rows

    @property
    def labels(self) -> dict[str, int]:
        """Number of its cluster, by name."""
        return {name: r.cluster for name, r in self._contents.members.items()}

    @property
    def block_errors(self) -> dict[str, float]:
        """Upper bound of the relative Frobenius error, by name."""
        return {name: r.error for name, r in self._contents.members.items()}

    @property
    def zeros(self) -> dict[str, int]:
        """NaN that were taken as zero, by name."""
        return {name: r.zeros for name, r in self._contents.members.items() if r.zeros}

    @property
    def clusters(self) -> tuple[StoredCluster, ...]:
        """All of them; members in the order in which they came."""
        members: list[list[str]] = [[] for _ in self._contents.clusters]
        coded = [0] * len(members)
        for name, record in self._contents.members.items():
            members[record.cluster].append(name)
            coded[record.cluster] += bool(record.codes)
        return tuple(
            StoredCluster(tuple(names), c.rank, c.error_lower, c.error_upper, c.raw, count)
            for names, c, count in zip(members, self._contents.clusters, coded, strict=True)
        )

    @property
    def weighted_names(self) -> tuple[str, ...]:
        """Names of the matrices whose errors are weighted ones."""
        return tuple(name for name, r in self._contents.members.items() if r.weighted)

    @property
    def bytes_before(self) -> int:
        """Bytes of the matrices as they were, uncompressed."""
        return sum(member_of(name, r).nbytes for name, r in self._contents.members.items())

    @property
    def bytes_after(self) -> int:
        """Bytes of all stored objects that the matrices need, metadata and checksums included."""
        return sum(length for _, length in self._contents.files.values())

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes after, as stored."""
        return self.bytes_before / max(self.bytes_after, 1)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a matrix, without reading it."""
        return tuple(self._contents.members[name].shape)

    def kind(self, name: str) -> str:
        """Name of its type as it was stored, such as ``"float32"`` or ``"bfloat16"``."""
        return self._contents.members[name].kind

    def nbytes(self, name: str) -> int:
        """Bytes of a matrix as it was stored, uncompressed."""
        return member_of(name, self._contents.members[name]).nbytes

    def read_bytes(self, names: Sequence[str]) -> int:
        """Bytes of the objects that these matrices are made of; those that several share count once."""
        records, sizes = self._contents.members, self._folder_bytes()
        folders = {self._contents.row_weights}
        for name in names:
            record = records[name]
            basis = self._contents.clusters[record.cluster].basis if record.array else ""
            folders |= {record.array, record.codes, record.steps, basis}
        return sum(sizes[folder] for folder in folders if folder)

    def _folder_bytes(self) -> dict[str, int]:
        """Bytes of each array."""
        if self._sizes is None:
            sizes: dict[str, int] = {}
            for key, (_, length) in self._contents.files.items():
                folder = key.partition("/c/")[0].removesuffix("/zarr.json").removesuffix("/c")
                sizes[folder] = sizes.get(folder, 0) + length
            self._sizes = sizes
        return self._sizes

    def for_one_task(self) -> CompressedCollection:
        """The same, which holds a basis of its own."""
        return CompressedCollection(self._store, self._contents)

    def __reduce__(self) -> tuple[Any, ...]:
        """By where it is: a process of another folder finds it too."""
        return CompressedCollection, (self._store.anywhere(), self._contents)

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return self._store.addresses(self._contents.version)

    def origin(self, name: str) -> Origin | None:
        """What is remembered of the stored array that a matrix comes from; None of any other."""
        return self._contents.members[name].origin

    def __getitem__(self, name: str) -> Array:
        record = self._contents.members[name]
        member = member_of(name, record)
        cluster = self._contents.clusters[record.cluster]
        if cluster.raw:
            values = self._array(record.array)
            return from_stored(values, member).reshape(member.layout.array_shape)
        P = np.zeros(member.shape)
        if record.array:
            coefficients = self._array(record.array)
            if not record.codes:
                basis = self._basis(cluster.basis)
                return member.layout.array(
                    decode_block(basis, coefficients, record.exponent, member)
                )
            P = StoredFactors(self._basis(cluster.basis), coefficients, record.exponent).product()
        codes = unpack_codes(self._array(record.codes), member.shape, f"{self.name}/{record.codes}")
        rows = self._array(self._contents.row_weights) if self._contents.row_weights else None
        steps = self._array(record.steps) if record.steps else np.array([record.step])
        A = P + residual(codes, steps, rows)
        return member.layout.array(cast_block(A, member))

    def _array(self, folder: str) -> Array:
        return self._store.array(self._contents, folder)

    def _basis(self, folder: str) -> Array:
        """Of a cluster; the last one used is held."""
        last = self._last
        if last is None or last[0] != folder:
            last = (folder, self._store.array(self._contents, folder))
            self._last = last
        return last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents.members)

    def __len__(self) -> int:
        return len(self._contents.members)

    def __contains__(self, name: object) -> bool:
        return name in self._contents.members

    def __repr__(self) -> str:
        return f"Compressed({self.name!r}, {len(self)} matrices in {len(self._contents.clusters)} clusters)"


def open_compressed(path: str | os.PathLike[str]) -> CompressedCollection:
    """A compressed collection that `compress` made, as a mapping of names to arrays.

    Parameters
    ----------
    path
        Folder, or URL of an object store.

    Raises
    ------
    StoreError
        If there is none, or what it says is damaged.

    Notes
    -----
    Cost: reads the list of matrices; each matrix reads its coefficients and the basis of its cluster, ``2 m r n`` flops.
    """
    store = CompressedStore.from_address(path)
    return CompressedCollection(store, store.newest())


def total_norm(norms: Any) -> float:
    """Norm of all, from the norms of each, without overflow."""
    values = np.asarray(norms, dtype=np.float64)
    top = float(values.max(initial=0.0))
    return top * float(np.linalg.norm(values / top)) if top else 0.0
