"""What is known of the matrix while it is factorised: first the sample's guess, then the first pass's truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streamsvd.engine.layout import Layout
from streamsvd.errors import SpecError
from streamsvd.factor.problem import (
    Frame,
    MatrixOptions,
    Statistics,
    column_divisor,
    column_scale,
    entry_error,
    statistics,
    zero_level,
)
from streamsvd.factor.sample import Pilot
from streamsvd.numerics.blocks import Moments, Preparation, check_faint, empty_ends, faint_threshold
from streamsvd.typing import Real


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """How blocks are prepared and thin blocks scaled, and what the moments said.

    Attributes
    ----------
    prep
        Preparation of the blocks of every pass.
    d
        Scale of the thin blocks in the first pass, ``(n,)``; later passes take that of ``stats.frame``.
    dropped_columns
        Columns that the policy leaves out, ``(n,)`` of bool.
    mean_filled
        Whether missing entries are filled with the mean of the whole matrix, not that of the sample.
    pilot_is_mean
        Whether the pilot is the mean of the whole matrix already.
    stats
        Mean, scale and energy, known after the first pass.
    missing
        Number of missing entries.
    """

    prep: Preparation
    d: Real
    dropped_columns: npt.NDArray[np.bool_]
    mean_filled: bool = False
    pilot_is_mean: bool = False
    stats: Statistics | None = None
    missing: int = 0

    @property
    def known_stats(self) -> Statistics:
        """The moments; only after the first pass."""
        assert self.stats is not None
        return self.stats

    def in_double(self) -> Terms:
        """The same with every product in float64."""
        return replace(self, prep=replace(self.prep, single=False))

    @property
    def product_type(self) -> str:
        """Type in which the thin blocks of the method are multiplied."""
        return self.prep.narrow if self.prep.single else self.prep.wide


def terms_from_pilot(
    options: MatrixOptions, layout: Layout, guess: Pilot, *, single: bool, complex_: bool
) -> Terms:
    """Terms from the pilot moments of a sample, or of a stored result."""
    rows = layout.axis == "rows"
    prep = Preparation(
        axis=layout.axis,
        alpha=guess.alpha,
        weights=options.row_weights,
        column_weights=None if rows else options.column_weights,
        center=options.center,
        scale=options.scale,
        policy=options.nonfinite,
        single=single,
        complex_=complex_,
        support=options.support,
        sparse=layout.stored is not None,
    )
    dropped = guess.holes & (options.nonfinite == "drop_columns")
    if not rows:
        weights = options.row_weights
        d = np.ones(layout.width) if weights is None else np.sqrt(weights)
        return Terms(prep, d, dropped)
    pilot = fill = None
    if (
        options.center or options.scale
    ):  # what is subtracted is the rounded pilot, and the correction knows it
        pilot = guess.mean.astype(prep.narrow).astype(prep.wide)
    if options.nonfinite != "raise":
        raw = guess.mean if options.nonfinite == "mean" else 0 * guess.mean
        fill = (guess.alpha * (raw if pilot is None else raw - pilot)).astype(prep.wide)
    alpha = guess.alpha
    divisor = column_divisor(options, guess.mean * alpha, guess.deviation * alpha, alpha)
    positive = divisor[divisor > 0]
    typical = float(np.median(positive)) if positive.size else 1.0
    # a column may be constant in the sample only
    d = column_scale(options, np.where(divisor > 0, divisor, typical), dropped, layout.width)
    return Terms(replace(prep, pilot=pilot, fill=fill), d, dropped)


_UNDERFLOW_ENERGY = 1e-200
"""Energies below this may have lost squares to underflow: the power of two was wrong."""


def rescale_terms(terms: Terms, options: MatrixOptions, size: float) -> Terms:
    """Terms whose power of two suits entries of the given size, which the sample had not shown."""
    prep = terms.prep
    most = 120 if prep.single else 1000
    alpha = float(2.0 ** -np.clip(np.round(np.log2(size)), -most, most))
    ratio = alpha / prep.alpha
    fill = None if prep.fill is None else prep.fill * ratio
    d = terms.d / ratio if options.scale and prep.axis == "rows" else terms.d
    return replace(terms, prep=replace(prep, alpha=alpha, fill=fill), d=d)


def rescale_down(terms: Terms, options: MatrixOptions, size: float) -> Terms:
    """Terms for entries of a size whose squares were too large.

    Raises
    ------
    SpecError
        If they are so already: it is the weights that are too large.
    """
    lower = rescale_terms(terms, options, size)
    if lower.prep.alpha == terms.prep.alpha:
        given = (options.row_weights, options.column_weights)
        most = max((float(weights.max()) for weights in given if weights is not None), default=1.0)
        raise SpecError(
            f"weights of up to {most:g} carry sums of squares beyond their range. Divide them by {most:g}."
        )
    return lower


def _pilot_is_far(stats: Statistics, prep: Preparation) -> bool:
    """Whether the pilot is so far from the mean that deviations about it lose digits: all of them, where none are left."""
    if prep.pilot is None or stats.frame.delta is None:
        return False
    variance = (stats.deviation * prep.alpha) ** 2
    far = np.abs(stats.frame.delta) ** 2
    size = np.abs(stats.mean * prep.alpha) ** 2
    return bool(np.any((far > 1e4 * variance) & ((variance > 0) | (far > 1e-15 * size))))


def _use_mean_as_pilot(terms: Terms) -> Terms:
    """The mean of the whole matrix as the pilot."""
    prep, stats = terms.prep, terms.known_stats
    assert prep.pilot is not None
    pilot = stats.mean.astype(prep.narrow).astype(prep.wide)
    fill = prep.fill
    if fill is not None:
        fill = fill + prep.alpha * (prep.pilot - pilot)
    prep = replace(prep, pilot=pilot, fill=fill)
    return replace(terms, prep=prep, d=stats.frame.d, pilot_is_mean=True)


def absorb_moments(terms: Terms, options: MatrixOptions, total: Moments) -> tuple[Terms, bool]:
    """Terms after the moments of a pass; True where its products must be made again with them.

    That is so where missing values are given the mean, which the sample only guessed, and where columns
    that took part in the products are left out after all: for missing values that the sample did not show,
    or because they are constant and are to be scaled.
    """
    missing = int(np.sum(total.missing))
    if total.energy < _UNDERFLOW_ENERGY and total.largest > 0:
        lifted = rescale_terms(terms, options, total.largest / terms.prep.alpha)
        if lifted.prep.alpha != terms.prep.alpha:
            return lifted, True
    if terms.prep.axis == "columns":
        order = sorted(total.features, key=lambda feature: feature[0])
        mean = np.concatenate([f[1] for f in order])
        deviation = np.concatenate([f[2] for f in order])
        for start, _, _, ends, _ in order:
            if ends is not None:
                check_faint(ends, start)
        frame = Frame(terms.d, None, 0.0)
        stored = total.energy + total.mean_energy
        zero, moved = zero_level(total.energy, stored), entry_error(options, stored)
        # what blocks handed over as deviations are the divisors, where they divided
        gross = total.energy + (total.mean_energy if terms.prep.sparse else 0.0)
        stats = Statistics(frame, total.energy, gross, mean, deviation, deviation, zero, moved)
        dropped = np.concatenate([f[4] for f in order])
        return replace(terms, stats=stats, missing=missing, dropped_columns=dropped), False
    holes = total.missing > 0
    dropped, prep = terms.dropped_columns, terms.prep
    if options.nonfinite == "drop_columns":
        dropped = dropped | holes
    if total.ends is not None:
        faint = ~dropped & (total.squares < faint_threshold(prep.weights))
        check_faint(np.where(faint[:, None], total.ends, empty_ends(faint.size, 1)))
    stats = statistics(options, total, prep, dropped=dropped)
    d = stats.frame.d
    if not d.any():
        raise SpecError(
            f"nothing is left to factorise: all {d.size:,} columns are constant, which scale={options.scale!r} leaves out, "
            "or dropped for their missing values, or of weight zero. Pass scale=False or another nonfinite=."
        )
    lost = (d == 0) & (terms.d > 0)
    again = bool(np.any(total.squares[lost] * terms.d[lost] ** 2 > 1e-30 * stats.gross))
    terms = replace(terms, stats=stats, missing=missing, dropped_columns=dropped)
    if _pilot_is_far(stats, prep) and not terms.pilot_is_mean:
        return _use_mean_as_pilot(terms), True
    if options.nonfinite == "mean" and holes.any() and not terms.mean_filled:
        centre = 0.0 if prep.pilot is None else prep.pilot
        filled = replace(prep, fill=prep.alpha * (stats.mean - centre))
        return replace(terms, prep=filled, mean_filled=True, d=d), True
    return (replace(terms, d=d), True) if again else (terms, False)
