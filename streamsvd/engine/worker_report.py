"""What a worker says of itself before it counts: versions, processor and BLAS, memory, device, and what it sees.

Built-in types alone, so that any other version can read it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from streamsvd.engine.device import device_fault
from streamsvd.store.sight import Address, Sight

PACKAGES = ("streamsvd", "numpy", "zarr", "dask")
LOOK_SECONDS = 45
"""A worker that has not looked by then does not see the matrix: its folder hangs."""


async def report(found: Sequence[Address], device: str = "cpu") -> dict[str, Any]:
    """What a worker says when it is asked for these addresses, and for a device."""
    seen = asyncio.to_thread(lambda: [_sight_values(address.look()) for address in found])
    try:
        sights = await asyncio.wait_for(seen, LOOK_SECONDS)
    except TimeoutError:
        silence = (None, None, f"it gave no answer within {LOOK_SECONDS} s")
        sights = [silence for _ in found]
    return {
        "versions": versions(),
        "kernels": kernels(),
        "used": psutil.Process().memory_info().rss,
        "device_fault": await asyncio.to_thread(device_fault, device),
        "sights": sights,
    }


def versions() -> dict[str, str]:
    """Of the packages that results depend on; of our own also a digest of the code, as versions stay while it changes."""
    return {name: _package_version(name) for name in PACKAGES} | {"code": _code_digest()}


@cache
def kernels() -> str:
    """What multiplies here: the processor, numpy, and each BLAS with the kernel that it chose; other kernels are other bits."""
    found = sorted(
        {
            f"{info['internal_api']} {info['version']} {info.get('architecture', '')}".rstrip()
            for info in threadpool_info()
            if info["user_api"] == "blas"
        }
    )
    return ", ".join([platform.machine(), f"numpy {_package_version('numpy')}", *found])


def _package_version(name: str) -> str:
    return str(getattr(importlib.import_module(name), "__version__", "unknown"))


@cache
def _code_digest() -> str:
    """Names and sizes of our modules, as they were when it was first asked."""
    root = Path(__file__).parents[1]
    found = sorted((p.relative_to(root).as_posix(), p.stat().st_size) for p in root.rglob("*.py"))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _sight_values(sight: Sight) -> tuple[str | None, str | None, str]:
    return sight.metadata, sight.chunk, sight.error
