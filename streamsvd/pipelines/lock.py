"""One run of a pipeline at a time: a lock that goes with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamsvd.errors import ConflictError
from streamsvd.store.explanations import explain_errors

try:
    import fcntl
except ImportError:  # pragma: no cover - elsewhere than on POSIX nothing is locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def run_lock(state: Path) -> Iterator[None]:
    """Hold the lock of a pipeline's state.

    Raises
    ------
    ConflictError
        If another process holds it; it says which.
    """
    with explain_errors(state):
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    f"a run of this pipeline is going on ({_holder(handle)}): two at a time would do the same work. Wait for it, or end it."
                ) from None
        with explain_errors(state):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def lock_holder(state: Path) -> str:
    """Which process runs a pipeline now; empty where none does."""
    try:
        handle = os.open(state / "lock", os.O_RDONLY)
    except OSError:
        return ""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return _holder(handle)
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    """What the process that holds the lock has written into its file."""
    return os.pread(handle, 64, 0).decode(errors="replace").strip() or "another process"
