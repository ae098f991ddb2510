"""What a verb will cost, said before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamsvd.engine.cluster_plan import ClusterPlan, PassLoad, plan_cluster
from streamsvd.engine.machines import machines_in_force
from streamsvd.engine.memory import BASE_BYTES, show_bytes
from streamsvd.engine.schedule import Schedule

CACHE_NOTE = "the matrix fits: it is read once and stays in memory for the other passes"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run of a verb will read and need.

    Attributes
    ----------
    verb, source
        What is to be done, and with what.
    options
        The record of what was asked.
    passes
        Reads of the matrix, at most, a sample as the fraction it is; None where the data decide.
    pass_bytes
        Decoded bytes of one of them.
    workers, spans
        Tasks that run at once in this process, and all tasks of a pass.
    projected_bytes, budget_bytes
        Upper bound of the memory, and what is allowed.
    cached_passes
        Of the passes, those that find in memory what the first left there, and ask nothing of the store.
    notes
        What decides the number of passes, and what else is to be known, a sentence each.
    task_bytes
        Of the projected bytes, those that a worker of a cluster needs; 0 for all.
    operand_bytes, sum_bytes, home_bytes
        What a task is given at most, what it hands back, and what of a pass comes to the process that asks beside that.
    spans_are_tasks
        Whether spans are what tasks are on any cluster, such as windows and pieces, and nothing of them is joined in a tree.
    total_bytes
        Decoded bytes that all passes ask of the store, where they differ; 0 where each asks `pass_bytes`.
    cluster
        What a pass costs on the cluster that it was planned for; None where passes run in this process.
    """

    verb: str
    source: str
    options: Any
    passes: int | float | None
    pass_bytes: int
    workers: int
    spans: int
    projected_bytes: int
    budget_bytes: int
    notes: tuple[str, ...] = ()
    cached_passes: int = 0
    task_bytes: int = 0
    operand_bytes: int = 0
    sum_bytes: int = 0
    home_bytes: int = 0
    spans_are_tasks: bool = False
    total_bytes: int = 0
    cluster: ClusterPlan | None = None

    def __post_init__(self) -> None:
        machines = machines_in_force() if self.cluster is None else None
        if machines is not None:
            cluster = plan_cluster(self._load(), machines, f"{self.verb} of {self.source}")
            object.__setattr__(self, "cluster", cluster)

    def _load(self) -> PassLoad:
        """What a pass asks of a cluster."""
        home = self.projected_bytes - self.task_bytes + BASE_BYTES + self.sum_bytes
        return PassLoad(
            leaves=max(1, self.spans),
            pass_bytes=self.pass_bytes,
            operand_bytes=self.operand_bytes,
            sum_bytes=self.sum_bytes,
            home_bytes=self.home_bytes,
            worker_bytes=self.task_bytes or self.projected_bytes,
            client_bytes=min(home, self.projected_bytes),
            passes=self.passes,
            leaves_are_tasks=self.spans_are_tasks,
        )

    @property
    def is_cached(self) -> bool:
        """Whether the matrix stays in memory."""
        return self.cached_passes > 0

    @property
    def bytes_read(self) -> int | None:
        """Decoded bytes that all passes ask of the store, at most; None where the data decide how many there are."""
        if self.passes is None or self.total_bytes:
            return self.total_bytes or None
        return int(self.passes - self.cached_passes) * self.pass_bytes

    @classmethod
    def of(
        cls,
        verb: str,
        schedule: Schedule,
        options: Any,
        budget: int,
        *,
        passes: int | None,
        notes: tuple[str, ...] = (),
    ) -> RunPlan:
        """Of a scheduled matrix."""
        cached = passes - 1 if passes is not None and schedule.is_cached else 0
        return cls(
            verb, schedule.source.name, options, passes, schedule.pass_bytes, schedule.workers,
            len(schedule.reader.spans), schedule.projected_bytes, budget, notes, cached, schedule.task_bytes,
            schedule.shared_bytes, schedule.sum_bytes,
        )  # fmt: skip

    @property
    def cluster_lines(self) -> list[str]:
        """What is said of the cluster, if it was planned for one."""
        return [] if self.cluster is None else self.cluster.explain()

    def explain(self) -> str:
        """The plan in a few lines."""
        count = "as many passes as the data ask for" if self.passes is None else (
            f"{self.passes:.3g} pass{'es' if self.passes > 1 else ''}"
        )  # fmt: skip
        lines = [
            f"{self.verb} of {self.source}: {count} of {show_bytes(self.pass_bytes)}",
            f"{self.spans} task{'s' if self.spans > 1 else ''} a pass, {self.workers} at once",
            f"memory {show_bytes(self.projected_bytes)} of {show_bytes(self.budget_bytes)} allowed",
            *([CACHE_NOTE] if self.is_cached else []),
            *self.notes,
            *self.cluster_lines,
        ]
        return "\n".join(lines)
