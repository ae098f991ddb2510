"""Rows projected on the components of a result: scores, and likelihoods of rows.

What was done to the matrix before it was factorised is done to the rows (`streamsvd.numerics.score_map`); rows are about the
mean before they are multiplied, so that none of its digits are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.engine.columns import View, kept_source
from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.candidates import fits_single
from streamsvd.factor.row_output import OUT_REMEDY, RowOutput, make_rows
from streamsvd.factor.row_pass import RowPass
from streamsvd.factor.row_schedule import RowWork
from streamsvd.numerics.blocks import Preparation
from streamsvd.numerics.columns import Columns
from streamsvd.numerics.row_density import RowDensity
from streamsvd.numerics.score_map import ScoreMap
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.typing import Matrix

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

ROW_POLICIES = ("raise", "zero", "mean")


def score_map(result: SVD) -> ScoreMap:
    """The change between rows of the matrix of a result and their scores.

    Raises
    ------
    SpecError
        If the result has no component.
    """
    if result.rank == 0:
        raise SpecError("the result has no component: its matrix is zero, and rows have no scores.")
    marks = result.preparation.get("columns")
    kept = None if marks is None else np.asarray(Columns(marks).keep_mask)
    return ScoreMap.of(
        result.Vh,
        mean=result.mean,
        scale=result.scale,
        column_weights=result.preparation.get("column_weights"),
        kept=kept,
        dropped=tuple(result.info.dropped_columns),
    )


def row_policy(result: SVD, nonfinite: str | None) -> str:
    """What a NaN in new rows is: as the caller says, or as it was when the result was made.

    A component cannot lose a column: under ``"drop_columns"`` those that were left out are not looked at, and a NaN in another is
    an error.

    Raises
    ------
    SpecError
        If the policy is unknown.
    """
    if nonfinite is None:
        found = str(result.preparation.get("nonfinite", "raise"))
        return found if found in ROW_POLICIES else "raise"
    if nonfinite not in ROW_POLICIES:
        raise SpecError(
            f"nonfinite={nonfinite!r} is unknown here. Pass one of {', '.join(ROW_POLICIES)}; columns that the result left out are "
            "not looked at anyway."
        )
    return nonfinite


@dataclass(frozen=True, slots=True, eq=False)
class RowProjection:
    """How rows of one source are projected on the components of a result.

    Attributes
    ----------
    map_
        Between rows and scores.
    prep
        How a stored row is prepared.
    shift
        What is subtracted of products, ``(k,)``; None for nothing.
    """

    map_: ScoreMap
    prep: Preparation
    shift: Matrix | None

    @classmethod
    def of(
        cls,
        result: SVD,
        source: Source,
        *,
        rank: int | None,
        nonfinite: str | None,
        single: bool,
        about_mean: bool = False,
    ) -> RowProjection:
        """On the first components, in single precision where that may be and the products of the result were.

        The mean is taken out of the rows themselves where it is large, or they are asked for ``about_mean``.

        Raises
        ------
        SpecError
            If missing values are to be means that are not known.
        """
        map_ = score_map(result).leading(check_rank(result, rank))
        policy = row_policy(result, nonfinite)
        complex_ = source.dtype.kind == "c" or np.iscomplexobj(map_.Vh)
        narrow = single and result.info.precision == "single" and fits_single(source.dtype)
        prep = Preparation("rows", policy=policy, single=narrow, complex_=complex_)  # type: ignore[arg-type]  # checked
        center, pilot, shift = map_.center, None, None
        if center is not None:
            pilot = center.astype(prep.narrow).astype(prep.wide)
            if not about_mean and _is_small(result, map_, single=narrow):
                pilot = None
            shift = (center if pilot is None else center - pilot) @ map_.forward
        fill = None
        if policy != "raise" and source.dtype.kind in "fc":
            fill = _fill(result, map_, policy, prep)
            if pilot is not None:
                fill = fill - pilot
        return cls(map_, replace(prep, pilot=pilot, fill=fill), shift)

    @property
    def dtype(self) -> str:
        """Of scores."""
        return self.prep.narrow

    @property
    def entry_bytes(self) -> int:
        """Copies of an entry while it is prepared: converted, less the mean, filled with a mask and counts."""
        item = np.dtype(self.prep.narrow).itemsize
        pilot, fill = self.prep.pilot is not None, self.prep.fill is not None
        return item * (1 + pilot + fill) + 9 * fill


def _is_small(result: SVD, map_: ScoreMap, *, single: bool) -> bool:
    """Whether products lose no digits that matter where the mean is taken out of them, not of the rows: that takes no copy of these.

    They lose as many as the mean is larger than rows about it.
    """
    assert map_.center is not None
    size = float(np.linalg.norm(map_.center * map_.factors[map_.takes_part]))
    weights = result.preparation.get("row_weights")
    mass = result.info.n_rows if weights is None else float(np.sum(weights))
    spread = result.certificate.frobenius_norm / np.sqrt(max(mass, 1e-300))
    return bool(size <= (1.0 if single else 100.0) * spread)


def _fill(result: SVD, map_: ScoreMap, policy: str, prep: Preparation) -> Matrix:
    """What takes the place of a NaN, in the units of the data."""
    there = map_.takes_part
    if policy == "zero":
        return np.zeros(int(there.sum()), dtype=prep.wide)
    means = result.preparation.get("means") if map_.mean is None else map_.mean
    if means is None:
        raise SpecError(
            'the result was made without the means of columns, so that nonfinite="mean" has none to fill with. Pass nonfinite="zero" '
            "or fill the rows before."
        )
    return np.asarray(means)[there].astype(prep.wide)


def check_rank(result: SVD, rank: int | None) -> int:
    """Components that are wanted.

    Raises
    ------
    ShapeError
        If there are not so many.
    """
    if rank is None:
        return result.rank
    if not isinstance(rank, int | np.integer) or not 1 <= rank <= result.rank:
        raise ShapeError(
            f"rank={rank} is no number of the {result.rank} components of the result. Pass 1 <= rank <= {result.rank}."
        )
    return int(rank)


def part_view(map_: ScoreMap, source: Source) -> View:
    """The columns of a source that scores depend on; the others are not looked at.

    Raises
    ------
    ShapeError
        If it has another number of columns than the matrix that was factorised.
    """
    if source.shape[1] != map_.width:
        raise ShapeError(
            f"{source.name} has {source.shape[1]:,} columns, the result is of {map_.width:,}. Pass rows with the same columns, or "
            "align=True where labels say which they are."
        )
    if map_.takes_part.all():
        return View(source, source, None, 0, True)
    columns = Columns.of(map_.takes_part)
    return View(kept_source(source, columns), source, columns, 0, True)


def transform(
    result: SVD, source: Source, to: RowOutput, *, rank: int | None = None, nonfinite: str | None
) -> Any:
    """Scores of the rows of a source, ``(m, k)``."""
    way = RowProjection.of(result, source, rank=rank, nonfinite=nonfinite, single=True)
    view, k = part_view(way.map_, source), way.map_.rank
    pass_ = RowPass(way.prep, way.map_.forward, way.shift, 1, source.shape[0], way.dtype)
    work = _work(
        way, k, k, written=to.out is not None, what="projecting the rows", remedy=OUT_REMEDY
    )
    labels = None
    if to.out is not None:
        from streamsvd.store.writing.array_labels import score_labels  # imports zarr

        labels = score_labels(source_labels(source), k)
    return make_rows(view, pass_, work, to, purpose="scores", read=(result.U,), labels=labels)


def score_samples(result: SVD, source: Source, to: RowOutput, *, nonfinite: str | None) -> Any:
    """Log-likelihood of each row of a source, ``(m,)``."""
    way = RowProjection.of(
        result, source, rank=None, nonfinite=nonfinite, single=False, about_mean=True
    )
    view, k = part_view(way.map_, source), way.map_.rank
    density = RowDensity.of(
        result.s, result.certificate.frobenius_norm, result.info.freedom, int(way.map_.takes_part.sum()),
        complex_=way.prep.complex_,
    )  # fmt: skip
    there = way.map_.takes_part
    pass_ = RowPass(  # squares are of the rows as they were factorised, so their columns are multiplied first
        way.prep, way.map_.Vh[:, there].conj().T, None, 1, source.shape[0], "float64", density=density,
        factors=way.map_.factors[there],
    )  # fmt: skip
    work = _work(way, k, 1, written=False, what="the likelihood of the rows")
    work = replace(work, item=8, entry=work.entry + work.wide)
    return make_rows(view, pass_, work, to, purpose="likelihoods")[:, 0]


def _work(
    way: RowProjection, thin: int, width: int, *, written: bool, what: str, remedy: str = ""
) -> RowWork:
    return RowWork(
        thin=thin,
        width=width,
        item=np.dtype(way.dtype).itemsize,
        wide=np.dtype(way.prep.wide).itemsize,
        entry=way.entry_bytes,
        written=written,
        may_tile=True,
        what=what,
        remedy="" if written else remedy,
    )
