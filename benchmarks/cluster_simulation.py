"""W1: a pass on 1 to 4,000 workers, simulated: what limits it, up to a petabyte, and what the plan says beside that.

``python -m benchmarks.cluster_simulation --workers 1000 --terabytes 1000`` prints one line of JSON. Nothing is run: workers have
speeds drawn from a seed, tasks go where the engine's own `TaskPlacement` sends them, one scheduler handles them one after
another, late tasks get a second try, sums are joined on the engine's tree, and the dense step follows.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import deque
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine.cluster.flights import LATE, LATE_SECONDS, LEAST_KNOWN
from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS
from streamsvd.engine.cluster.passes import AHEAD
from streamsvd.engine.cluster.placement import TaskPlacement
from streamsvd.engine.cluster_plan import (
    JOIN_RATE,
    SCHEDULER_SECONDS,
    WORKER_SECONDS,
    PassLoad,
    plan_cluster,
)
from streamsvd.engine.layout import span_count
from streamsvd.engine.machines import Machines
from streamsvd.engine.task_count import THREAD_RATE, task_level

SPREAD, SLOW_SHARE, SLOW_SPEED = 0.1, 0.02, 1 / 3
"""Of the speeds of workers: relative deviation, and the share of those that have a third."""
DENSE_RATE = 15e9
LOOK = -1
"""In place of a task, of a worker that has none and looks again."""
AGREEMENT = 0.25
"""What the plan may be off the simulation where no worker is slow."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A pass that was simulated.

    Attributes
    ----------
    seconds, efficiency
        What it lasts, and the share of it in which the mean thread reads and multiplies what counts.
    tasks, copies
        Tasks, and second tries of late ones.
    network_bytes
        Operands and sums between processes.
    last_task
        When the last task that was waited for ended.
    """

    seconds: float
    efficiency: float
    tasks: int
    copies: int
    network_bytes: float
    last_task: float


def load_of(n_bytes: float, columns: int = 20_000, vectors: int = 140) -> PassLoad:
    """A pass of a factorisation of a single-precision matrix of so many bytes and columns."""
    rows = int(n_bytes / 4 / columns)
    return PassLoad(
        leaves=span_count(rows, int(n_bytes)),
        pass_bytes=int(n_bytes),
        thread_seconds=n_bytes / THREAD_RATE,
        operand_bytes=4 * columns * vectors,
        sum_bytes=8 * columns * vectors,
        dense_seconds=12 * columns * (2.0 * vectors) ** 2 / DENSE_RATE,
    )


class Simulation:
    """One pass, event by event.

    Parameters
    ----------
    load, machines
        What is asked, and of whom.
    seed
        Of the speeds.
    slow_share
        Of workers that have a third of the speed of others.
    has_backups
        Whether late tasks get a second try.
    """

    def __init__(
        self,
        load: PassLoad,
        machines: Machines,
        seed: int = 0,
        *,
        slow_share: float = SLOW_SHARE,
        has_backups: bool = True,
    ) -> None:
        self.load, self.machines, self.has_backups = load, machines, has_backups
        rng = np.random.default_rng(seed)
        speeds = np.clip(rng.normal(1, SPREAD, machines.workers), 0.5, 1.5)
        speeds[rng.random(machines.workers) < slow_share] *= SLOW_SPEED
        self.speeds = speeds if machines.workers > 1 else np.ones(1)
        level = task_level(load.leaves, load.pass_bytes, machines.total_threads)
        self.starts = list(range(0, load.leaves, 1 << level))
        self.sizes = [min(1 << level, load.leaves - first) for first in self.starts]
        self.placement = TaskPlacement(
            len(self.sizes), {str(w): machines.threads for w in range(machines.workers)}
        )
        self.events: list[tuple[float, int, int, int, float]] = []
        self.ended: dict[int, tuple[float, int]] = {}
        self.tries: dict[int, list[tuple[float | None, int]]] = {}
        self.busy = [0] * machines.workers
        self.waiting: list[deque[int]] = [deque() for _ in range(machines.workers)]
        self.scheduler_free = self.source_free = 0.0
        self.durations: list[float] = []
        self.copies = self.count = 0
        self.looked, self.is_shared = -1.0, True

    def run(self) -> Outcome:
        """The whole pass."""
        load, machines = self.load, self.machines
        hop = load.operand_bytes / machines.bandwidth
        for worker in range(machines.workers):
            self._push((worker + 1).bit_length() * hop, worker, LOOK, 0.0)
        while len(self.ended) < len(self.sizes):
            now, _, worker, part, began = heapq.heappop(self.events)
            if part != LOOK:
                self.busy[worker] -= 1
                if part not in self.ended:
                    self.ended[part] = now, worker
                    self.durations.append(now - began)
                    del self.tries[part]
            self._fill(now, worker)
        last = max(end for end, _ in self.ended.values())
        joined, moves = self._join()
        seconds = joined + load.sum_bytes / machines.bandwidth + load.dense_seconds
        work = (load.thread_seconds or 0.0) / machines.total_threads
        moved = load.operand_bytes * machines.workers + (moves + 1) * load.sum_bytes
        return Outcome(seconds, work / seconds, len(self.sizes), self.copies, moved, last)

    def _fill(self, now: float, worker: int) -> None:
        """Give a worker its next tasks: those that wait there, its own, those of others, second tries."""
        threads, waiting = self.machines.threads, self.waiting[worker]
        while self.busy[worker] < threads and waiting:
            part = waiting.popleft()
            if part not in self.ended:
                self._begin(now, worker, part)
        while (busy := self.busy[worker] + len(waiting)) < threads + AHEAD:
            is_idle = busy < threads and self.is_shared
            part = self.placement.take(str(worker), is_idle=is_idle)
            if part is None:
                self.is_shared = (
                    self.is_shared and not is_idle
                )  # what nobody takes over now, nobody ever will
                break
            if busy < threads:
                self._begin(now, worker, part)
            else:
                waiting.append(part)
                self.tries[part] = [(None, worker)]
        late = self._late(now, worker) if self.has_backups and self.busy[worker] < threads else []
        for part in late[: threads - self.busy[worker]]:
            self.copies += 1
            self._begin(now, worker, part)
        if self.has_backups and self.busy[worker] < threads and len(self.ended) < len(self.sizes):
            usual = median(self.durations[-256:] or [LATE_SECONDS])
            self._push(now + max(LATE_SECONDS, 0.1 * usual), worker, LOOK, now)

    def _begin(self, now: float, worker: int, part: int) -> None:
        load, source = self.load, self.machines.source_bandwidth
        began = max(now, self.scheduler_free)
        self.scheduler_free = began + 2 * SCHEDULER_SECONDS  # the task, and the join above it
        share = self.sizes[part] / load.leaves
        end = began + share * (load.thread_seconds or 0.0) / self.speeds[worker] + WORKER_SECONDS
        if source is not None:
            self.source_free = max(began, self.source_free) + share * load.pass_bytes / source
            end = max(end, self.source_free)
        link = share * load.pass_bytes * self.machines.threads / self.machines.bandwidth
        tries = [t for t in self.tries.get(part, []) if t != (None, worker)]
        self.tries[part] = [*tries, (began, worker)]
        self.busy[worker] += 1
        self._push(max(end, began + link), worker, part, began)

    def _push(self, at: float, worker: int, part: int, began: float) -> None:
        self.count += 1
        heapq.heappush(self.events, (at, self.count, worker, part, began))

    def _late(self, now: float, worker: int) -> list[int]:
        """Parts that are tried once, on another worker, and are late or wait behind one that is, the latest first."""
        if len(self.durations) < LEAST_KNOWN:
            return []
        if now < self.looked + BEAT_SECONDS / 4:  # as often as the engine looks
            return []
        self.looked, usual = now, median(self.durations[-256:])
        limit = max(LATE * usual, usual + LATE_SECONDS)
        once = [(tries[0], part) for part, tries in self.tries.items() if len(tries) == 1]
        late = sorted(
            (began, at, part)
            for (began, at), part in once
            if began is not None and now - began > limit
        )
        slow = {at for _, at, _ in late}
        behind = [
            part for (began, at), part in once if began is None and at in slow and at != worker
        ]
        return [part for _, at, part in late if at != worker] + behind

    def _join(self) -> tuple[float, int]:
        """When the root is there, and how many sums went to another worker before."""
        sum_bytes, moves = self.load.sum_bytes, 0
        join, hop = sum_bytes / JOIN_RATE + WORKER_SECONDS, sum_bytes / self.machines.bandwidth
        nodes = [self.ended[part] for part in range(len(self.sizes))]
        while len(nodes) > 1:
            above = []
            for left, *right in (nodes[i : i + 2] for i in range(0, len(nodes), 2)):
                if right:
                    away = left[1] != right[0][1]
                    moves += away
                    left = max(left[0], right[0][0]) + join + away * hop, left[1]
                above.append(left)
            nodes = above
        return nodes[0][0], moves


CASES: tuple[tuple[float, int, int, float | None], ...] = (
    # terabytes, columns, workers of one thread, bandwidth of the source
    (1, 20_000, 10, None), (1, 20_000, 100, None), (1, 20_000, 1_000, None),
    (100, 20_000, 10, None), (100, 20_000, 100, None), (100, 20_000, 1_000, None), (100, 20_000, 4_000, None),
    (1_000, 20_000, 100, None), (1_000, 20_000, 1_000, None), (1_000, 20_000, 4_000, None), (1_000, 20_000, 1_000, 100e9),
    (100, 200_000, 1_000, None), (100, 1_000_000, 1_000, None),
)  # fmt: skip


def show_seconds(seconds: float) -> str:
    """Seconds, or hours where they are many."""
    return f"{seconds / 3600:.3g} h" if seconds >= 7200 else f"{seconds:.3g} s"


def table(size: Size = "full", seeds: int = 10) -> Table:
    """Every case: without slow workers beside the plan, then with slow ones, with and without second tries."""
    seeds = seeds if size == "full" else 2
    rows, figures = [], {}
    for terabytes, columns, workers, source in CASES if size == "full" else CASES[:2]:
        load, on = (
            load_of(terabytes * 1e12, columns),
            Machines(workers, 1, workers, source_bandwidth=source),
        )
        plan = plan_cluster(load, on, "it")
        even, backed, bare = (
            [
                Simulation(load, on, seed, slow_share=slow, has_backups=copies).run()
                for seed in range(seeds)
            ]
            for slow, copies in ((0.0, True), (SLOW_SHARE, True), (SLOW_SHARE, False))
        )
        seconds = {
            name: np.mean([o.seconds for o in runs])
            for name, runs in (("even", even), ("backed", backed), ("bare", bare))
        }
        span = [min(o.seconds for o in backed), max(o.seconds for o in backed)]
        case = f"{terabytes:,.0f} TB, n = {columns:,}, {workers:,} workers"
        case += "" if source is None else f", source {source / 1e9:.0f} GB/s"
        off = plan.pass_seconds / seconds["even"]
        figures[case] = {
            "plan": asdict(plan),
            "runs": [asdict(o) for o in backed],
            "seconds": seconds,
        }
        rows.append(
            Row(
                case,
                f"the plan's seconds, within {AGREEMENT:.0%} where no worker is slow",
                f"{show_seconds(seconds['even'])}, planned {show_seconds(plan.pass_seconds)} ({off:.2f}); with slow workers "
                f"{show_seconds(seconds['backed'])} ({show_seconds(span[0])} to {show_seconds(span[1])}), efficiency "
                f"{np.mean([o.efficiency for o in backed]):.2f}, without second tries {show_seconds(seconds['bare'])}; "
                f"{backed[0].tasks:,} tasks, {np.mean([o.network_bytes for o in backed]) / 1e9:.3g} GB moved; "
                f"enough: {plan.most_workers:,} workers, as {plan.limit}",
                judged(abs(off - 1) <= AGREEMENT, size=size),
            )
        )
    notes = (
        f"A model: nothing was run. Workers of one thread, {THREAD_RATE / 1e9:g} GB/s each with a spread of {SPREAD:.0%}, "
        f"{SLOW_SHARE:.0%} of them (slow workers) at a third; links of 10 Gbit/s; {1e3 * SCHEDULER_SECONDS:g} ms of the scheduler a "
        f"task and a join; 140 columns in single precision. Means of {seeds} seeds.",
        "Above 4 workers no part of it was compared with a measurement; what was compared is T5.",
    )
    return Table("W1", "a pass on many workers, as a model", rows, notes, figures)


class Simulated:
    """asv: seconds of a simulated pass."""

    params = (10, 1_000)
    param_names = ("workers",)

    def track_seconds(self, workers: int) -> float:
        return Simulation(load_of(1e14), Machines(workers, 1, workers)).run().seconds


def main(arguments: list[str] | None = None) -> None:
    """Simulate one pass."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster_simulation", description=main.__doc__
    )
    parser.add_argument("--terabytes", type=float, default=1000.0)
    parser.add_argument("--columns", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-backups", action="store_true")
    asked = parser.parse_args(arguments)
    on = Machines(asked.workers, asked.threads, asked.workers * asked.threads)
    load = load_of(asked.terabytes * 1e12, asked.columns)
    found: dict[str, Any] = asdict(
        Simulation(load, on, asked.seed, has_backups=not asked.no_backups).run()
    )
    print(json.dumps(found | {"planned_seconds": plan_cluster(load, on, "it").pass_seconds}))


if __name__ == "__main__":
    main()
