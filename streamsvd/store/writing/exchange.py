"""Two names that trade places in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_HERE = -100
_EXCHANGE = 2


def exchange_paths(one: Path, other: Path) -> bool:
    """Whether two paths have traded what they name: nobody saw either of them missing.

    False where the system or its file system knows no such step, as NFS, and where it failed; both are then as they were.
    """
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None), "renameat2", None)  # glibc 2.28
    if call is None:
        return False
    return bool(call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
