"""Rows of large norm, kept as they are.

A row whose squared norm exceeds ``max(||A||_F^2 / d, value_k) / p`` may carry an eigenvector alone: a window of
the stream that lacks it says nothing of it. There are at most ``d p`` of them, and the threshold grows with the
stream, so that a row which is heavy at the end was heavy when it came (Kacham, Woodruff 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Matrix, Real

Indices = npt.NDArray[np.intp]


@dataclass(slots=True, eq=False)
class HeavyRows:
    """At most ``capacity`` rows, of the largest norms.

    Attributes
    ----------
    rows, energy
        ``(capacity, d)`` and their squared norms; the first ``count`` are in use.
    overflow
        Largest squared norm of a row that had to leave although it was heavy; 0 where none had to.
    left_out
        How many rows had to, by the exponent of their squared norm, ``(2048,)``.
    """

    capacity: int
    d: int
    rows: Matrix = field(init=False)
    energy: Real = field(init=False)
    count: int = 0
    overflow: float = 0.0
    left_out: Real = field(init=False)

    def __post_init__(self) -> None:
        self.left_out = np.zeros(2048)
        self.rows = np.zeros((self.capacity, self.d))
        self.energy = np.zeros(self.capacity)

    @property
    def used_rows(self) -> Matrix:
        """The rows, ``(count, d)``."""
        return self.rows[: self.count]

    def offer(self, rows: Matrix, energy: Real, threshold: float) -> Matrix:
        """Keep the heavy ones; returns the rows that are light, in order, and then those that had to leave."""
        heavy = energy >= threshold
        light = [rows[~heavy]] if heavy.any() else [rows]
        if heavy.any():
            light += self._take_in(rows[heavy], energy[heavy])
        light += self._drop_light(threshold)
        return np.concatenate(light, axis=0) if len(light) > 1 else light[0]

    def _take_in(self, rows: Matrix, energy: Real) -> list[Matrix]:
        """Keep the largest of these and of those held; returns what has to leave, the held ones first."""
        free = self.capacity - self.count
        if rows.shape[0] <= free:
            self._put(slice(self.count, self.count + rows.shape[0]), rows, energy)
            self.count += rows.shape[0]
            return []
        both = np.concatenate([self.energy[: self.count], energy])
        chosen = np.zeros(both.size, dtype=bool)
        chosen[np.argsort(-both, kind="stable")[: self.capacity]] = True
        leaving = both[~chosen]
        self.overflow = max(self.overflow, float(leaving.max()))
        np.add.at(self.left_out, np.frexp(leaving)[1] + 1024, 1)
        old, new = chosen[: self.count], chosen[self.count :]
        left = [self.used_rows[~old].copy(), rows[~new]]
        room = np.concatenate([np.flatnonzero(~old), np.arange(self.count, self.capacity)])
        self._put(room[: int(np.count_nonzero(new))], rows[new], energy[new])
        self.count = self.capacity
        return left

    def _put(self, where: slice | Indices, rows: Matrix, energy: Real) -> None:
        self.rows[where], self.energy[where] = rows, energy

    def room_needed(self, threshold: float) -> int:
        """Rows for which there should have been room, about: those held, and those that left and are still heavy."""
        heavy = int(np.count_nonzero(self.energy[: self.count] >= threshold))
        exponent = int(np.frexp(threshold)[1]) + 1024
        return heavy + int(self.left_out[exponent:].sum())

    def _drop_light(self, threshold: float) -> list[Matrix]:
        """Rows that the threshold has overtaken."""
        keep = self.energy[: self.count] >= threshold
        if keep.all():
            return []
        left = self.used_rows[~keep].copy()
        kept = int(np.count_nonzero(keep))
        self.rows[:kept], self.energy[:kept] = self.used_rows[keep], self.energy[: self.count][keep]
        self.count = kept
        return [left]
