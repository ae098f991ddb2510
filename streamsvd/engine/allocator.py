"""Memory that is held while a pass runs: page faults, not codecs, are the first cost of reading.

glibc serves every buffer of 32 MiB or more (128 KiB at first) by mmap and gives it back at once, so that
decoding a chunk faults its pages in anew: 250 000 minor faults per GB. While a pass runs the thresholds are
raised, freed buffers are reused, and the heap is trimmed when the pass ends. A worker of a cluster does not know which of
its tasks is the last: there memory is held for some seconds more. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HELD_BYTES = 1 << 30
_DEFAULT_BYTES = 128 << 10
_HUGE_BYTES = 4 << 20
LINGER_SECONDS = 2.0
"""From one task of a run to the next on its worker; the scheduler is asked between."""
_lock = threading.Lock()
_holders = 0
_last_task = 0.0
_free_buffers: dict[tuple[Callable[[int], PanelBuffer], int], list[PanelBuffer]] = {}


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None


@contextmanager
def held_memory() -> Iterator[None]:
    """Reuse freed buffers instead of returning them; trimmed when the last holder leaves."""
    _enter()
    try:
        yield
    finally:
        _leave()


@contextmanager
def held_between_tasks() -> Iterator[None]:
    """The same for a task on a worker, and for some seconds after it: the next one of its run reuses what it freed."""
    global _last_task
    _enter()
    try:
        yield
    finally:
        with _lock:
            _last_task = time.monotonic()
            starts = (
                _holders == 1
            )  # nobody else holds: no run of this process, no task, and none that lingers
        if starts:
            _start_lingering()
        else:
            _leave()


def _start_lingering() -> None:
    """A thread that holds in the place of the task."""
    try:
        threading.Thread(target=_linger, name="streamsvd-linger", daemon=True).start()
    except RuntimeError:  # the process ends, or has no thread left
        _leave()


def _linger() -> None:
    """Hold until no task has ended for some seconds."""
    while True:
        with _lock:
            left = _last_task + LINGER_SECONDS - time.monotonic()
        if left <= 0:
            break
        time.sleep(left)
    _leave()


def _enter() -> None:
    global _holders
    libc = _libc()
    with _lock:
        _holders += 1
        if libc is not None and _holders == 1:
            libc.mallopt(_M_MMAP_THRESHOLD, _HELD_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _HELD_BYTES)


def _leave() -> None:
    global _holders
    libc = _libc()
    with _lock:
        _holders -= 1
        if _holders == 0:
            _free_buffers.clear()
        if libc is not None and _holders == 0:
            libc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_BYTES)
            libc.malloc_trim(0)


def _map_pages(n_bytes: int) -> mmap.mmap:
    pages = mmap.mmap(-1, n_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE") and n_bytes >= _HUGE_BYTES:
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


class PanelBuffer:
    """Memory of one panel: ``pages`` of a device's, or pages outside the heap, huge where the kernel has them."""

    def __init__(self, n_bytes: int, pages: npt.NDArray[np.uint8] | None = None) -> None:
        self._pages = _map_pages(max(n_bytes, 1)) if pages is None else pages

    def array(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The front of the buffer as an array."""
        count = shape[0] * shape[1]
        return np.frombuffer(self._pages, dtype=dtype, count=count).reshape(shape)


@contextmanager
def panel_buffers(
    count: int, n_bytes: int, make: Callable[[int], PanelBuffer] = PanelBuffer
) -> Iterator[list[PanelBuffer]]:
    """Buffers of a span, handed on to the next span of their size and kind while memory is held."""
    taken: list[PanelBuffer] = []
    kind = (make, n_bytes)
    with _lock:
        while len(taken) < count and _free_buffers.get(kind):
            taken.append(_free_buffers[kind].pop())
    taken += [make(n_bytes) for _ in range(count - len(taken))]
    try:
        yield taken
    finally:
        with _lock:
            if _holders:
                _free_buffers.setdefault(kind, []).extend(taken)
