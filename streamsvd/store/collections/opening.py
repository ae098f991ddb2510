"""One door for every kind of collection."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.foreign import (
    check_file_kind,
    check_object,
    is_sparse_object,
    member_remedy,
)
from streamsvd.checks.masks import as_array, block_dtype
from streamsvd.checks.paths import PathOrUrl, local_path
from streamsvd.errors import SpecError, StoreError
from streamsvd.protocols import is_sparse
from streamsvd.store.collections.arrays import (
    ArrayInChunks,
    ArrayInFile,
    ArrayInMemory,
    RefusedArray,
    StoredArray,
)
from streamsvd.store.collections.cutting import cut_parts
from streamsvd.store.collections.members import Collection, CollectionPart, Member, check_kind
from streamsvd.store.collections.names import (
    Columns,
    Patterns,
    check_used,
    layout_of,
    pattern_tuple,
    select_names,
)
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.safetensors import open_tensors
from streamsvd.store.explanations import path_exists, raise_access_error

MISSING = ("error", "fill", "zero")
Cut = int | tuple[int, int] | None
NamedArrays = list[tuple[str, StoredArray]]
Remarks = tuple[str, ...]


def open_collection(
    source: Any,
    *,
    select: Patterns = None,
    transpose: Patterns = None,
    columns: Columns = None,
    cut: Cut = None,
    missing: str = "error",
) -> Collection:
    """Named arrays as matrices of one number of rows; none of their values is read here.

    Parameters
    ----------
    source
        A mapping of names to arrays, or pairs of them; a zarr group, its folder, ``.zip`` or URL, whose arrays of all
        levels are taken; a folder of ``.npy`` or of ``.safetensors`` files, of all levels; one ``.safetensors`` file; with
        ``cut``, one array of any of these kinds.
    select
        Patterns such as ``"encoder.*"``; names that match none are left out.
    transpose
        Patterns of the names of matrices that are transposed.
    columns
        Columns of the matrices that arrays are made into, in C order; or a mapping of patterns to them. Left out, a
        matrix is itself, a vector a column, and of more dimensions the last makes the columns.
    cut
        Dimension along which one array is cut, into pieces of one index without the dimension; or the dimension and the
        width of pieces that have it.
    missing
        ``"error"``; ``"fill"``: absent chunks hold their fill value; ``"zero"``: they do, and NaN counts as zero.

    Raises
    ------
    StoreError
        If there is nothing there, or it cannot be read.
    ShapeError
        If it is empty, or rows differ; it names the blocks.
    SpecError
        If a name is there twice, a block is not of real numbers, or a pattern matches nothing.
    """
    if missing not in MISSING:
        raise SpecError(f'missing={missing!r} is unknown. Pass "error", "fill" or "zero".')
    name, found, remarks = _find_arrays(source, missing)
    places = _places(source)
    if cut is not None:
        cut_up = _cut_collection(name, found, cut, columns, pattern_tuple(transpose), missing)
        return replace(cut_up, remarks=remarks, places=places)
    names = [key for key, _ in found]
    kept = set(select_names(names, select))
    found = [(key, stored) for key, stored in found if key in kept]
    collected = _make_collection(name, found, columns, pattern_tuple(transpose), missing)
    return replace(collected, remarks=remarks, places=places)


def as_collection(source: Any) -> Collection:
    """A collection, opened if it is not one yet."""
    return source if isinstance(source, Collection) else open_collection(source)


def _make_collection(
    name: str, found: NamedArrays, columns: Columns, transpose: Sequence[str], missing: str
) -> Collection:
    names = [key for key, _ in found]
    check_used(names, transpose, "transpose")
    if isinstance(columns, Mapping):
        check_used(names, list(columns), "columns")
    members, parts = [], []
    for number, (key, stored) in enumerate(found):
        _check_accepted(key, stored)
        members.append(
            _member(key, stored, stored.shape, transpose, columns, origin_in(stored, None))
        )
        size = math.prod(stored.shape) * stored.dtype.itemsize
        parts.append(CollectionPart(stored, number, bytes_read=size))
    return Collection(name, tuple(members), tuple(parts), missing == "zero").require_valid()


def _check_accepted(name: str, stored: StoredArray) -> None:
    """Refuse an array for its type, or for what its attributes say."""
    if isinstance(stored, RefusedArray):
        if not stored.is_sparse:
            check_kind(name, stored.dtype, stored.kind)
        raise SpecError(f"{stored.reason} Or leave block {name!r} out with select.")
    check_kind(name, stored.dtype)


def _member(
    key: str,
    stored: StoredArray,
    shape: tuple[int, ...],
    transpose: Sequence[str],
    columns: Columns,
    origin: Origin | None,
) -> Member:
    layout = layout_of(key, shape, transpose, columns).require_valid(key)
    return Member(key, layout, stored.dtype, stored.kind, stored.where, origin)


def origin_in(stored: StoredArray, axis: int | None) -> Origin | None:
    """What is remembered of an array, or of its pieces that lack a dimension."""
    origin = stored.origin if isinstance(stored, ArrayInChunks) else None
    return origin if origin is None or axis is None else origin.without_axis(axis)


def _cut_collection(
    name: str,
    found: NamedArrays,
    cut: Cut,
    columns: Columns,
    transpose: Sequence[str],
    missing: str,
) -> Collection:
    if len(found) != 1:
        raise SpecError(
            f"cut={cut!r} cuts one array, {name} holds {len(found)}. Pass the array itself."
        )
    assert cut is not None
    (_, stored) = found[0]
    _check_accepted(name, stored)
    axis, width = (cut, None) if isinstance(cut, int) else cut
    names, parts = cut_parts(stored, axis, width)
    members = []
    keys = iter(names)
    for part in parts:
        for a, b in part.edges:
            shape = list(stored.shape)
            shape[axis] = b - a
            if part.drops_axis:
                del shape[axis % len(stored.shape)]
            origin = origin_in(stored, axis if part.drops_axis else None)
            members.append(_member(next(keys), stored, tuple(shape), transpose, columns, origin))
    return Collection(name, tuple(members), tuple(parts), missing == "zero").require_valid()


def _find_arrays(source: Any, missing: str) -> tuple[str, NamedArrays, Remarks]:
    """How messages call it, every array by name, in order of names for what is stored, and what is to be remarked."""
    if isinstance(source, str | os.PathLike) and "://" not in str(source):
        path = local_path(source, "collection")
        return str(path), *_path_arrays(path, missing)
    if isinstance(source, str) or _is_zarr(source):
        return str(source), *_zarr_arrays(source, missing)
    _refuse_sparse(source, "the array")  # one is a mapping too
    if isinstance(source, Mapping):
        return "the mapping", *_pair_arrays(source.items(), missing)
    if _is_array(source):
        return "the array", [("", _single_array("the array", source, missing)[0])], ()
    if isinstance(source, Iterable):
        pairs = list(source)
        if all(isinstance(p, tuple) and len(p) == 2 for p in pairs):
            return "the pairs", *_pair_arrays(pairs, missing)
    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    raise SpecError(
        f"{kind} is no collection. Pass a mapping of names to arrays, a zarr group, a folder of .npy or .safetensors "
        "files, or the path of one of these."
    )


def _places(source: Any) -> tuple[PathOrUrl, ...]:
    """The folder, file or URL that all of it is in."""
    if not isinstance(source, str | os.PathLike) and not _is_zarr(source):
        return ()
    from streamsvd.store.writing.separation import places

    return tuple(places(source))


def _pair_arrays(pairs: Iterable[tuple[Any, Any]], missing: str) -> tuple[NamedArrays, Remarks]:
    """Arrays by name, and what is to be remarked about any."""
    found, remarks = [], list[str]()
    for key, value in pairs:
        stored, more = _single_array(str(key), value, missing)
        found.append((str(key), stored))
        remarks += more
    return found, tuple(remarks)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")


def _is_zarr(source: Any) -> bool:
    return any(base.__module__.split(".")[0] == "zarr" for base in type(source).__mro__)


def _refuse_sparse(value: Any, name: str) -> None:
    """Refuse a matrix of which only some entries are stored: what a collection shares is dense.

    Raises
    ------
    SpecError
        It names the matrix, and what to do.
    """
    if is_sparse(value) or is_sparse_object(value):
        remedy = member_remedy(value.shape, value.dtype.itemsize)
        raise SpecError(f"{name} is sparse ({type(value).__qualname__}). {remedy}")


def _single_array(name: str, value: Any, missing: str) -> tuple[StoredArray, Remarks]:
    """An array of a mapping."""
    if _is_zarr(value):
        from streamsvd.store.collections.zarr_arrays import stored_array

        return stored_array(value, missing)
    for each in (value, getattr(value, "_meta", None)):  # of a lazy array, what its chunks are
        _refuse_sparse(each, f"block {name!r}")
    if not _is_array(value):
        try:
            value = as_array(value)
        except TypeError:  # what numpy makes no array of
            check_object(value, f"block {name!r}")
            raise
        if value.dtype == object:
            raise SpecError(f"block {name!r} holds objects, real numbers are needed. Convert it.")
    return ArrayInMemory(value, block_dtype(value)), ()


def _zarr_arrays(source: Any, missing: str) -> tuple[NamedArrays, Remarks]:
    from streamsvd.store.collections.zarr_arrays import stored_arrays  # half a second of imports

    return stored_arrays(source, missing)


def _path_arrays(path: Path, missing: str) -> tuple[NamedArrays, Remarks]:
    if not path_exists(path):
        raise StoreError(f"{path} does not exist. Check the path.")
    path = path.absolute()  # workers may run in other folders
    if path.suffix == ".npy":
        return [(path.stem, _npy_array(path))], ()
    if path.suffix == ".safetensors" and path.is_file():
        return list(open_tensors(path).items()), ()
    if path.is_dir() and not _holds_zarr(path):
        return _folder_arrays(path), ()
    if path.is_dir() or path.suffix == ".zip":
        return _zarr_arrays(path, missing)
    check_file_kind(path)
    raise StoreError(
        f"{path} is a file of a kind that holds no collection; it must end in .safetensors, .npy or .zip, or be a folder."
    )


def _holds_zarr(path: Path) -> bool:
    return any(os.path.lexists(path / name) for name in ("zarr.json", ".zgroup", ".zarray"))


def _folder_arrays(path: Path) -> NamedArrays:
    """Arrays of a folder of files, of one kind."""
    found: dict[str, list[Path]] = {}
    for kind in (".npy", ".safetensors"):
        files = sorted(p for p in path.rglob(f"*{kind}") if path_exists(p) and p.is_file())
        if files:
            found[kind] = files
    if not found:
        raise StoreError(
            f"{path} holds no zarr group, no .npy and no .safetensors files. Check the path."
        )
    if len(found) > 1:
        raise SpecError(f"{path} holds .npy and .safetensors files. Pass a folder of one kind.")
    if ".npy" in found:
        return [
            (file.relative_to(path).with_suffix("").as_posix(), _npy_array(file))
            for file in found[".npy"]
        ]
    return [pair for file in found[".safetensors"] for pair in open_tensors(file).items()]


def _npy_array(path: Path) -> ArrayInFile:
    """A ``.npy`` file; only its header is read."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            offset = file.tell()
        there = path.stat().st_size - offset
    except (OSError, ValueError, EOFError) as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is not a complete .npy file: {error}. Write it again with numpy.save."
        ) from error
    if dtype.kind in "biuf" and there < math.prod(shape) * dtype.itemsize:
        raise StoreError(
            f"{path} is not a complete .npy file: {there:,} bytes of {math.prod(shape) * dtype.itemsize:,} are there. "
            "Write it again with numpy.save."
        )
    return ArrayInFile(path, offset, tuple(shape), dtype, bool(fortran))
