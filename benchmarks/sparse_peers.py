"""Z3: what does a truncated SVD of sparse counts in memory cost, and how far off is it, beside those that people use?

``python -m benchmarks.sparse_peers PEER --rows 4000 --columns 3000`` runs one in this process, which should be fresh, on generated counts of
words and prints one line of JSON: wall and CPU seconds, and singular values. ``python -m benchmarks.run Z3 --size small`` compares all: the error
is that of the worst of the values wanted, against ARPACK to the last digit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import svds

import streamsvd
from benchmarks.fresh import Figures, interleaved
from benchmarks.peers import cpu_s
from benchmarks.tables import Row, Size, Table, judged

Values = npt.NDArray[np.float64]
RANK, TOPICS, WORDS = 20, 100, 60
TOL = 1e-3
CASES: dict[Size, tuple[tuple[int, int], ...]] = {
    "small": ((4_000, 3_000),),
    "full": ((20_000, 10_000), (100_000, 30_000)),
}


def counts(m: int, n: int) -> sparse.csr_array:
    """Counts of words of ``m`` documents, some sixty words each of one of a hundred topics, few of them frequent, over a vocabulary of ``n``."""
    rng = np.random.default_rng(0)
    frequent = 1 / np.arange(1.0, TOPICS + 1)
    topics = rng.choice(TOPICS, size=m, p=frequent / frequent.sum())
    lengths = rng.poisson(WORDS, m) + 1
    popular = 1 / (np.arange(n) + 10.0)
    rows, columns = [], []
    for topic in range(TOPICS):
        chances = popular * rng.gamma(0.2, size=n)
        there = np.flatnonzero(topics == topic)
        which = np.repeat(there, lengths[there])
        rows.append(which)
        columns.append(rng.choice(n, size=which.size, p=chances / chances.sum()))
    places = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(places[0].size, np.float32)
    return sparse.csr_array(sparse.coo_array((ones, places), shape=(m, n)))


def scikit(A: Any, iterations: int) -> Values:
    """``TruncatedSVD`` of scikit-learn, randomized."""
    from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]

    return np.asarray(TruncatedSVD(RANK, n_iter=iterations, random_state=0).fit(A).singular_values_)


def arpack(A: Any, tol: float) -> Values:
    """``svds`` of scipy."""
    start = np.random.default_rng(0).standard_normal(min(A.shape))
    found = svds(A.astype(np.float64), RANK, tol=tol, v0=start, return_singular_vectors=False)
    return np.sort(found)[::-1]


def ours(A: Any) -> Values:
    """``TruncatedSVD`` of this package, every value proved to 1e-3."""
    return np.asarray(streamsvd.TruncatedSVD(RANK, tol=TOL).fit(A).singular_values_)


PEERS: dict[str, Callable[[Any], Values]] = {
    "scikit-learn, 5 iterations": lambda A: scikit(A, 5),
    "scikit-learn, 20 iterations": lambda A: scikit(A, 20),
    "scipy svds": lambda A: arpack(A, TOL),
    "streamsvd, 1e-3": ours,
    "truth": lambda A: arpack(A, 0.0),
}


def measure(peer: str, m: int, n: int) -> Figures:
    """Wall and CPU seconds of one, and what it finds."""
    A = counts(m, n)
    cpu, wall = cpu_s(), time.perf_counter()
    values = PEERS[peer](A)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu_s() - cpu,
        "entries": int(A.nnz),
        "values": values.tolist(),
    }


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Medians of fresh processes, in turns."""
    rows, figures = [], {}
    for m, n in CASES[size]:
        commands = {
            peer: ("benchmarks.sparse_peers", peer, "--rows", m, "--columns", n) for peer in PEERS
        }
        found = interleaved(commands, rounds)
        truth = np.array(found["truth"]["values"])
        what = f"{m:,} x {n:,}, {found['truth']['entries']:,.0f} entries"
        for peer, run in found.items():
            run["error"] = float(np.max(np.abs(np.array(run["values"]) - truth) / truth))
            figures[f"{what}, {peer}"] = run
        best, longest = found["streamsvd, 1e-3"], found["scikit-learn, 20 iterations"]
        for peer, run in found.items():
            asked, verdict = "as found", judged(True, size="small")
            if run is best:
                asked = f"error <= {TOL:g}, less CPU than 20 iterations of scikit-learn"
                is_met = run["error"] <= TOL and run["cpu_s"] <= longest["cpu_s"]
                verdict = judged(is_met, size=size)
            said = f"error {run['error']:.1e}, {run['cpu_s']:.3g} CPU s, {run['wall_s']:.3g} s"
            rows.append(Row(f"{what}: {peer}", asked, said, verdict))
    notes = (
        f"{RANK} values of counts of words in float32, CSR in memory; medians of {rounds} fresh processes. The truth is ARPACK to the last digit.",
    )
    return Table("Z3", "a truncated SVD of sparse counts beside its peers", rows, notes, figures)


def main(arguments: list[str] | None = None) -> None:
    """Run one peer on generated counts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sparse_peers", description=main.__doc__
    )
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--columns", type=int, default=3_000)
    asked = parser.parse_args(arguments)
    print(json.dumps(measure(asked.peer, asked.rows, asked.columns)))


if __name__ == "__main__":
    main()
