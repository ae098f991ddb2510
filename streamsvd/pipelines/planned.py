"""What a run was to cost, as its record keeps it beside what it did cost."""

from __future__ import annotations

from collections.abc import Iterable

from streamsvd.pipelines.planning import StepPlan
from streamsvd.pipelines.records import PlanRecord


def plan_records(plans: Iterable[StepPlan]) -> tuple[PlanRecord, ...]:
    """What the record of a run keeps of the plans of its steps."""
    found = []
    for p in plans:
        passes = getattr(p.plan, "passes", None)
        found.append(
            PlanRecord(
                name=p.step.name, passes=None if passes is None else float(passes), bytes_read=getattr(p.plan, "bytes_read", None),
                projected_bytes=getattr(p.plan, "projected_bytes", None), seconds=getattr(p.plan, "seconds", None), note=p.note,
            )
        )  # fmt: skip
    return tuple(found)
