"""What is left of rows when the components have given back what they hold: as a source, or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.engine.columns import View
from streamsvd.factor.label_choice import both_labels
from streamsvd.factor.projection import RowProjection, part_view
from streamsvd.factor.row_output import RowOutput, make_rows
from streamsvd.factor.row_pass import RowPass
from streamsvd.factor.row_schedule import RowWork
from streamsvd.numerics.blocks import Preparation
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.residual_rows import ResidualRows

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD


def residual(
    result: SVD, source: Source, to: RowOutput, *, rank: int | None, nonfinite: str | None
) -> Any:
    """Rows less what the components give back of them."""
    way = RowProjection.of(result, source, rank=rank, nonfinite=nonfinite, single=False)
    part_view(way.map_, source)
    found = residual_source(way, source)
    if to.out is None:
        return found
    kind = found.dtype
    pass_ = RowPass(
        Preparation("rows", complex_=kind.kind == "c"), None, None, 1, source.shape[0], str(kind), checks=False
    )  # fmt: skip
    n = source.shape[1]
    work = RowWork(
        0,
        n,
        kind.itemsize,
        kind.itemsize,
        2 * kind.itemsize,
        True,
        False,
        "the residual of the rows",
    )
    from streamsvd.store.writing.array_labels import matrix_labels  # imports zarr

    both = both_labels(source_labels(source), result.labels, source.shape)
    labels = matrix_labels(both, both, "residual")
    return make_rows(
        View(found, found, None, 0, True),
        pass_,
        work,
        to,
        purpose="residual",
        read=(result.U,),
        labels=labels,
    )


def residual_source(way: RowProjection, source: Source) -> Source:
    """The same as a source."""
    map_, prep = way.map_, way.prep
    there = map_.takes_part
    forward = np.zeros((map_.width, map_.rank), dtype=map_.forward.dtype)
    forward[there] = map_.forward
    fill = None
    if prep.fill is not None:
        fill = np.zeros(map_.width, dtype=prep.wide)
        fill[there] = prep.fill if prep.pilot is None else prep.fill + prep.pilot
    return ResidualRows(source, forward, map_.backward(), there, map_.level(), fill)
