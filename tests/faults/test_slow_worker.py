"""One of three workers reads at a tenth of the speed of others: they do most of its part, and the bits are those of equal ones."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import pytest

import streamsvd
from tests.faults.cluster_kit import Rows, processes

SECONDS = 0.08
"""That a chunk takes; on the slow worker ten times as long."""


@dataclass(eq=False)
class Slow(Rows):
    """Rows whose reads take a while, and ten times as long in one process."""

    slow: int = 0
    shape: tuple[int, int] = (19_200, 12)

    def read(self, rows: slice) -> np.ndarray:
        pid = os.getpid()
        if pid != self.home:
            time.sleep(SECONDS * (rows.stop - rows.start) / 50 * (10 if pid == self.slow else 1))
        return super().read(rows)


@pytest.mark.slow
def test_others_do_most_of_what_a_slow_worker_was_given(tmp_path):
    found, seconds = [], []
    with processes(3) as (_, client):
        pids = list(client.run(os.getpid).values())
        for slow in (0, 0, pids[0]):  # the first time workers import
            (tmp_path / "reads").unlink(missing_ok=True)
            A = Slow(tmp_path, waits=(-1,), slow=slow)
            began = time.perf_counter()
            result = streamsvd.svd(A, 3, route="krylov", tol=1e-3)
            seconds.append(time.perf_counter() - began)
            found.append(result.s.tobytes() + result.Vh.tobytes())
    read = [pid for pid, _ in A.reads()]
    share = read.count(pids[0]) / len(read)
    print(
        f"{share:.3f} of the reads by the slow worker; {seconds} s, {seconds[2] / seconds[1]:.2f}"
    )
    assert found[0] == found[1] == found[2]
    assert set(read) == set(pids)
    assert share < 1 / 6  # of equal ones 1/3, of what it could do in the time 1/21
