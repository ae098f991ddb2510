"""Every kind of stored matrix, behind one door."""

from streamsvd.store.sources.opening import open_source

__all__ = ["open_source"]
