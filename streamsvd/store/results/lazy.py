"""Arrays of a result that are read where they are used; what is damaged is named when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from streamsvd.errors import CorruptChunkError, StoreError
from streamsvd.store.explanations import raise_access_error


class ResultArray(zarr.Array):  # type: ignore[misc]  # zarr is Any to mypy
    """A zarr array in a folder of a result."""

    def __getitem__(self, selection: Any) -> Any:
        """What is selected.

        Raises
        ------
        CorruptChunkError
            If a chunk of it is damaged; it names the array and the result.
        """
        try:
            return super().__getitem__(selection)
        except (IndexError, TypeError, StoreError):
            raise
        except Exception as error:
            np.broadcast_to(np.int8(0), self.shape)[
                selection
            ]  # raises where the selection is wrong
            place = Path(str(getattr(self.store, "root", self.store)))
            raise_access_error(error, place)
            reason = (str(error) or type(error).__name__).rstrip(".")
            raise CorruptChunkError(place.name, str(place.parent), reason) from error


def lazy_array(path: Path, name: str) -> ResultArray:
    """An array of a result, read where it is used; its metadata are taken as they are."""
    array = zarr.open_array(str((path / name).absolute()), mode="r", zarr_format=3)
    return ResultArray(array.async_array)
