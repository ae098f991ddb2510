"""Clusters of real processes that are disturbed by events: a plugin of the scheduler, which is in this process, sees what runs where."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import numpy as np
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

TASKS = ("subtree", "join", "span", "item")
"""How keys of tasks of passes begin."""


@dataclass(eq=False)
class Disturbance(SchedulerPlugin):
    """Sends a signal to the worker that has just been given a task, or ended it, at the task of this number, counted from 1.

    Attributes
    ----------
    at, number
        Which task; and the signal.
    moment
        Of the task, as the scheduler calls it: ``"processing"`` when a worker is given it, ``"memory"`` when its value lies
        there.
    pids
        Process of each worker, by its address.
    all_workers
        Whether all workers get the signal.
    count, parts, struck
        Tasks given so far, second tries apart, what they were of, and who was signalled.
    """

    at: int
    number: int = signal.SIGKILL
    moment: str = "processing"
    pids: dict[str, int] = field(default_factory=dict)
    all_workers: bool = False
    count: int = 0
    parts: set[str] = field(default_factory=set)
    struck: list[str] = field(default_factory=list)
    scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **options: Any) -> None:
        if finish != self.moment or not str(key).startswith(TASKS):
            return
        part = str(key)
        if not part.startswith("item"):
            part = part.rpartition("-")[0]  # without the number of the try
        if part in self.parts:
            return
        self.parts.add(part)
        self.count += 1
        if self.count == self.at:
            task = self.scheduler.tasks[key]
            worker = (task.processing_on or next(iter(task.who_has))).address
            for address in list(self.pids) if self.all_workers else [worker]:
                self.struck.append(address)
                os.kill(self.pids[address], self.number)


PROCESSES = {
    "distributed.worker.multiprocessing-method": "forkserver",
    # A worker that is away when it was away so long ago too is given up with its nanny, killed twice as it may be.
    "distributed.deploy.lost-worker-timeout": "1 h",
}


@contextlib.contextmanager
def processes(count: int, **options: Any) -> Iterator[tuple[LocalCluster, Client]]:
    """A cluster of workers in processes of their own, of one thread each, under nannies.

    They are forked from a process that has imported what they need: seconds sooner, also those that take the place of others.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    known = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": 0}
    with (
        dask.config.set(PROCESSES),
        LocalCluster(n_workers=count, processes=True, **known | options) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


@contextlib.contextmanager
def disturbed(
    cluster: LocalCluster, client: Client, at: int, **options: Any
) -> Iterator[Disturbance]:
    """A disturbance while the block lasts; it begins once every worker is there, and its nanny knows of it and would mend it."""
    nannies = cluster.workers.values()

    def all_there() -> bool:
        known = {nanny.worker_address for nanny in nannies if nanny.status == Status.running}
        return len(known) == len(cluster.worker_spec) and known == set(cluster.scheduler.workers)

    wait_until(all_there, "all workers under their nannies")
    pids = {nanny.worker_address: nanny.pid for nanny in nannies}
    plugin = Disturbance(at, pids=pids, **options)
    client.register_plugin(plugin, name="disturbance")
    try:
        yield cluster.scheduler.plugins["disturbance"]
    finally:
        client.unregister_scheduler_plugin("disturbance")


def keys_left(cluster: LocalCluster) -> list[str]:
    """Tasks of passes that the scheduler knows."""
    return [str(key) for key in cluster.scheduler.tasks if str(key).startswith(TASKS)]


def wait_until(true: Any, what: str, seconds: float = 60.0) -> None:
    """Wait for something that comes about by itself."""
    until = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        until.wait(0.05)
    raise AssertionError(f"{what} did not come about within {seconds} s")


@contextlib.contextmanager
def separate_scheduler(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler in a process of its own, and its address."""
    command = [sys.executable, "-c", SCHEDULER, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def separate_worker(address: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of one thread in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, address], text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


SCHEDULER = """
import asyncio, logging, sys
from distributed import Scheduler
logging.getLogger("distributed").setLevel(logging.CRITICAL)
async def serve():
    async with Scheduler(host="127.0.0.1", port=int(sys.argv[1]), dashboard_address=":0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(serve())
"""
WORKER = """
import asyncio, logging, sys
from distributed import Worker
logging.getLogger("distributed").setLevel(logging.CRITICAL)
async def serve():
    async with Worker(sys.argv[1], nthreads=1, memory_limit=0, dashboard=False) as worker:
        await worker.finished()
asyncio.run(serve())
"""


@dataclass(eq=False)
class Rows:
    """Rows of numbers, whose reads in other processes are written down, and may be made to wait.

    Attributes
    ----------
    folder
        Where a line is written for each read, its process and first row; and where a file ``free`` ends all waiting.
    waits
        First rows of reads that wait; all of them if empty.
    once
        Whether each waits the first time only.
    home
        Process whose reads neither wait nor are written down.
    """

    folder: Path
    waits: tuple[int, ...] = ()
    once: bool = False
    home: int = field(default_factory=os.getpid)
    shape: tuple[int, int] = (1600, 12)
    chunks: tuple[int, int] = (50, 12)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("f8"))

    def read(self, rows: slice) -> np.ndarray:
        if os.getpid() != self.home:
            with (self.folder / "reads").open("a") as told:
                told.write(f"{os.getpid()} {rows.start}\n")
            if not self.waits or rows.start in self.waits:
                self._wait(rows.start)
        draw = np.random.default_rng(rows.start).standard_normal
        return draw((rows.stop - rows.start, self.shape[1])) * np.geomspace(1, 1e-2, self.shape[1])

    def _wait(self, row: int) -> None:
        if self.once:
            try:
                (self.folder / f"waited-{row}").touch(exist_ok=False)
            except FileExistsError:
                return
        while not (self.folder / "free").exists():
            time.sleep(0.01)

    def reads(self) -> list[tuple[int, int]]:
        """Process and first row of each."""
        if not (self.folder / "reads").exists():
            return []
        lines = (self.folder / "reads").read_text().splitlines()
        return [(int(a), int(b)) for a, b in map(str.split, lines)]

    def free(self) -> None:
        """Let all go on."""
        (self.folder / "free").touch()
