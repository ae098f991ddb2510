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
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HELD_BYTES = 1 << 30
_DEFAULT_BYTES = 128 << 10
_HUGE_BYTES = 4 << 20
_lock = threading.Lock()
_holders = 0
_free: dict[int, list[PanelBuffer]] = {}


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
            if _holders == 0:
                _free.clear()
            if libc is not None and _holders == 0:
                libc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_BYTES)
                libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_BYTES)
                libc.malloc_trim(0)


class PanelBuffer:
    """Pages of our own for one panel, outside the heap; huge pages where the kernel has them."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = max(n_bytes, 1)
        self._pages = mmap.mmap(-1, self.n_bytes)
        if hasattr(mmap, "MADV_HUGEPAGE") and self.n_bytes >= _HUGE_BYTES:
            with suppress(OSError):
                self._pages.madvise(mmap.MADV_HUGEPAGE)

    def array(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The front of the buffer as an array."""
        count = shape[0] * shape[1]
        return np.frombuffer(self._pages, dtype=dtype, count=count).reshape(shape)


@contextmanager
def panel_buffers(count: int, n_bytes: int) -> Iterator[list[PanelBuffer]]:
    """Buffers of a span, handed on to the next span of their size while memory is held."""
    taken: list[PanelBuffer] = []
    with _lock:
        while len(taken) < count and _free.get(n_bytes):
            taken.append(_free[n_bytes].pop())
    taken += [PanelBuffer(n_bytes) for _ in range(count - len(taken))]
    try:
        yield taken
    finally:
        with _lock:
            if _holders:
                _free.setdefault(n_bytes, []).extend(taken)
