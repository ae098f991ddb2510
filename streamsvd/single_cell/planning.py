"""How the passes of `cells` run within the memory, before anything is read: counts, components, scores."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from streamsvd.engine.row_runs import schedule_row_runs
from streamsvd.engine.schedule import Schedule
from streamsvd.engine.steps import apply_steps
from streamsvd.errors import BudgetError
from streamsvd.factor.pca import plan_pca
from streamsvd.factor.plan import Plan
from streamsvd.factor.planning import planned_view
from streamsvd.factor.row_schedule import RowSchedule, RowWork, schedule_row_pass
from streamsvd.protocols import Source
from streamsvd.single_cell.options import CellsOptions

T = TypeVar("T")
CELL_BYTES = 4 * 24
"""Of each cell: three sums; the same in pieces, joined, and as they are written."""
GENE_BYTES = 20 * 8
"""Of each gene: sums, moments, trend, ranks."""
ENTRY_BYTES = 56
"""What the sums of an entry take beside it: value, square, what counts apart, and numbers of genes as wide as an address."""
MOST_ROWS = 1 << 14
"""Cells that are counted at once, at most."""
SAVED_BYTES = 4 * 24
"""Of each cell while it is saved."""


@dataclass(frozen=True, slots=True, eq=False)
class CellsPlan:
    """The passes of one run.

    Attributes
    ----------
    counting, components, scores
        Of the passes over counts, of the factorisation, and of the pass that makes scores.
    stepped
        The counts, normalised and in logarithms.
    kept_bytes
        What was counted, which is there to the end.
    """

    counting: Schedule
    components: Plan
    scores: RowSchedule
    stepped: Source
    kept_bytes: int

    @property
    def projected_bytes(self) -> int:
        """Upper bound of the memory."""
        later = max(self.components.projected_bytes, self.scores.schedule.projected_bytes)
        return max(self.counting.projected_bytes, self.kept_bytes + later)


def steps_of(options: CellsOptions) -> list[str]:
    """What is done to counts before they are factorised."""
    return [f"normalize={options.target!r}", "log1p"]


def plan_passes(
    source: Source,
    options: CellsOptions,
    budget: int,
    *,
    out: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> CellsPlan:
    """The plan of all passes.

    Raises
    ------
    BudgetError
        If one of them does not fit; it names the least memory with which all do.
    """
    m, n = source.shape
    kept = CELL_BYTES * m + GENE_BYTES * n
    saved = SAVED_BYTES * m if checkpoint is not None else 0
    stepped = apply_steps(source, steps_of(options))
    some, left = spread_mask(n, options.genes), max(1, budget - kept)
    refused = list[int]()

    def attempt(make: Callable[[], T], beside: int) -> T | None:
        try:
            return make()
        except BudgetError as error:
            refused.append(error.needs + beside)
            return None

    counting = attempt(
        lambda: schedule_row_runs(
            source, budget, work=lambda entries, rows: ENTRY_BYTES * entries + 48 * n, shared=kept + saved, partial=24 * n,
            most_rows=MOST_ROWS, what="counting",
        ),
        0,
    )  # fmt: skip
    components = attempt(
        lambda: plan_components(stepped, options, some, left, checkpoint=checkpoint), kept
    )
    scores = attempt(
        lambda: plan_scores(stepped, options, some, left, written=out is not None), kept
    )
    if counting is None or components is None or scores is None:
        least = max(refused)
        raise BudgetError(
            f"cells of {source.name}", least, budget,
            f"Pass memory={least} or more, or fewer genes{'' if out is not None else ', or out= to write scores as they are made'}.",
        )  # fmt: skip
    return CellsPlan(counting, components, scores, stepped, kept)


def spread_mask(n: int, count: int) -> npt.NDArray[np.bool_]:
    """So many of n genes, far from one another: which they will be is not known yet."""
    mask = np.zeros(n, bool)
    mask[np.linspace(0, n - 1, count).astype(np.intp)] = True
    return mask


def plan_components(
    stepped: Source,
    options: CellsOptions,
    mask: npt.NDArray[np.bool_],
    budget: int,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Plan:
    """The plan of the factorisation: one pass for the Gram matrix of the genes that are kept, where the memory holds it.

    Components of cells lie close together from the tenth or so on, where iterations need many passes and prove little; the Gram
    matrix proves all in one.
    """
    asked: dict[str, Any] = {
        "tol": options.tol, "memory": budget, "mask": mask, "checkpoint": checkpoint,
    }  # fmt: skip
    try:
        return plan_pca(stepped, options.rank, route="gram", **asked)
    except BudgetError:
        return plan_pca(stepped, options.rank, **asked)


def plan_scores(
    stepped: Source,
    options: CellsOptions,
    mask: npt.NDArray[np.bool_],
    budget: int,
    *,
    written: bool,
) -> RowSchedule:
    """How the pass that makes scores runs."""
    work = score_work(options.rank, item=8, entry=16, written=written)
    return schedule_row_pass(planned_view(stepped, mask).source, work, budget)


def score_work(rank: int, *, item: int, entry: int, written: bool) -> RowWork:
    """What the pass takes that makes scores.

    Parameters
    ----------
    rank
        Components.
    item, entry
        Bytes of a score, and those that preparing an entry takes.
    written
        Whether scores are written, or kept until the end.
    """
    return RowWork(
        thin=rank, width=rank, item=item, wide=8, entry=entry, written=written, may_tile=True, what="scores of the cells"
    )  # fmt: skip
