"""Arrays in a ``.npz`` file that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.store.explained import explained


def written(out: Path, arrays: Mapping[str, Any]) -> None:
    """Write them beside the file and rename it into place.

    Raises
    ------
    StoreError
        If the folder is not there, or has no room.
    """
    partial = out.with_name(f".{out.name}.partial")
    with explained(out, "Choose a folder that exists and has room."), partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        partial.replace(out)
