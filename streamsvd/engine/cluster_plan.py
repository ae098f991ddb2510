"""What a pass costs on a cluster of so many workers, and how many of them help: arithmetic alone, from counts and rates.

A pass begins with the operand, which every worker fetches; then tasks go to whichever thread is free; their sums are joined
in a tree, neighbours where they lie as far as that goes; the last sum comes home, where the dense step is. Its time is

    broadcast + max(even share, source, links, what comes home, scheduler) + tail + merges + dense step

and that is an estimate: what it assumes is said with it. Bytes and tasks are counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from streamsvd.engine.machines import Machines, count_of, show_rate
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.task_count import (
    LEAST_PER_THREAD,
    THREAD_RATE,
    USUAL_PER_THREAD,
    moved_sums,
    task_level,
    tasks_of_pass,
)
from streamsvd.errors import BudgetError

SCHEDULER_SECONDS = 1.5e-3
"""Of the scheduler for each task and each join, as measured; it has one thread."""
WORKER_SECONDS = 3.5e-3
"""Of a worker for each task, beside what the task does."""
JOIN_RATE = 1.5e9
"""Bytes of a sum that are received, unpacked and added a second."""
SPREAD = 0.1
"""Of the speeds of workers, relative. The last tasks are waited for one task long, where there are more than threads, and as
much more as the slowest of all workers takes."""
LEAST_GAIN = 1.25
"""Twice as many workers help where a pass is so many times faster."""
MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class PassLoad:
    """What a pass of a verb asks, wherever it runs.

    Attributes
    ----------
    leaves
        Leaves of its merge tree.
    pass_bytes
        Decoded bytes that it asks of the store.
    thread_seconds
        What all leaves take one thread; None to count with `THREAD_RATE`.
    operand_bytes, sum_bytes
        What every worker is given, and what a task hands back.
    home_bytes
        What comes to the process that asks beside the sum: rows, where their order is the method.
    dense_seconds
        What that process does with the sum.
    worker_bytes, client_bytes
        Memory of the tasks of one worker, and of that process, above imports.
    passes
        Passes expected; None where the data decide.
    leaves_are_tasks
        Whether leaves are what tasks are whatever the cluster, such as windows of rows; their results are not joined.
    """

    leaves: int
    pass_bytes: int
    thread_seconds: float | None = None
    operand_bytes: int = 0
    sum_bytes: int = 0
    home_bytes: int = 0
    dense_seconds: float = 0.0
    worker_bytes: int = 0
    client_bytes: int = 0
    passes: float | None = None
    leaves_are_tasks: bool = False


@dataclass(frozen=True, slots=True)
class PassSeconds:
    """The parts of a pass in seconds; `total` is what it lasts.

    Attributes
    ----------
    broadcast
        Until every worker has the operand.
    even, tail
        Reading and multiplying, shared among all threads; and what the last tasks last longer.
    source, links, home, scheduler
        What the store, the links of workers, that of the process that asks and the scheduler take, all meanwhile.
    merges, dense
        Joining the last sums, and the dense step at home.
    """

    broadcast: float
    even: float
    tail: float
    source: float
    links: float
    home: float
    scheduler: float
    merges: float
    dense: float

    @property
    def total(self) -> float:
        """What the pass lasts."""
        meanwhile = max(self.even, self.source, self.links, self.home, self.scheduler) + self.tail
        return self.broadcast + meanwhile + self.merges + self.dense


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A pass on a cluster, before it is run.

    Attributes
    ----------
    machines
        What it was made for.
    tasks, leaves, leaves_of_task
        Tasks of a pass, the leaves of its tree, and how many of them a task has.
    bytes_read, network_bytes
        Of a pass: decoded bytes asked of the store, and bytes between processes, of which `broadcast_bytes` are the operand,
        `sum_moves` times `sum_bytes` the sums, and `home_bytes` what else comes home.
    seconds, pass_seconds
        Parts of a pass, and all of them.
    run_seconds
        Of all passes expected; None where the data decide how many there are.
    most_workers, limit
        Workers beyond which twice as many make a pass less than 1.25 times as fast, and what it is then that stands in the way.
    worker_bytes, worker_limit
        Memory of the tasks of a worker, and what they may take; None without a limit.
    client_bytes
        Memory of the process that asks, above imports.
    pass_price, run_price
        Of all workers, in the currency of the price that was given; None without one.
    assumptions
        What seconds rest on, a sentence each.
    """

    machines: Machines
    tasks: int
    leaves: int
    leaves_of_task: int
    bytes_read: int
    network_bytes: int
    broadcast_bytes: int
    sum_bytes: int
    sum_moves: int
    home_bytes: int
    seconds: PassSeconds
    pass_seconds: float
    run_seconds: float | None
    most_workers: int
    limit: str
    worker_bytes: int
    worker_limit: int | None
    client_bytes: int
    pass_price: float | None
    run_price: float | None
    assumptions: tuple[str, ...]

    def explain(self) -> list[str]:
        """Lines for people."""
        s = self.seconds
        leaves = f"{count_of(self.leaves_of_task, 'leaf')}".replace("leafs", "leaves")
        parts = [f"{s.even:.3g} s shared evenly", f"tail {s.tail:.2g}"]
        parts += [
            f"{name} {value:.2g}"
            for name, value in (
                ("broadcast", s.broadcast),
                ("merges", s.merges),
                ("dense step", s.dense),
            )
            if value >= 0.01 * self.pass_seconds
        ]
        meanwhile = [
            f"{name} {value:.2g}"
            for name, value in (
                ("source", s.source),
                ("links", s.links),
                ("home", s.home),
                ("scheduler", s.scheduler),
            )
        ]
        allowed = (
            f" of {show_bytes(self.worker_limit)} allowed" if self.worker_limit is not None else ""
        )
        lines = [
            f"cluster    {self.machines.explain()}",
            f"spread     {count_of(self.tasks, 'task')} a pass of {leaves}, {self.leaves:,} in all",
            f"traffic    a pass reads {show_bytes(self.bytes_read)} and moves {show_bytes(self.network_bytes)} between processes: "
            f"{show_bytes(self.broadcast_bytes // self.machines.workers)} to each worker, {count_of(self.sum_moves, 'sum')} of "
            f"{show_bytes(self.sum_bytes)}"
            + (f", {show_bytes(self.home_bytes)} home" if self.home_bytes else ""),
            f"a pass     about {self.pass_seconds:.3g} s: {', '.join(parts)}; meanwhile {', '.join(meanwhile)}",
            f"enough     about {count_of(self.most_workers, 'worker')}: twice as many gain less than a quarter, as {self.limit}",
            f"a worker   needs {show_bytes(self.worker_bytes)}{allowed}; the process that asks needs {show_bytes(self.client_bytes)}",
        ]
        if self.pass_price is not None:
            whole = (
                "" if self.run_price is None else f", {self.run_price:.3g} for the passes expected"
            )
            lines.append(f"price      {self.pass_price:.3g} a pass{whole}")
        lines += [f"assumed    {text}" for text in self.assumptions]
        return lines


def plan_cluster(load: PassLoad, machines: Machines, what: str) -> ClusterPlan:
    """A pass of this load on these machines.

    Parameters
    ----------
    load, machines
        What is asked, and of whom.
    what
        How errors call it, such as ``"svd of A.zarr"``.

    Raises
    ------
    BudgetError
        If the tasks of a worker do not fit its memory; it names the least that does.
    """
    allowed = machines.allowance
    if allowed is not None and load.worker_bytes > allowed:
        raise BudgetError(
            f"{what}, on all threads of a worker at once,", load.worker_bytes, allowed, ""
        )
    seconds = estimate_seconds(load, machines)
    tasks = _tasks(load, machines)
    moves = 0 if load.leaves_are_tasks else moved_sums(tasks, machines.workers)
    broadcast = load.operand_bytes * machines.workers
    most, limit = enough_workers(load, machines)
    total = seconds.total
    run = None if load.passes is None else load.passes * total
    hourly = machines.price_per_hour
    price = None if hourly is None else hourly * machines.workers / 3600
    return ClusterPlan(
        machines=machines,
        tasks=tasks,
        leaves=load.leaves,
        leaves_of_task=1 << _level(load, machines),
        bytes_read=load.pass_bytes,
        network_bytes=broadcast + moves * load.sum_bytes + load.home_bytes,
        broadcast_bytes=broadcast,
        sum_bytes=load.sum_bytes,
        sum_moves=moves,
        home_bytes=load.home_bytes,
        seconds=seconds,
        pass_seconds=total,
        run_seconds=run,
        most_workers=most,
        limit=limit,
        worker_bytes=load.worker_bytes,
        worker_limit=None if allowed is None else int(allowed),
        client_bytes=load.client_bytes,
        pass_price=None if price is None else price * total,
        run_price=None if price is None or run is None else price * run,
        assumptions=_assumptions(load, machines),
    )


def estimate_seconds(load: PassLoad, machines: Machines) -> PassSeconds:
    """The parts of a pass."""
    tasks, workers, threads = _tasks(load, machines), machines.workers, machines.total_threads
    work = _thread_seconds(load, machines) + tasks * WORKER_SECONDS
    one_task = work / load.leaves * min(load.leaves, 1 << _level(load, machines))
    last = one_task * ((tasks > threads) + SPREAD * math.sqrt(2 * math.log(workers)))
    depth = 0 if load.leaves_are_tasks else (tasks - 1).bit_length()
    across = 0.0 if workers == 1 else load.sum_bytes / machines.bandwidth
    join = load.sum_bytes / JOIN_RATE + WORKER_SECONDS
    source = machines.source_bandwidth
    return PassSeconds(
        broadcast=workers.bit_length() * load.operand_bytes / machines.bandwidth,
        even=work / min(threads, tasks),
        tail=0.0 if min(threads, tasks) == 1 else last,
        source=0.0 if source is None else load.pass_bytes / source,
        links=load.pass_bytes / min(workers, tasks) / machines.bandwidth,
        home=load.home_bytes / machines.bandwidth,
        scheduler=(tasks if load.leaves_are_tasks else 2 * tasks - 1) * SCHEDULER_SECONDS,
        merges=depth * (across + join) + load.sum_bytes / machines.bandwidth,
        dense=load.dense_seconds,
    )


def enough_workers(load: PassLoad, machines: Machines) -> tuple[int, str]:
    """Workers beyond which twice as many gain less than `LEAST_GAIN`, a power of two, and what stands in the way."""
    count = 1
    for _ in range(MOST_DOUBLINGS):
        now, twice = (
            estimate_seconds(load, _with_workers(machines, w)) for w in (count, 2 * count)
        )
        if now.total < LEAST_GAIN * twice.total:
            break
        count *= 2
    return count, _hindrance(load, _with_workers(machines, 2 * count))


def _hindrance(load: PassLoad, machines: Machines) -> str:
    """What a pass of too many workers waits for."""
    s = estimate_seconds(load, machines)
    limits = {
        f"the source gives {show_rate(machines.source_bandwidth or 0)}": s.source,
        f"the scheduler takes {1e3 * SCHEDULER_SECONDS:g} ms for each of its tasks and joins": s.scheduler,
        "the links of workers carry what they read": s.links,
        "the dense step is made in one process": s.dense,
        "sums are joined one after another in the tree": s.merges,
        "every worker needs the operand": s.broadcast,
        "all rows come to the process that asks, over its one link": s.home,
        "the tail: the last tasks are waited for": s.tail,
    }
    if machines.total_threads > load.leaves:
        limits["the matrix has no more leaves than that"] = s.even
    elif machines.total_threads > _tasks(load, machines):
        limits["tasks would be too short to be worth their cost"] = s.even
    return max(limits, key=lambda text: limits[text])


def _with_workers(machines: Machines, workers: int) -> Machines:
    return replace(machines, workers=workers, total_threads=workers * machines.threads)


def _thread_seconds(load: PassLoad, machines: Machines) -> float:
    if machines.thread_rate is not None:
        return load.pass_bytes / machines.thread_rate
    return load.pass_bytes / THREAD_RATE if load.thread_seconds is None else load.thread_seconds


def _level(load: PassLoad, machines: Machines) -> int:
    if load.leaves_are_tasks:
        return 0
    return task_level(load.leaves, load.pass_bytes, machines.total_threads)


def _tasks(load: PassLoad, machines: Machines) -> int:
    if load.leaves_are_tasks:
        return load.leaves
    return tasks_of_pass(load.leaves, load.pass_bytes, machines.total_threads)


def _assumptions(load: PassLoad, machines: Machines) -> tuple[str, ...]:
    rate = load.pass_bytes / max(_thread_seconds(load, machines), 1e-9)
    source = machines.source_bandwidth
    limit = "without a limit" if source is None else f"of {show_rate(source)} in decoded bytes"
    return (
        f"a thread reads and multiplies {show_rate(rate)}, all of them alike; the source is {limit}",
        f"{1e3 * SCHEDULER_SECONDS:g} ms of the scheduler and {1e3 * WORKER_SECONDS:g} ms of a worker a task; links of "
        f"{show_rate(machines.bandwidth)}; speeds spread by {SPREAD:.0%}, and no worker is much slower than others",
        f"{LEAST_PER_THREAD} to {2 * USUAL_PER_THREAD} tasks a thread; each worker has a run of neighbours; nothing of it was measured above 4 workers",
    )
