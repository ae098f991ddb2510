"""Do the rows come as if in random order? A test of 24 bounded numbers of each row, over windows of the stream.

Seven fixed random projections of the row's direction, its norm against that of the first rows, four projections on a
basis that earlier rows gave, and the squares of these twelve. One-way analysis of variance over windows: the largest
F is the design effect, by which standard errors of means over windows are too small; the smallest p, times 24, says
how surprising it is.

F of numbers with long tails is approximate: of 400 streams of independent rows, Gaussian, Student's (3 degrees of freedom) and
scaled ones, 5.5 % had p < 0.05 (of Student's 7 %), 0.75 % p < 0.01 and none p < 0.001, below which order is doubted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import fdtrc

from streamsvd.typing import Matrix, Real

N_FIXED, N_LEARNT = 7, 4
SCALARS = 2 * (N_FIXED + 1 + N_LEARNT)
WINDOWS = 64
FEWEST = 6
SURPRISE, EFFECT = 1e-3, 2.0
LEVEL_AT_5_PERCENT = 0.07
"""Share of streams of independent rows with p < 0.05, at most."""
FIRST_SPAN = 256
MOST_EFFECT = 1e12


@dataclass(frozen=True, slots=True)
class OrderFinding:
    """What the test found.

    Attributes
    ----------
    p_value
        Of the hypothesis that rows are exchangeable, nearly (as measured above); 1 where there were too few windows.
    design_effect
        Variance of window means over that of independent rows; at least 1.
    statistic
        Name of the number that varies most.
    random
        True, False, or None where there were too few rows to say.
    """

    p_value: float
    design_effect: float
    statistic: str
    random: bool | None


@dataclass(slots=True, eq=False)
class OrderTest:
    """Counts, sums and sums of squares by window, ``(64,)`` and ``(64, 24)``; windows double when all are used."""

    d: int
    projections: Matrix
    span: int
    freeze_at: int | None
    learnt: Matrix = field(init=False)
    counts: Real = field(init=False)
    learnt_counts: Real = field(init=False)
    sums: Matrix = field(init=False)
    squares: Matrix = field(init=False)
    size: float = 0.0
    n_rows: int = 0
    frozen: bool = False

    def __post_init__(self) -> None:
        self.learnt = np.zeros((self.d, N_LEARNT))
        self.counts = np.zeros(WINDOWS)
        self.learnt_counts = np.zeros(WINDOWS)
        self.sums, self.squares = np.zeros((WINDOWS, SCALARS)), np.zeros((WINDOWS, SCALARS))

    def update(self, rows: Matrix, energy: Real, basis: Matrix) -> None:
        """Count a block of rows that lies within one window; ``basis`` may be learnt from, at the right moment."""
        if self.size == 0:
            self.size = float(np.mean(energy))
        if self.n_rows // self.span == WINDOWS:
            self._double(basis)
        if self.freeze_at is not None and not self.frozen and self.n_rows >= self.freeze_at:
            self._freeze(basis)
        window = self.n_rows // self.span
        norm = np.sqrt(energy)
        inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        share = energy / (energy + self.size) if self.size > 0 else np.zeros_like(energy)
        along = np.concatenate([rows @ self.projections, rows @ self.learnt], axis=1)
        along *= inverse[:, None]
        first = np.concatenate([along[:, :N_FIXED], share[:, None], along[:, N_FIXED:]], axis=1)
        scalars = np.concatenate([first, first * first], axis=1)
        self.counts[window] += rows.shape[0]
        self.learnt_counts[window] += rows.shape[0] if self.frozen else 0
        self.sums[window] += scalars.sum(axis=0)
        self.squares[window] += (scalars * scalars).sum(axis=0)
        self.n_rows += rows.shape[0]

    def _freeze(self, basis: Matrix) -> None:
        self.learnt[:] = 0
        count = min(N_LEARNT, basis.shape[1])
        self.learnt[:, :count] = basis[:, :count]
        self.learnt_counts[:] = 0
        learnt = self._learnt
        self.sums[:, learnt] = self.squares[:, learnt] = 0
        self.frozen = True

    def _double(self, basis: Matrix) -> None:
        for name in ("counts", "learnt_counts", "sums", "squares"):
            old = getattr(self, name)
            new = np.zeros_like(old)
            new[: WINDOWS // 2] = old[::2] + old[1::2]
            setattr(self, name, new)
        self.span *= 2
        if self.freeze_at is None:
            self._freeze(basis)

    @property
    def _learnt(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        mask = np.zeros(SCALARS // 2, dtype=bool)
        mask[N_FIXED + 1 :] = True
        return np.concatenate([mask, mask])

    def finding(self) -> OrderFinding:
        """The verdict on the rows so far."""
        learnt = self._learnt
        largest, effect, which = 1.0, 1.0, ""  # the effect is capped: parts may differ for certain
        enough = False
        for j in range(SCALARS):
            counts = self.learnt_counts if learnt[j] else self.counts
            used = counts > 0
            if int(np.count_nonzero(used)) < FEWEST:
                continue
            enough = True
            F, p = _anova(counts[used], self.sums[used, j], self.squares[used, j])
            largest = min(largest, p)
            if effect < F:
                effect, which = F, _statistic_name(j)
        p_value = min(1.0, SCALARS * largest)
        random = (p_value >= SURPRISE or effect <= EFFECT) if enough else None
        return OrderFinding(p_value, min(effect, MOST_EFFECT), which, random)


def _anova(counts: Real, sums: Real, squares: Real) -> tuple[float, float]:
    """F and its p-value of one number over windows; (1, 1) where it does not vary."""
    n, groups = float(counts.sum()), counts.size
    if n <= groups:
        return 1.0, 1.0
    mean = sums.sum() / n
    between = float(np.sum(counts * (sums / counts - mean) ** 2))
    total = float(squares.sum() - n * mean * mean)
    inside = max(float(np.sum(squares - sums * sums / counts)), 0.0)
    if inside <= 1e-12 * max(float(squares.sum()), 1e-300):
        # The number is constant in every window: one value throughout, or windows that differ for certain.
        return (1.0, 1.0) if total <= 1e-12 * float(squares.sum()) else (float("inf"), 0.0)
    F = between / (groups - 1) / (inside / (n - groups))
    return F, float(fdtrc(groups - 1, n - groups, F))


def _statistic_name(j: int) -> str:
    """How a message calls a number."""
    square, j = divmod(j, SCALARS // 2)
    if j < N_FIXED:
        name = f"projection {j + 1} of the direction"
    elif j == N_FIXED:
        name = "the norm"
    else:
        name = f"the part along direction {j - N_FIXED}"
    return f"the square of {name}" if square else name
