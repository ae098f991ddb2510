r"""Kernel ridge regression in the single pass that chooses the dictionary.

With the dictionary go the sums of `streamsvd.kernels.mathematics.ridge` in coordinates of its span. When the dictionary changes, they
are carried over: ``T = W'* K_{D'D} W`` takes old whitened features to new ones, ``H' = T H T*`` and ``r' = T r``. What old rows
had outside the new span is lost; the share of the trace that is left says how much (`Regression.captured`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamsvd.kernels.mathematics.centres import FeatureMap
from streamsvd.kernels.mathematics.dictionary import (
    Dictionary,
    DictionaryOptions,
    merge_dictionaries,
    push_rows,
)
from streamsvd.kernels.mathematics.ridge import RidgeSums
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """A dictionary, and sums over all rows seen in coordinates of its span.

    Attributes
    ----------
    dictionary
        The rows kept.
    whitening
        Of its feature map, ``(m, r)``.
    train, held_out
        Sums over rows that train, and over those that judge.
    """

    dictionary: Dictionary
    whitening: Matrix
    train: RidgeSums
    held_out: RidgeSums

    def feature_map(self, spec: DictionaryOptions) -> FeatureMap:
        """Features in whose coordinates the sums are."""
        return FeatureMap(spec.kernel, self.dictionary.rows, self.whitening)

    @property
    def captured_share(self) -> float:
        """Share of the trace of K that the sums hold; no bound of anything."""
        trace = self.dictionary.trace
        held = float(np.trace(self.train.H) + np.trace(self.held_out.H))
        return held / trace if trace > 0 else 1.0


def regression(
    spec: DictionaryOptions,
    state: Regression | None,
    rows: Matrix,
    first: int,
    targets: Matrix,
    judge: npt.NDArray[np.bool_],
) -> Regression:
    """After a block of rows from number ``first`` on, their targets ``(p, q)``, and which of them judge."""
    known = None if state is None else state.dictionary
    dictionary = push_rows(spec, known, rows, first)
    map_ = FeatureMap.of(spec.kernel, dictionary.rows)
    zero = RidgeSums.zero(map_.n_features, targets.shape[1])
    train, out = (
        (zero, zero)
        if state is None
        else _project_sums(state, spec, map_, (state.train, state.held_out))
    )
    Z = map_(rows)
    return Regression(
        dictionary,
        map_.whitening,
        train.update(Z[~judge], targets[~judge]),
        out.update(Z[judge], targets[judge]),
    )


def merge_regressions(spec: DictionaryOptions, left: Regression, right: Regression) -> Regression:
    """Of the rows of both."""
    dictionary = merge_dictionaries(spec, [left.dictionary, right.dictionary])
    map_ = FeatureMap.of(spec.kernel, dictionary.rows)
    parts = [_project_sums(part, spec, map_, (part.train, part.held_out)) for part in (left, right)]
    train, out = (a.merge(b) for a, b in zip(*parts, strict=True))
    return Regression(dictionary, map_.whitening, train, out)


def _project_sums(
    state: Regression, spec: DictionaryOptions, map_: FeatureMap, sums: tuple[RidgeSums, RidgeSums]
) -> tuple[RidgeSums, RidgeSums]:
    """Sums in coordinates of another map: orthogonal projection onto its span."""
    T = map_.whitening.T @ spec.kernel(map_.centres, state.dictionary.rows) @ state.whitening
    first, second = (RidgeSums(T @ s.H @ T.T, T @ s.r, s.squares, s.n_rows) for s in sums)
    return first, second
