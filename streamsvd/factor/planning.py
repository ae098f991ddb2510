"""Plans for the columns of a matrix that are kept: as far as they are known without a look, and after it."""

from __future__ import annotations

from typing import Any

from streamsvd.engine.columns import View, is_kept, kept_source, mask_of
from streamsvd.engine.submit import active_client
from streamsvd.engine.worker_devices import require_device
from streamsvd.errors import ShapeError
from streamsvd.factor.candidates import Speeds
from streamsvd.factor.options import SVDOptions
from streamsvd.factor.plan import Plan, make_plan
from streamsvd.factor.problem import matrix_options
from streamsvd.numerics.blocks import Axis
from streamsvd.numerics.columns import Columns
from streamsvd.protocols import Source


def planned_view(source: Source, mask: Any) -> View:
    """The matrix as far as it is known without reading it."""
    if mask is None or is_kept(source) or (kept := mask_of(source, mask)) is None or kept.all():
        return View(source, source, None, 0, False)
    columns = Columns.of(kept)
    return View(kept_source(source, columns), source, columns, 0, False)


def plan_view(
    view: View, options: SVDOptions, *, axis: Axis | None = None, rates: Speeds | None = None
) -> Plan:
    """The plan for the columns that are kept."""
    source = view.source
    matrix = matrix_options(source, options, view.take(options.column_weights))
    options.check_shape(source.shape)
    require_device(options.device, active_client())
    return make_plan(source, options, matrix, axis=axis, rates=rates)


def plan_remaining_columns(plan: Plan, view: View) -> Plan:
    """A plan that was made for all columns, for those that are left."""
    options, source = plan.options, view.source
    most = min(source.shape)
    if options.rank is not None and options.rank > most:
        raise ShapeError(
            f"rank={options.rank} exceeds the {source.shape[1]:,} columns of {source.name} that have values, or its "
            f"{source.shape[0]:,} rows. Make a plan for a rank of at most {most}."
        )
    matrix = matrix_options(source, options, view.take(options.column_weights))
    return make_plan(source, options, matrix, axis=plan.layout.axis)
