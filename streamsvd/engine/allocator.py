"""Memory that is held while a pass runs: page faults, not codecs, are the first cost of reading.

glibc serves every buffer of 32 MiB or more (128 KiB at first) by mmap and gives it back at once, so that
decoding a chunk faults its pages in anew: 250 000 minor faults per GB. While a pass runs the thresholds are
raised, freed buffers are reused, and the heap is trimmed when the pass ends. Elsewhere than on glibc
nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HELD_BYTES = 1 << 30
_DEFAULT_BYTES = 128 << 10
_lock = threading.Lock()
_holders = 0


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None


@contextmanager
def held_memory() -> Iterator[None]:
    """Reuse freed buffers instead of returning them; trimmed when the last holder leaves."""
    global _holders
    libc = _libc()
    with _lock:
        _holders += 1
        if libc is not None and _holders == 1:
            libc.mallopt(_M_MMAP_THRESHOLD, _HELD_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _HELD_BYTES)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if libc is not None and _holders == 0:
                libc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_BYTES)
                libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_BYTES)
                libc.malloc_trim(0)


class PanelBuffer:
    """Pages of our own for one panel: reused for every panel of a span, returned to the system at its end."""

    def __init__(self, n_bytes: int) -> None:
        self._pages = mmap.mmap(-1, max(n_bytes, 1))

    def array(self, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        """The front of the buffer as an array."""
        count = shape[0] * shape[1]
        return np.frombuffer(self._pages, dtype=dtype, count=count).reshape(shape)
