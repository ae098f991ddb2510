"""T5: passes on 1, 2 and 4 workers in processes of their own, against threads, the plan and the simulation.

``python -m benchmarks.cluster PATH --workers 2`` starts a scheduler and workers as ``dask scheduler`` and ``dask worker`` do, runs
one factorisation in this process, which should be fresh, and prints one line of JSON. ``--workers 0 --threads 2`` is the same on
threads of this process. ``python -m benchmarks.cluster`` alone prints the whole table, ``--small`` that of a small matrix: the matrix
is made from a seed into a temporary folder, and removed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median as middle
from typing import Any

import numpy as np
import psutil

import streamsvd
from benchmarks import data
from benchmarks.cluster_simulation import Simulation
from benchmarks.fresh import ROOT, Figures, fresh, interleaved
from benchmarks.tables import Row, Size, Table, judged
from benchmarks.worker_meters import begin_peak, count_sent, end_peak, sent_bytes
from streamsvd.engine.cluster_plan import PassLoad
from streamsvd.engine.events import PassDone
from streamsvd.engine.machines import Machines

FLOOR, SPEED_UP, BYTES = 1.5, 1.7, 0.25
"""Most seconds of two workers relative to two threads, least speed-up of the second worker, and what bytes may be off the plan."""
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Case:
    """A matrix and what is asked of it."""

    m: int
    n: int
    chunks: tuple[int, int]
    rank: int
    memory: str
    limit: str


CASES: dict[Size, Case] = {
    "small": Case(12_000, 400, (500, 400), 8, "200MiB", "512MiB"),
    "full": Case(500_000, 2_000, (2_000, 2_000), 50, "290MiB", "512MiB"),
}
WORKERS = (1, 2, 4)


@contextlib.contextmanager
def processes(workers: int, threads: int, limit: str) -> Iterator[str]:
    """The file by which a scheduler with so many workers is found; all are ended with it."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        where = str(Path(folder, "scheduler.json"))

        def start(*arguments: str) -> None:
            command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", where]
            run = subprocess.Popen(
                command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )  # fmt: skip
            stack.callback(_end, run)

        start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--no-dashboard",
        )
        deadline = time.monotonic() + START_SECONDS
        while not Path(where).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(workers):
            start(
                "worker", "--host", "127.0.0.1", "--nthreads", str(threads), "--memory-limit", limit, "--no-dashboard", "--local-directory",
                folder,
            )  # fmt: skip
        yield where


def _end(run: subprocess.Popen[bytes]) -> None:
    run.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(20)
    if run.poll() is None:
        run.kill()
        run.wait()


def factorise(path: Path, case: Case) -> tuple[Any, list[float]]:
    """The factorisation, and the seconds of its passes; read ahead of it once, so that the page cache is warm."""
    seconds: list[float] = []

    def note(event: Any) -> None:
        if isinstance(event, PassDone):
            seconds.append(event.elapsed_s)

    found = streamsvd.svd(path, case.rank, memory=case.memory, route="krylov", callback=note)
    return found, seconds


def figures_of(found: Any, seconds: list[float]) -> Figures:
    """Of any run."""
    digest = hashlib.sha256(
        np.ascontiguousarray(found.Vh).tobytes() + found.s.tobytes()
    ).hexdigest()
    return {
        "pass_s": middle(seconds),
        "passes": len(seconds),
        "digest": digest,
        "projected": found.info.projected_bytes,
        "status": str(found.info.status),
    }


def measure_threads(path: Path, case: Case, threads: int) -> Figures:
    """On threads of this process."""
    import dask

    with dask.config.set(num_workers=threads):
        plan = streamsvd.plan_svd(path, case.rank, memory=case.memory, route="krylov")
        found, seconds = factorise(path, case)
    return figures_of(found, seconds) | {"workers": 0, "leaves": len(plan.layout.spans)}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measure(path: Path, case: Case, workers: int, threads: int = 1) -> Figures:
    """On workers in processes of their own."""
    from distributed import Client

    with (
        processes(workers, threads, case.limit) as where,
        Client(scheduler_file=where, timeout="60s") as client,
    ):
        client.wait_for_workers(workers, timeout=START_SECONDS)
        scheduler = client.run_on_scheduler(count_sent)
        pids = list(client.run(count_sent).values())
        count_sent()
        plan = streamsvd.plan_svd(path, case.rank, memory=case.memory, route="krylov")
        client.run(begin_peak, str(path))
        before = [cpu_seconds(pid) for pid in (scheduler, os.getpid(), *pids)]
        sent = (
            client.run_on_scheduler(sent_bytes)
            + sum(client.run(sent_bytes).values())
            + sent_bytes()
        )
        found, seconds = factorise(path, case)
        sent = (
            client.run_on_scheduler(sent_bytes)
            + sum(client.run(sent_bytes).values())
            + sent_bytes()
            - sent
        )
        after = [cpu_seconds(pid) for pid in (scheduler, os.getpid(), *pids)]
        ends = list(client.run(end_peak).values())
    spent = [b - a for a, b in zip(before, after, strict=True)]
    there, tasks = plan.cluster, sum(end["executed"] for end in ends)
    return figures_of(found, seconds) | {
        "workers": workers,
        "sent_bytes": sent,
        "planned_bytes": there.network_bytes * len(seconds),
        "planned_pass_s": there.pass_seconds,
        "planned_tasks": there.tasks,
        "leaves": there.leaves,
        "operand_bytes": there.broadcast_bytes // workers,
        "sum_bytes": there.sum_bytes,
        "dense_s": there.seconds.dense,
        "pass_bytes": there.bytes_read,
        "executed": tasks,
        "scheduler_cpu_s": spent[0],
        "client_cpu_s": spent[1],
        "worker_cpu_s": sum(spent[2:]),
        "peak": max(end["peak"] for end in ends),
        "highest": max(end["peak"] + end["resident"] for end in ends),
        "worker_needs": there.worker_bytes,
        "worker_limit": there.machines.worker_memory,
        "spilled": sum(end["spilled"] for end in ends),
    }


def simulated_seconds(run: Figures, alone: Figures) -> float:
    """What the simulation says of a run, with the rate of one worker; nobody is slow, and all share two cores."""
    load = PassLoad(
        leaves=int(run["leaves"]), pass_bytes=int(run["pass_bytes"]), thread_seconds=alone["pass_s"],
        operand_bytes=int(run["operand_bytes"]), sum_bytes=int(run["sum_bytes"]),
    )  # fmt: skip
    workers = int(run["workers"])
    crowd = max(1.0, workers / (os.cpu_count() or 1))
    load = replace(load, thread_seconds=alone["pass_s"] * crowd)
    return Simulation(load, Machines(workers, 1, workers), slow_share=0.0).run().seconds


def table(size: Size = "full", rounds: int = 3, path: Path | None = None) -> Table:
    """All runs in turns, medians."""
    case = CASES[size]
    with tempfile.TemporaryDirectory() as folder:
        place = path or data.make(
            Path(folder) / "rows.zarr", "pow1", case.m, case.n, chunks=case.chunks, exact=False
        )
        more = () if size == "full" else ("--small",)
        module = "benchmarks.cluster"
        commands: dict[str, Any] = {f"{w}": (module, place, "--workers", w, *more) for w in WORKERS}
        commands |= {
            f"threads {t}": (module, place, "--workers", 0, "--threads", t, *more) for t in (1, 2)
        }
        fresh(*commands["threads 2"])  # the page cache is warm
        runs = interleaved(commands, rounds)
    one, two, floor = runs["1"], runs["2"], runs["threads 2"]
    rows = []
    for workers in WORKERS:
        run = runs[str(workers)]
        off, model = run["sent_bytes"] / run["planned_bytes"], simulated_seconds(run, one)
        each = {
            name: 1e3 * run[f"{name}_cpu_s"] / max(run["executed"], 1)
            for name in ("scheduler", "client")
        }
        name = f"{workers} worker{'s' * (workers > 1)}"
        rows += [
            Row(
                f"{name}: bytes between processes",
                f"the plan's, within {BYTES:.0%}",
                f"{off:.2f}: {run['sent_bytes'] / 1e6:.1f} MB, planned {run['planned_bytes'] / 1e6:.1f} MB in {run['passes']:.0f} passes",
                judged(abs(off - 1) <= BYTES, size=size),
            ),
            Row(
                f"{name}: a pass",
                "as found",
                f"{run['pass_s']:.2f} s, planned {run['planned_pass_s']:.2f} s, simulated {model:.2f} s from one worker; "
                f"{run['executed']:.0f} tasks, planned {run['planned_tasks']:.0f} a pass and their joins; a task: scheduler "
                f"{each['scheduler']:.1f} ms, client {each['client']:.1f} ms; workers {run['worker_cpu_s']:.1f} s of CPU in all",
                "not judged",
            ),
            Row(
                f"{name}: memory",
                "peak <= planned <= limit, nothing on disk",
                f"{run['peak'] / 2**20:.0f} <= {run['worker_needs'] / 2**20:.0f} MiB; {run['highest'] / 2**20:.0f} <= "
                f"{run['worker_limit'] / 2**20:.0f} MiB with imports; {run['spilled']:.0f} bytes on disk",
                judged(
                    run["peak"] <= run["worker_needs"] and run["highest"] <= run["worker_limit"] and run["spilled"] == 0
                ),
            ),
            Row(
                f"{name}: bits",
                "those of two threads",
                "the same" if run["digest"] == floor["digest"] else "others",
                judged(run["digest"] == floor["digest"]),
            ),
        ]  # fmt: skip
    ratio, gain = two["pass_s"] / floor["pass_s"], one["pass_s"] / two["pass_s"]
    alike = runs["threads 1"]["pass_s"] / floor["pass_s"]
    rows += [
        Row(
            "two workers against two threads",
            f"<= {FLOOR:g} times the seconds of a pass",
            f"{ratio:.2f}: {two['pass_s']:.2f} s, threads {floor['pass_s']:.2f} s",
            judged(ratio <= FLOOR, size=size),
        ),
        Row(
            "the second worker",
            f">= {SPEED_UP:g} times as fast as one",
            f"{gain:.2f}: {one['pass_s']:.2f} and {two['pass_s']:.2f} s; a second thread {alike:.2f}",
            judged(gain >= SPEED_UP, size=size),
        ),
    ]
    notes = (
        f"{case.m:,} x {case.n:,} float32, zstd, rank {case.rank}, {case.memory}, workers of one thread and {case.limit}; scheduler, workers "
        f"and client on {os.cpu_count()} cores, so that four workers share them. Medians of {rounds} rounds in turns, passes of the loop.",
    )
    return Table("T5", "workers in processes of their own", rows, notes, runs)


def main(arguments: list[str] | None = None) -> None:
    """Measure one run, or the whole table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=main.__doc__)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, help="processes; 0 for threads of this one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a matrix of 19 MB")
    asked = parser.parse_args(arguments)
    size: Size = "small" if asked.small else "full"
    if asked.workers is None:
        print(table(size, asked.rounds, asked.path).markdown())
        return
    case = CASES[size]
    found = (
        measure(asked.path, case, asked.workers, asked.threads)
        if asked.workers
        else measure_threads(asked.path, case, asked.threads)
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
