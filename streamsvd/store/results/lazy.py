"""Arrays of a result that are read where they are used; what is damaged is named when it is read."""

from __future__ import annotations

from typing import Any

import zarr
from zarr.storage import MemoryStore

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.errors import CorruptChunkError, StoreError
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.places import location_of


class ResultArray(zarr.Array):  # type: ignore[misc]  # zarr is Any to mypy
    """A zarr array in a folder of a result.

    All ways of zarr to select, ``[...]``, ``oindex``, ``vindex`` and ``blocks``, end in these five methods. Each of them raises
    `CorruptChunkError`, which names the array and the result, where a chunk that it reads is damaged.
    """

    def get_basic_selection(self, *args: Any, **options: Any) -> Any:
        """See `zarr.Array.get_basic_selection`."""
        return self._read("get_basic_selection", *args, **options)

    def get_orthogonal_selection(self, *args: Any, **options: Any) -> Any:
        """See `zarr.Array.get_orthogonal_selection`."""
        return self._read("get_orthogonal_selection", *args, **options)

    def get_coordinate_selection(self, *args: Any, **options: Any) -> Any:
        """See `zarr.Array.get_coordinate_selection`."""
        return self._read("get_coordinate_selection", *args, **options)

    def get_mask_selection(self, *args: Any, **options: Any) -> Any:
        """See `zarr.Array.get_mask_selection`."""
        return self._read("get_mask_selection", *args, **options)

    def get_block_selection(self, *args: Any, **options: Any) -> Any:
        """See `zarr.Array.get_block_selection`."""
        return self._read("get_block_selection", *args, **options)

    def _read(self, way: str, *args: Any, **options: Any) -> Any:
        try:
            return getattr(super(), way)(*args, **options)
        except (IndexError, TypeError, StoreError):
            raise
        except Exception as error:
            # where the selection is wrong, it is for an array without any chunk too
            empty = zarr.create_array(
                MemoryStore(), shape=self.shape, chunks=self.chunks, dtype=self.dtype
            )
            getattr(empty, way)(*args, **options)
            place = place_of(str(getattr(self.store, "root", self.store)))
            raise_access_error(error, place)
            reason = (str(error) or type(error).__name__).rstrip(".")
            raise CorruptChunkError(place.name, str(place.parent), reason) from error


def lazy_array(path: PathOrUrl, name: str) -> ResultArray:
    """An array of a result, read where it is used; its metadata are taken as they are."""
    store = location_of(path / name).store(read_only=True, is_whole=True)
    array = zarr.open_array(store, mode="r", zarr_format=3)
    return ResultArray(array.async_array)
