"""``measured <= projected <= budget`` of factorisations, each in a process of its own, at the least budget that works."""

from __future__ import annotations

import pytest

from benchmarks.memory import GRID, Case, lawful, measure, within

SAVES = ("--checkpoint=OUT", "--save-seconds=0")
CASES = (
    Case((1_500, 12_000), (500, 2_000), options=("--rank=40", "--axis=rows", "--max-passes=3")),
    Case((500_000, 20), (50_000, 20), options=("--rank=20", "--u", "--out=OUT")),
    Case((100_000, 100), (20_000, 100), options=("--rank=80", "--u", "--out=OUT")),
    Case(
        (4_000, 4_000),
        (500, 2_000),
        options=("--rank=20", "--route=krylov", "--max-passes=4", *SAVES),
    ),
    Case((8_000, 1_500), (500, 1_500), options=("--rank=10", "--route=gram", *SAVES)),
    Case((8_000, 1_500), (500, 1_500), options=("--rank=10", "--route=gram", "--memory=128MiB")),
    Case((20_000, 1_000), (1_000, 1_000), through="web", options=("--rank=20",)),
)
"""A basis that is compressed between passes; a left factor larger than what is read, also in parts of its chunks; sums that are
saved as they are found; the Gram matrix of a narrow side in a small budget; requests in flight to a web server."""

OVER_A_NETWORK = (
    Case((40_000, 1_000), (20_000, 1_000), codec="none", through="web", options=("--rank=20",)),
    Case((40_000, 1_000), (500, 500), through="web", options=("--rank=20",)),
    Case((40_000, 1_000), (500, 500), shards=(10_000, 1_000), through="web", options=("--rank=20",)),
    Case((40_000, 1_000), (1_000, 1_000), codec="npy", through="web", options=("--rank=20",)),
    Case((40_000, 1_000), (4_000, 1_000), codec="blosc", through="web", options=("--rank=20", "--memory=512MiB")),
)  # fmt: skip
"""Chunks much larger than a request; many small ones; inner ones of shards; a file; more memory than is needed."""


SPARSE = (
    Case((200_000, 4_000), (1 << 19, 1), codec="csr", density=0.01, options=("--rank=10", "--max-passes=3", "--route=krylov")),
    Case((60_000, 20_000), (1 << 18, 1), codec="csr", density=0.004, dtype="float64", options=("--rank=10", "--max-passes=3", "--route=krylov")),
    Case((3_000, 200_000), (1 << 18, 1), codec="csc", density=0.01, options=("--rank=8", "--max-passes=3", "--route=krylov", "--axis=columns")),
    Case((100_000, 2_000), (1 << 19, 1), codec="csr", density=0.15, options=("--rank=10", "--route=gram")),
)  # fmt: skip
"""Read as they are stored, along rows and along columns; and as blocks with their zeros."""


@pytest.mark.parametrize("case", [within(case)[0] for case in SPARSE], ids=str)
def test_the_least_budget_is_kept_of_sparse_matrices(case, tmp_path):
    figures = measure(case, tmp_path)
    assert lawful(figures), (figures["peak_rss_bytes"], figures["projected_bytes"])


@pytest.mark.parametrize("case", [within(case)[0] for case in CASES], ids=str)
def test_the_least_budget_is_kept(case, tmp_path):
    figures = measure(case, tmp_path)
    assert lawful(figures), (figures["peak_rss_bytes"], figures["projected_bytes"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "case", [c for case in (*GRID, *OVER_A_NETWORK) for c in within(case)], ids=str
)
def test_every_budget_of_the_grid_is_kept(case, tmp_path):
    figures = measure(case, tmp_path)
    assert lawful(figures), (figures["peak_rss_bytes"], figures["projected_bytes"])
