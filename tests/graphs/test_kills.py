"""What is killed in the middle of an embedding: a worker costs time alone, the process leaves what was there before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import zarr

import streamsvd
from tests.faults.cluster_kit import disturbed, keys_left, processes, wait_until
from tests.graphs.communities import communities

ROOT = Path(__file__).parents[2]
CHILD = """
import os, signal, sys
import streamsvd
from streamsvd.engine.events import SpanDone

def die(told):
    if isinstance(told, SpanDone) and told.number == 4 and told.n_finished == 3:
        os.kill(os.getpid(), signal.SIGKILL)

streamsvd.embed(sys.argv[1], 7, out=sys.argv[2], overwrite=True, callback=die)
"""


def write_graph(path):
    """A graph as a group of zarr, and the same in memory."""
    A, _ = communities(1600, 4, 12, 4)
    kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [1600, 1600]}
    group = zarr.create_group(path, attributes=kind)
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(A, name), chunks=(5000,))
    return A


def test_a_worker_that_is_killed_changes_no_bit(tmp_path):
    A = write_graph(tmp_path / "graph.zarr")
    with processes(2) as (cluster, client), disturbed(cluster, client, at=6) as disturbance:
        found = streamsvd.embed(tmp_path / "graph.zarr", 9, normalize=True)
        assert disturbance.struck
        wait_until(lambda: not keys_left(cluster), "an empty scheduler")
    np.testing.assert_array_equal(found.vectors, streamsvd.embed(A, 9, normalize=True).vectors)


def test_a_process_that_is_killed_leaves_what_was_there(tmp_path):
    A = write_graph(tmp_path / "graph.zarr")
    before = streamsvd.embed(A, 3, out=tmp_path / "E").vectors[:]
    child = [sys.executable, "-c", CHILD, tmp_path / "graph.zarr", tmp_path / "E"]
    done = subprocess.run(child, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == -9
    np.testing.assert_array_equal(streamsvd.load(tmp_path / "E").vectors[:], before)
    assert len(list(tmp_path.iterdir())) == 3  # and what the next call clears away
    streamsvd.embed(A, 7, out=tmp_path / "E", overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"graph.zarr", "E"}
