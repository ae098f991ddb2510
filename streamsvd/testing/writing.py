"""Matrices written as zarr arrays, for demonstrations and tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import zarr

from streamsvd.checks.masks import require_unmasked
from streamsvd.testing.spectra import KnownMatrix

CHUNK_BYTES = 16 << 20


def write_known(
    path: str | os.PathLike[str],
    A: KnownMatrix,
    *,
    threads: int = 2,
    done: Callable[[float], None] = lambda share: None,
) -> None:
    """Write a matrix of known spectrum in chunks of whole rows, uncompressed: its entries hardly compress.

    Parameters
    ----------
    path
        Folder that does not exist yet.
    A
        The matrix.
    threads
        Chunks made and written at once; each takes about three times its size.
    done
        Told the share that is written, after each chunk.
    """
    rows = max(1, min(A.n_rows, CHUNK_BYTES // (A.nbytes // A.n_rows)))
    array = zarr.create_array(
        str(path), shape=A.shape, dtype=A.dtype, chunks=(rows, A.n_cols), compressors=None
    )
    starts = range(0, A.n_rows, rows)

    def one(start: int) -> None:
        array[start : start + rows] = A.rows(start, start + rows)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for count, _ in enumerate(pool.map(one, starts), start=1):
                done(count / len(starts))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_grid(
    path: str | os.PathLike[str],
    name: str,
    values: npt.NDArray[Any],
    dims: tuple[str, ...],
    attributes: Mapping[str, Any],
    *,
    chunk: int,
    coordinates: Mapping[str, tuple[npt.NDArray[Any], Mapping[str, Any]]] = MappingProxyType({}),
) -> None:
    """Write one array with named dimensions into a zarr group, ``chunk`` entries of the first a chunk.

    Beside it are coordinates of dimensions, by name: values and attributes.
    """
    group = zarr.create_group(str(path))
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, *values.shape[1:]),
        dimension_names=dims,
        attributes=dict(attributes),
    )
    array[...] = require_unmasked(values, name)
    for dimension, (labels, said) in coordinates.items():
        beside = group.create_array(
            dimension,
            shape=labels.shape,
            dtype=labels.dtype,
            dimension_names=(dimension,),
            attributes=dict(said),
            config={"write_empty_chunks": True},
        )
        beside[...] = labels
