"""What every verb of rows says of how its result came about."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a result came about.

    Attributes
    ----------
    n_rows
        Rows seen.
    passes
        Passes over them that the result rests on.
    bytes_read
        Decoded bytes that this run asked of the store; less than its passes where it went on from saves.
    elapsed_s
        Wall seconds.
    peak_bytes, projected_bytes
        Resident memory of this process above the start, measured, and projected before reading.
    seed
        Of all random numbers.
    warnings
        What a careful user should know, a sentence each.
    dropped_columns
        Columns left out: without any value, or by the mask.
    """

    n_rows: int
    passes: int
    bytes_read: int
    elapsed_s: float
    peak_bytes: int
    projected_bytes: int
    seed: int
    warnings: tuple[str, ...]
    dropped_columns: tuple[int, ...] = field(default=(), kw_only=True)
