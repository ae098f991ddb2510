"""Passes over runs of rows: how they are read within the memory, and run as graphs one after another."""

from streamsvd.engine.runs.info import RunInfo
from streamsvd.engine.runs.passes import Passes, blocks_with_events
from streamsvd.engine.runs.reading import RowSchedule, RowStream, allowed_bytes, plan_row_schedule

__all__ = [
    "RowSchedule",
    "Passes",
    "RowStream",
    "RunInfo",
    "allowed_bytes",
    "plan_row_schedule",
    "blocks_with_events",
]
