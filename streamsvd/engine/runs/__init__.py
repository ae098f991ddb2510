"""Passes over runs of rows: how they are read within the memory, and run as graphs one after another."""

from streamsvd.engine.runs.info import RunInfo
from streamsvd.engine.runs.passes import Passes, watched
from streamsvd.engine.runs.reading import Arrangement, Rows, allowed_bytes, arranged

__all__ = ["Arrangement", "Passes", "Rows", "RunInfo", "allowed_bytes", "arranged", "watched"]
