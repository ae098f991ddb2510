"""S2: should the Krylov iteration begin from one streamed pass where a sample cannot hold 3 n rows?

On square matrices, whose sample is at most a sixth of the rows: passes and seconds to a certified tolerance, from the
sample as the product begins, and from the basis that `StreamState` leaves after one pass over permuted chunks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

import streamsvd
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.factor import iteration as iterate
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.options import StreamOptions
from streamsvd.testing.spectra import KnownMatrix

Array = npt.NDArray[Any]
SIDE: dict[Size, int] = {"small": 600, "full": 6_000}
RANK, CHUNK = 20, 250


@contextmanager
def swept(A: Array) -> Iterator[None]:
    """Factorisations begin from a streamed pass over ``A``, which is not counted among theirs."""
    original = iterate.start_block

    def start(sample: Any, layout: Any, prep: Any, d: Any, width: int, **options: Any) -> Any:
        found = original(sample, layout, prep, d, width, **options)
        stream = StreamState(StreamOptions(k=RANK, width=width, order="random"), A.shape[1], len(A))
        for chunk in np.random.default_rng(0).permutation(-(-len(A) // CHUNK)):
            stream.partial_fit(A[chunk * CHUNK : (chunk + 1) * CHUNK])
        basis = stream.finalize().basis[:, :width]
        return replace(found, Q=linalg.qr(basis, mode="economic")[0])

    iterate.start_block = start
    try:
        yield
    finally:
        iterate.start_block = original


def table(size: Size = "full", rounds: int = 1) -> Table:
    """Both starts on three spectra at two tolerances."""
    del rounds
    rows = []
    n = SIDE[size]
    for name in ("pow1", "slow", "step"):
        A = KnownMatrix(name, n, n, "float32").rows(0, n)
        for tol in (1e-3, 1e-6):
            began = time.perf_counter()
            sample = streamsvd.svd(A, RANK, tol=tol, memory="2GiB")
            middle = time.perf_counter()
            with swept(A):
                sweep = streamsvd.svd(A, RANK, tol=tol, memory="2GiB")
            end = time.perf_counter()
            passes = 1 + int(sweep.info.passes)
            rows.append(
                Row(
                    f"{name}, {n:,} x {n:,}, tol {tol:g}",
                    "the start that the product has is no slower",
                    f"sample {sample.info.passes:.2f} passes, {middle - began:.1f} s; sweep {passes} passes, "
                    f"{end - middle:.1f} s",
                    judged(middle - began <= end - middle, size=size),
                )
            )
    return Table("S2", "a streamed pass as the start of the Krylov iteration", rows)
