"""Shipped kits for tests: laws of sources and passes, known matrices and collections, stores that count and stores that fail."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsvd.testing.kits import assert_pass, assert_source

__all__ = ["assert_pass", "assert_source"]


def __getattr__(name: str) -> Any:
    """Kits are loaded when they are used: a matrix of known spectrum needs no engine."""
    if name in __all__:
        return getattr(import_module("streamsvd.testing.kits"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
