"""An array in zarr v2 or v3 as a matrix: what its metadata say, checked before anything is trusted."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore, WrapperStore, ZipStore

from streamsvd.checks.paths import FILE_SCHEME
from streamsvd.errors import ShapeError, SpecError, StoreError, StreamSVDError
from streamsvd.labels import Labels
from streamsvd.protocols import Source
from streamsvd.store.explanations import access_error, raise_access_error
from streamsvd.store.objects import has_object_store
from streamsvd.store.sight import Address
from streamsvd.store.sources.beside import StoredVariable
from streamsvd.store.sources.border import check_dtype, check_rectangle
from streamsvd.store.sources.conventions import ROWS, Conventions, read_conventions
from streamsvd.store.sources.flatten import Flattening, Rows, flattening
from streamsvd.store.sources.kinds import ZARR_METADATA
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.zarr_store.anndata import (
    RAW,
    ROOT,
    WHOLE,
    check_group,
    encoding_of,
    is_sparse_group,
)
from streamsvd.store.sources.zarr_store.chunked import ChunkedArray
from streamsvd.store.sources.zarr_store.decoder import Decoder, decoder_v2, decoder_v3
from streamsvd.store.sources.zarr_store.hierarchy import (
    Hierarchy,
    absolute_store,
    hierarchy,
    metadata_keys,
    open_unconsolidated,
    own_array,
)
from streamsvd.store.sources.zarr_store.shards import Shards
from streamsvd.store.sources.zarr_store.url_store import UrlStore, explain_url, url_of

METADATA = ZARR_METADATA
NAMES_BESIDE = ("coordinates", "bounds", "grid_mapping", "ancillary_variables")
"""Attributes that name arrays beside another."""


@dataclass(frozen=True, eq=False)
class ZarrSource:
    """An array of a zarr store, flattened to a matrix.

    Portable between processes as far as its store is: a ``MemoryStore`` is copied when it is pickled.
    """

    __repr__ = matrix_text

    array: ChunkedArray
    layout: Flattening
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.array.name

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.packing.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return self.layout.chunks(self.array.decoder.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return self.array.read_bytes

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        for box, place in self.layout.views(rows, columns, out):
            self.array.read(box, place)

    def locate(self, row: int, column: int, /) -> str:
        return self.array.locate(self.layout.index(row, column))

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return self.array.addresses(self.layout.extents)

    @property
    def labels(self) -> Labels:
        """What its group says of its rows and columns."""
        from streamsvd.store.sources.zarr_store.labels import (
            zarr_labels,
        )  # which opens arrays as this module does

        return zarr_labels(self)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array of its group; KeyError where there is none."""
        from streamsvd.store.sources.zarr_store.neighbours import zarr_neighbour

        return zarr_neighbour(self, name)

    def beside(self) -> list[StoredVariable]:
        """All arrays of its group but itself."""
        from streamsvd.store.sources.zarr_store.neighbours import zarr_variables

        return zarr_variables(self)


def open_zarr(source: Path | str | Store | zarr.Array | zarr.Group, request: OpenRequest) -> Source:
    """An array in a zarr folder, zip file, URL, store or group as a source; no chunk is read but offsets of a sparse matrix.

    Raises
    ------
    StoreError
        If there is no readable zarr array or group, or it uses what cannot be read strictly.
    SpecError
        If it holds several matrices, or none of this name.
    """
    try:
        node = source if isinstance(source, zarr.Array | zarr.Group) else open_node(source)
        if (group := _sparse_group(node, request.variable)) is not None:
            from streamsvd.store.sources.zarr_store.sparse_groups import open_sparse_group

            return open_sparse_group(group, request)
        return _make_source(*_pick_array(node, request.variable), request.rows, request.missing)
    except StreamSVDError:
        raise
    except (
        Exception
    ) as error:  # whatever damaged metadata make zarr, or the reading of them, trip over
        raise_access_error(error, store_name(source))
        explain_url(store_name(source), error)
        raise StoreError(
            f"the zarr metadata of {store_name(source)} cannot be read: "
            f"{type(error).__name__}: {error}. "
            "Restore zarr.json (or .zarray) from a copy, or write the array again."
        ) from error


def open_node(source: Path | str | Store) -> zarr.Array | zarr.Group:
    """The array or group at a place, by its own metadata.

    Raises
    ------
    StoreError
        If there is none.
    """
    store: Store | Path | str = source.absolute() if isinstance(source, Path) else source
    if isinstance(store, str) and has_object_store(store):
        store = UrlStore(store)
    if isinstance(source, Path) and source.suffix == ".zip" and not source.is_dir():
        store = ZipStore(source.absolute(), mode="r")
    try:
        return open_unconsolidated(store)
    except FileNotFoundError as error:
        if isinstance(store, UrlStore) and store.denial is not None:
            raise store.denial from error
        if isinstance(source, Path):
            check_metadata(source)
            refuse_own_output(source)
        shards = (
            ", or one that holds the files of a matrix, such as .npy, to be stacked"
            if isinstance(source, Path)
            else ""
        )
        raise StoreError(
            f"{store_name(source)} holds no zarr array or group (no zarr.json, .zarray or .zgroup). "
            f"Give the folder that contains one of these{shards}."
        ) from error


def check_metadata(path: Path) -> None:
    """Refuse metadata of which zarr says that they are not there, though there is something of their name.

    Raises
    ------
    AccessError
        For a link without a target, or a folder in their place.
    """
    for name in METADATA:
        if not os.path.lexists(path / name):
            continue
        try:
            (path / name).open("rb").close()
        except OSError as error:
            raise access_error(error, "read", path / name) from error


def refuse_own_output(path: Path) -> None:
    """Refuse what was made here and is no matrix.

    Raises
    ------
    StoreError
        It says what it is, and what shows it.
    """
    if (path / "model.json").is_file():
        raise StoreError(
            f"{path} is a model, not a matrix. streamsvd log, or streamsvd.Model.open, shows what it holds."
        )
    if (path / "collection.json").is_file():
        raise StoreError(
            f"{path} is a compressed collection, not a matrix. streamsvd.open_compressed reads its matrices, streamsvd "
            "decompress writes them."
        )


def store_name(source: Any) -> str:
    """How messages call a store, or what is in one."""
    if isinstance(source, zarr.Array | zarr.Group):
        return "/".join(part for part in (store_name(source.store), source.path) if part)
    if isinstance(source, WrapperStore):
        return store_name(source._store)
    if isinstance(source, LocalStore):
        return str(source.root)
    if isinstance(source, ObjectStore):
        return url_of(source)
    if isinstance(source, FsspecStore):
        return str(source.fs.unstrip_protocol(source.path)).removeprefix(FILE_SCHEME)
    if isinstance(source, ZipStore):
        return str(source.path)
    return str(source) if isinstance(source, Path | str) else type(source).__name__


def _sparse_group(node: zarr.Array | zarr.Group, variable: str | None) -> zarr.Group | None:
    """The group that stands for the sparse matrix that is meant; None where it is another."""
    if isinstance(node, zarr.Array):
        return None
    found: Any = node
    if variable is not None:
        try:
            found = hierarchy(node, store_name(node)).member(variable)
        except KeyError:
            return None
    if isinstance(found, zarr.Group) and encoding_of(found) in (ROOT, RAW):
        found = found.get(WHOLE)
    return found if is_sparse_group(found) else None


def _pick_array(
    node: zarr.Array | zarr.Group, variable: str | None
) -> tuple[zarr.Array, tuple[str, ...]]:
    """The array that is meant, by its own metadata, and what is to be remarked about others."""
    where = store_name(node)
    if isinstance(node, zarr.Array):
        if variable is not None:
            raise SpecError(
                f"{where} is one array; variable={variable!r} needs a group. Leave it out."
            )
        return own_array(node, where)
    group = hierarchy(node, where)
    if variable is not None:
        return _find_variable(group, variable)
    check_group(node, where, node.path)
    if encoding_of(node) == ROOT and isinstance(node.get(WHOLE), zarr.Array):
        return _find_variable(group, WHOLE)
    members, remarks = group.list_members()
    arrays = {name: member for name, member in members.items() if isinstance(member, zarr.Array)}
    beside = _names_beside(arrays)
    eligible = [
        name for name, array in arrays.items() if array.ndim >= 2 and array.dtype.kind in "iufc"
    ]
    eligible = [name for name in eligible if name not in beside] or eligible
    if len(eligible) == 1:
        return arrays[eligible[0]], remarks
    if eligible:
        names = ", ".join(repr(name) for name in sorted(eligible))
        raise SpecError(f"{where} holds several matrices: {names}. Choose one with variable=.")
    named = {name: member for name, member in members.items() if is_sparse_group(member)}
    raise SpecError(
        f"{where} is a group without a numeric array of two or more dimensions; {_contents_text(arrays | named)}."
    )


def _names_beside(arrays: Mapping[str, zarr.Array]) -> set[str]:
    """Arrays that others name as what stands along their dimensions, by the CF conventions, and are no matrices."""
    return {
        name
        for array in arrays.values()
        for attribute in NAMES_BESIDE
        for name in str(array.attrs.get(attribute, "")).split()
    }


def _find_variable(group: Hierarchy, variable: str) -> tuple[zarr.Array, tuple[str, ...]]:
    try:
        found = group.member(variable)
    except KeyError as error:
        members = group.list_members()[0].items()
        arrays = {name: m for name, m in members if isinstance(m, zarr.Array)}
        named = {name: m for name, m in members if is_sparse_group(m)}
        contents = _contents_text(arrays | named | _inner_arrays(group, variable))
        copied = ""
        if variable.strip("/") in group.copy:
            copied = " Consolidated metadata name it, but it has none of its own: restore them from a copy."
        raise SpecError(
            f"{group.name} has no variable {variable!r}; {contents}.{copied}"
        ) from error
    array, below = _pick_array(found, None)
    return array, group.remarks(array) or below


def _inner_arrays(group: Hierarchy, variable: str) -> dict[str, Any]:
    """The arrays, and sparse matrices, of the group within that a name leads to."""
    inner = variable.strip("/").rpartition("/")[0]
    try:
        parent = group.member(inner) if inner else None
    except KeyError:
        return {}
    if not isinstance(parent, zarr.Group):
        return {}
    keys = [*parent.array_keys(), *(key for key, g in parent.groups() if is_sparse_group(g))]
    return dict.fromkeys(f"{inner}/{key}" for key in keys)


def _contents_text(arrays: Mapping[str, Any]) -> str:
    return "it holds " + (", ".join(repr(name) for name in sorted(arrays)) or "no arrays")


def _make_source(
    array: zarr.Array, remarks: tuple[str, ...], rows: Rows, missing: str
) -> ZarrSource:
    where = store_name(array)
    check_dtype(np.dtype(array.dtype), where)
    attributes = dict(array.attrs)
    names = dimension_names(array, attributes)
    if rows is None and names is not None and attributes.get(ROWS) in names:
        rows = str(attributes[ROWS])
    layout = flattening(array.metadata.shape, names, rows, where)
    return ZarrSource(chunked_array(array, missing), layout, remarks)


def chunked_array(array: zarr.Array, missing: str) -> ChunkedArray:
    """An array of any number of dimensions, to be read strictly; absent chunks are filled unless ``missing="error"``."""
    where = store_name(array)
    decoder, shards = _decoder(array, np.dtype(array.dtype), where)
    return ChunkedArray(
        store=absolute_store(array.store),
        encode_key=_KeyEncoder(array.path, array.metadata),
        decoder=decoder,
        packing=Packing(conventions_of(array, decoder.dtype)),
        shards=shards,
        fill_value=array.metadata.fill_value,
        fill_missing=missing != "error",
        name=where,
        metadata_keys=metadata_keys(array),
        extents=tuple(array.metadata.shape),
    )


def conventions_of(array: zarr.Array, dtype: np.dtype[Any]) -> Conventions:
    """What the attributes of an array say of its values, which are stored in this type."""
    attributes = dict(array.attrs)
    return read_conventions(
        dtype,
        attributes,
        array.metadata.fill_value,
        where=store_name(array),
        zarr_format=array.metadata.zarr_format,
        named=dimension_names(array, attributes) is not None,
    )


@dataclass(frozen=True, eq=False)
class _KeyEncoder:
    """Key of a chunk in its store."""

    prefix: str
    metadata: Any

    def __call__(self, coords: tuple[int, ...]) -> str:
        key = self.metadata.encode_chunk_key(coords)
        return f"{self.prefix}/{key}" if self.prefix else key


def dimension_names(
    array: zarr.Array, attributes: Mapping[str, Any]
) -> Sequence[str | None] | None:
    """Names of the dimensions, None if there are none, or not one for each."""
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or len(names) != array.ndim:
        return None
    return [None if name is None else str(name) for name in names]


def _decoder(array: zarr.Array, dtype: np.dtype[Any], where: str) -> tuple[Decoder, Shards | None]:
    """Decoder of one chunk (of one inner chunk, if the array is sharded) and the layout of the shards."""
    try:
        if array.metadata.zarr_format == 2:
            return _decoder_v2(array.metadata, dtype, where), None
        return _decoder_v3(array.metadata, dtype, where)
    except NotImplementedError as error:
        raise StoreError(
            f"{where} uses {error}, which cannot be read strictly. "
            "Write it again with codecs zarr has built in, such as zstd, blosc, gzip or crc32c."
        ) from error


def _decoder_v2(metadata: Any, dtype: np.dtype[Any], where: str) -> Decoder:
    filters = [codec.get_config() for codec in metadata.filters or ()]
    compressor = None if metadata.compressor is None else metadata.compressor.get_config()
    chunk = _chunk_shape(metadata.chunks, dtype, where)
    return decoder_v2(chunk, dtype, metadata.order, compressor, filters)


def _decoder_v3(metadata: Any, dtype: np.dtype[Any], where: str) -> tuple[Decoder, Shards | None]:
    grid = metadata.chunk_grid
    if not hasattr(grid, "chunk_shape"):
        raise NotImplementedError(f"the chunk grid {type(grid).__name__}")
    if getattr(metadata, "storage_transformers", ()):
        raise NotImplementedError("a storage transformer")
    chunk = _chunk_shape(grid.chunk_shape, dtype, where)
    codecs = [codec.to_dict() for codec in metadata.codecs]
    if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
        return decoder_v3(chunk, dtype, codecs), None
    config = codecs[0]["configuration"]
    index_codecs = [codec["name"] for codec in config["index_codecs"]]
    if index_codecs not in (["bytes"], ["bytes", "crc32c"]):
        raise NotImplementedError(f"{' and '.join(index_codecs)} for the index of its shards")
    inner = _chunk_shape(config["chunk_shape"], dtype, where)
    if len(chunk) != len(inner) or any(o % i for o, i in zip(chunk, inner, strict=True)):
        raise NotImplementedError(f"shards of shape {chunk} that chunks of {inner} do not divide")
    counts = tuple(outer // part for outer, part in zip(chunk, inner, strict=True))
    shards = Shards(counts, config["index_location"] == "end", "crc32c" in index_codecs)
    return decoder_v3(inner, dtype, config["codecs"]), shards


def _chunk_shape(chunk: Sequence[int], dtype: np.dtype[Any], where: str) -> tuple[int, ...]:
    shape = tuple(int(length) for length in chunk)
    if any(length < 1 for length in shape):
        raise ShapeError(f"{where} has chunks of shape {shape}; every length must be at least 1.")
    if math.prod(shape) * dtype.itemsize > np.iinfo(np.int64).max:
        raise ShapeError(f"{where} has chunks of shape {shape}, more bytes than can be addressed.")
    return shape
