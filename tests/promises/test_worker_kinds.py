"""One answer, bit for bit, on any number of threads and workers, with and without nannies, whatever BLAS threads they were given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import zarr
from distributed import Client

import streamsvd
from streamsvd.engine.schedulers import use_scheduler

pytestmark = pytest.mark.slow
MEMORY = "600MiB"
CASES = {
    "width 600": ((4000, 600), (250, 600), {}),
    "width 20000": ((300, 20_000), (25, 20_000), {"route": "krylov", "axis": "rows"}),
    "gram": ((4000, 600), (250, 600), {"route": "gram"}),
    "wide": ((300, 6000), (300, 500), {}),
}
WORKERS = [
    (1, "--no-nanny", "2"),
    (2, "--nanny", "1"),
    (2, "--no-nanny", "1"),
    (5, "--no-nanny", "2"),
]


@pytest.fixture(scope="module")
def matrices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, (shape, chunks, _) in CASES.items():
        rng = np.random.default_rng(len(name))
        k = min(shape)
        values = (
            rng.standard_normal((shape[0], k))
            * 0.7 ** np.arange(k)
            @ (rng.standard_normal((k, shape[1])) / shape[1] ** 0.5)
        )
        zarr.create_array(str(folder / f"{name}.zarr"), data=values, chunks=chunks)
    return folder


@contextmanager
def process(*command, before=(), count=1, **settings):
    """Processes of dask's command line while it lasts; ``before`` is what starts them."""
    running = [
        subprocess.Popen(
            [*before, sys.executable, "-m", "dask", *command],
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


@contextmanager
def scheduler(file):
    """The address of a scheduler in a process of its own, which writes it to a file."""
    local = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    with process("scheduler", *local, "--scheduler-file", str(file)):
        address = ""
        while not address:
            with suppress(OSError, ValueError):  # not yet, or not yet whole
                address = json.loads(file.read_text())["address"]
            time.sleep(0.1)
        yield address


@contextmanager
def started(folder, count, nanny, threads):
    """The address of a scheduler with so many workers, each in a process of its own."""
    options = ("--host", "127.0.0.1", nanny, "--nthreads", "1", "--no-dashboard")
    numbers = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    with (
        scheduler(folder / f"{count}{nanny}{threads}.json") as address,
        process("worker", address, *options, count=count, **numbers),
    ):
        with Client(address) as client:
            client.wait_for_workers(count)
        yield address


def answers(folder):
    """What each case gives; its plan is made where it runs."""
    found = {}
    for name, (_, _, options) in CASES.items():
        path = folder / f"{name}.zarr"
        plan = streamsvd.plan_svd(path, 5, tol=1e-4, memory=MEMORY, **options)
        result = streamsvd.svd(path, plan=plan)
        found[name] = result.s.tobytes() + np.ascontiguousarray(result.Vh).tobytes()
    return found


@pytest.fixture(scope="module")
def expected(matrices):
    with use_scheduler(None, 1):
        return answers(matrices)


@pytest.mark.parametrize("threads", [2, 4])
def test_any_number_of_threads_gives_the_same_bits(matrices, expected, threads):
    with use_scheduler(None, threads):
        assert answers(matrices) == expected


@pytest.mark.parametrize(("count", "nanny", "threads"), WORKERS)
def test_workers_of_any_kind_give_the_same_bits(matrices, expected, count, nanny, threads):
    with started(matrices, count, nanny, threads) as address, use_scheduler(address, None):
        found = answers(matrices)
    assert [name for name in CASES if found[name] != expected[name]] == []
