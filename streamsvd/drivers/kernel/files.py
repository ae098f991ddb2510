"""Files of arrays that may be damaged, or anything else than what they should be."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, IndexError, zipfile.BadZipFile, msgspec.MsgspecError,
)  # fmt: skip
"""What reading a file that is none of ours may raise."""


def arrays_in(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a ``.npz`` file by name; nothing in it is executed."""
    with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def damage(error: BaseException) -> str:
    """What was found, in words."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    text = str(error) or type(error).__name__
    return "it is no .npz file of arrays" if "pickle" in text else text.rstrip(".")


def check_shapes(*groups: tuple[npt.NDArray[Any], ...]) -> None:
    """Refuse arrays of which those in a group do not have one length.

    Raises
    ------
    ValueError
        With the lengths.
    """
    for group in groups:
        lengths = [a.shape[0] for a in group]
        if len(set(lengths)) > 1:
            raise ValueError(f"its arrays have {lengths} rows, which should be as many")
