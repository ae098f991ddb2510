"""One answer, bit for bit, on any number of threads and workers, with and without nannies, whatever BLAS threads they were given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import pytest
import zarr
from distributed import Client

import streamsvd
from streamsvd.engine.schedulers import use_scheduler

pytestmark = pytest.mark.slow
MEMORY = "600MiB"
CASES = {
    "width 600": ((6000, 600), (500, 600), {}),
    "width 20000": ((900, 20_000), (100, 20_000), {"route": "krylov"}),
    "gram": ((6000, 600), (500, 600), {"route": "gram"}),
    "wide": ((400, 9000), (400, 500), {}),
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
def process(*command, before=(), **settings):
    """A process of dask's command line while it lasts; ``before`` is what starts it."""
    running = subprocess.Popen(
        [*before, sys.executable, "-m", "dask", *command],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait()


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
    with ExitStack() as stack:
        address = stack.enter_context(scheduler(folder / f"{count}{nanny}{threads}.json"))
        for _ in range(count):
            stack.enter_context(process("worker", address, *options, **numbers))
        with Client(address) as client:
            client.wait_for_workers(count)
        yield address


def answers(folder):
    found = {}
    for name, (_, _, options) in CASES.items():
        result = streamsvd.svd(folder / f"{name}.zarr", 5, tol=1e-4, memory=MEMORY, **options)
        found[name] = result.s.tobytes() + np.ascontiguousarray(result.Vh).tobytes()
    return found


def test_threads_and_workers_of_any_kind_give_the_same_bits(matrices):
    with use_scheduler(None, 1):
        expected = answers(matrices)
    for threads in (2, 4):
        with use_scheduler(None, threads):
            assert answers(matrices) == expected, threads
    for count, nanny, threads in WORKERS:
        with started(matrices, count, nanny, threads) as address, use_scheduler(address, None):
            found = answers(matrices)
        differing = [name for name in CASES if found[name] != expected[name]]
        assert not differing, (count, nanny, threads)
