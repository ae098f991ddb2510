"""SIGKILL in the middle of an addition: the version before is whole, or the new one is, and nothing else.

Writers kill themselves at a call that changes files.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from streamsvd import compress, open_compressed
from tests.faults.dying import die_at

KILLS, SOAK = 8, 150
CALLS = 90
"""Calls that change files of two additions, or of a new collection and an addition."""
BASES = np.random.default_rng(0).standard_normal((3, 30, 2))


def block_of(number: int) -> np.ndarray:
    """A block of one of three subspaces, by its number."""
    return BASES[number % 3] @ np.random.default_rng(number).standard_normal((2, 8))


def add(path: str, first: int, calls: int, told: Connection) -> None:
    """Two matrices an addition, without end; each is acknowledged when the call has returned."""
    die_at(calls)
    while True:
        compress({f"b{first + i}": block_of(first + i) for i in range(2)}, path, append=True)
        told.send(first)
        first += 2


def make(path: str, first: int, calls: int, told: Connection) -> None:
    """A new collection, and additions to it."""
    die_at(calls)
    compress({f"b{i}": block_of(i) for i in range(2)}, path, 0.01)
    add(path, first + 2, calls, told)


@pytest.fixture(scope="module")
def server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["streamsvd.collections", "streamsvd.store.collections.archive"])
    return context


def killed(server, target, path: Path, first: int, calls: int) -> list[int]:
    """What was acknowledged before it died."""
    here, there = server.Pipe(duplex=False)
    process = server.Process(target=target, args=(str(path), first, calls, there), daemon=True)
    process.start()
    there.close()
    found = []
    with contextlib.suppress(EOFError):
        while True:
            found.append(here.recv())
    here.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return found


def assert_whole(path: Path) -> int:
    """How many matrices there are, once all of them are what they should be."""
    held = open_compressed(path)
    names = list(held)
    assert names == [f"b{i}" for i in range(len(names))]
    assert len(names) == 2 * held.version
    for i, name in enumerate(names):
        A = block_of(i)
        assert np.linalg.norm(held[name] - A) <= held.block_errors[name] * np.linalg.norm(A)
        assert held.block_errors[name] <= 0.01
    return len(names)


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK, marks=pytest.mark.slow)])
def test_a_killed_addition_leaves_a_whole_version(tmp_path, server, kills) -> None:
    path, draw = tmp_path / "c.zarr", random.Random(kills)
    compress({f"b{i}": block_of(i) for i in range(2)}, path, 0.01)
    count = 2
    for _ in range(kills):
        told = killed(server, add, path, count, draw.randint(0, CALLS))
        found = assert_whole(path)
        assert count + 2 * len(told) <= found <= count + 2 * len(told) + 2
        count = found
    assert count > 2
    compress(
        {f"b{count}": block_of(count), f"b{count + 1}": block_of(count + 1)}, path, append=True
    )
    assert assert_whole(path) == count + 2
    held = open_compressed(path)
    folders = {key.split("/")[1] for key in held._contents.files}
    assert {
        p.name for p in (path / "versions").iterdir()
    } == folders  # what was killed is collected


def test_a_collection_killed_while_it_is_made_leaves_a_place_for_the_next(tmp_path, server) -> None:
    draw = random.Random(1)
    for i in range(12):
        path = tmp_path / f"c{i}.zarr"
        killed(server, make, path, 0, draw.randint(0, CALLS))
        compress({f"b{i}": block_of(i) for i in range(2)}, path, 0.01, overwrite=True)
        held = open_compressed(path)
        assert set(held) == {"b0", "b1"}
        for name in held:
            held[name]
