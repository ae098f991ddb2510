"""SIGKILL in the middle of what is written: nothing torn, nothing acknowledged lost, nothing absorbed twice (P1, P2).

Writers kill themselves: so many acknowledgements and so many calls that change files after they began. They are forked
from a server that has imported everything, so that a kill costs milliseconds.
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

from streamsvd import Model, update
from tests.faults.dying import die_at
from tests.faults.model_kit import applied, assert_chain, assert_serial, block_of

KILLS, SOAK = 20, 200
CALLS = 75
"""Calls that change files of one update with left vectors, of two without, or of two and the model that they make."""


def write(path: str, first: int, acknowledged: int, calls: int, told: Connection) -> None:
    """Updates without end; every block is acknowledged when the call has returned. After some it dies."""
    model = Model.open(path)
    number = first
    while True:
        if number == first + acknowledged:
            die_at(calls)
        name = f"b{number}"
        model.update(block_of(name), name)
        told.send(name)
        number += 1


def begin_and_write(path: str, calls: int, told: Connection) -> None:
    """As above, but the model is still to be made."""
    die_at(calls)
    for number in range(1000):
        update(path, block_of(f"b{number}"), f"b{number}", rank=3, keep=2)
        told.send(f"b{number}")


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["streamsvd.models", "tests.faults.model_kit"])
    return context


def killed(
    server: multiprocessing.context.ForkServerContext, target: object, *args: object
) -> list[str]:
    """What a process acknowledged before it died."""
    here, there = server.Pipe(duplex=False)
    process = server.Process(target=target, args=(*args, there), daemon=True)
    process.start()
    there.close()
    names = []
    with contextlib.suppress(EOFError):
        while True:
            names.append(here.recv())
    here.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return names


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [{}, {"u": True, "center": True}], ids=["plain", "left"])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    tmp_path: Path,
    server: multiprocessing.context.ForkServerContext,
    kills: int,
    options: dict[str, bool],
) -> None:
    path, draw = tmp_path / "model", random.Random(kills)
    Model.create(path, 3, keep=3, **options)
    acknowledged: set[str] = set()
    for _ in range(kills):
        count = len(Model.open(path).blocks)
        at = draw.randint(0, 2), draw.randint(0, CALLS)
        acknowledged |= set(killed(server, write, str(path), count, *at))
        model = Model.open(path)
        names = assert_serial(model)
        assert acknowledged <= set(names), "an acknowledged block was lost"
        assert len(names) <= len(acknowledged) + kills
        assert model.verify() == []
        acknowledged |= set(names)  # known from now on
    model = Model.open(path)
    assert model.update(block_of("last"), "last").n_absorbed
    assert_chain(path)
    if options:
        U = model.U[:]
        V = model.Vh
        A = np.concatenate([block_of(name) for name in applied(model)]) - model.mean
        error = np.linalg.norm(A - (U * model.s) @ V)
        assert error <= model.certificate.frobenius_error * (1 + 1e-6)
    assert_rubbish_is_collected(path, model)


def assert_rubbish_is_collected(path: Path, model: Model) -> None:
    """What killed writers left goes with the next versions, except temporary files younger than a lease."""
    for i in range(3):
        model.update(block_of(f"later{i}"), f"later{i}")
    model.collect()
    kept = {entry.folder for entry in model.versions[-3:]}
    kept |= {e.folder for e in model.blocks if e.files}
    kept |= {s.key.rpartition("/")[0] for s in model._held.manifest.segments}
    found = {f"versions/{p.name}" for p in (path / "versions").iterdir()}
    assert found == kept
    assert not list((path / "log").glob("*.tmp"))
    assert model.verify() == []


def test_a_writer_killed_while_it_makes_the_model_leaves_a_place_for_the_next(
    tmp_path: Path, server: multiprocessing.context.ForkServerContext
) -> None:
    draw = random.Random(1)
    for i in range(12):
        path = tmp_path / f"model{i}"
        names = killed(server, begin_and_write, str(path), draw.randint(0, CALLS))
        update(path, block_of("next"), "next", rank=3, keep=2)
        model = Model.open(path)
        found = assert_serial(model)
        assert set(names) <= set(found)
        assert model.verify() == []
