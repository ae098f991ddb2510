"""Every verb gives the same bits on any number of threads, of the run's or of BLAS."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import streamsvd
from streamsvd.engine import blas as blas_module
from streamsvd.engine.blas import one_thread
from streamsvd.engine.events import PassStarted, SpanDone
from streamsvd.labels import Labels
from streamsvd.models.cut import plan_cut

B = (np.random.default_rng(1).standard_normal((3000, 60)) * np.geomspace(1, 1e-3, 60)).astype("f4")
Y = B @ np.arange(60.0)
PARTS = {f"p{i}": B[300 * i : 300 * (i + 1)].astype("f8") for i in range(10)}

VERBS = {
    "svd": lambda at: streamsvd.svd(B, 6, tol=1e-6, u=True, route="krylov"),
    "columns": lambda at: streamsvd.svd(np.asfortranarray(B.T), 6, route="krylov"),
    "gram": lambda at: streamsvd.svd(B, 6, route="gram"),
    "pca": lambda at: streamsvd.pca(B, 6, scale=True),
    "update": lambda at: (streamsvd.update(at / "m", B, rank=5), streamsvd.Model.open(at / "m"))[1],
    "top": lambda at: streamsvd.top_eigenvectors(B, 2, passes=2, order="arbitrary"),
    "nystrom": lambda at: streamsvd.nystrom(B, n_centres=30, length=3.0),
    "kernel_ridge": lambda at: streamsvd.kernel_ridge(B, Y, n_centres=30, length=3.0, ridge=1e-3),
    "sample": lambda at: streamsvd.sample_rows(B, 100),
    "lstsq": lambda at: streamsvd.lstsq(B, Y),
    "cluster": lambda at: streamsvd.cluster(PARTS, 0.5),
}
FOUND = (
    "s",
    "Vh",
    "U",
    "values",
    "vectors",
    "x",
    "coefficients",
    "rows",
    "indices",
    "weights",
    "labels",
)


def bits(found):
    values = [getattr(found, name, None) for name in FOUND]
    values = [np.asarray(v) for v in values if v is not None and not isinstance(v, dict | Labels)]
    certificate = getattr(found, "certificate", None)
    if hasattr(certificate, "sigma_upper"):
        values.append(certificate.sigma_upper)
    assert values or hasattr(found, "clusters")
    if hasattr(found, "clusters"):
        return repr(found.clusters)
    return [v.tobytes() for v in values]


@pytest.mark.parametrize("verb", VERBS)
def test_threads_do_not_change_a_bit(tmp_path, verb):
    seen = []
    for workers, blas in ((1, 1), (1, 2), (2, 2), (5, 1), (16, 2)):
        at = tmp_path / f"{workers}-{blas}"
        at.mkdir()
        with dask.config.set(num_workers=workers), threadpool_limits(blas, user_api="blas"):
            seen.append(bits(VERBS[verb](at)))
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_one_wide_span_at_once_has_one_thread_of_blas_too(monkeypatch, route):
    monkeypatch.setattr(blas_module, "DENSE_WIDTH", 50)
    seen = []
    for blas in (1, 2):
        A = Watched(B)
        with dask.config.set(num_workers=1), threadpool_limits(blas, user_api="blas"):
            seen.append(streamsvd.svd(A, 6, route=route, callback=A.told).s.tobytes())
        assert set(A.counts) == {1}
    assert seen[0] == seen[1]


class Watched:
    """A user's own rows, which notes how many threads BLAS has when a pass reads them."""

    chunks = (250, 60)

    def __init__(self, A):
        self.A, self.counts, self.passing = A, [], False
        self.shape, self.dtype = A.shape, A.dtype

    def told(self, event):
        self.passing = isinstance(event, PassStarted | SpanDone)

    def read(self, rows):
        if self.passing:
            self.counts += counts()
        return self.A[rows]


def test_what_overlaps_restores_what_was_there_before_the_first():
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(counts()) == {1}
        second.__exit__(None, None, None)
        assert counts() == before


def counts():
    return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]


@pytest.mark.parametrize("factor", [1.02, 1.5, 3.0, 20.0])
@pytest.mark.parametrize("shape", [(3000, 20_000), (60_000, 200), (50, 40_000)])
def test_rows_of_an_update_are_cut_the_same_for_any_number_of_threads(shape, factor):
    source = SimpleNamespace(
        shape=shape, chunks=(100, shape[1]), dtype=np.dtype("f4"), read_bytes=0
    )
    spec = SimpleNamespace(axis="rows", u=False)
    with pytest.raises(streamsvd.BudgetError) as refused:
        plan_cut(source, spec, shape[0], 64, 1000, 2)
    budget = int(refused.value.needs * factor)
    cuts = [plan_cut(source, spec, shape[0], 64, budget, threads) for threads in (1, 2, 5, 16)]
    assert len({(cut.height, cut.run, cut.ahead) for cut in cuts}) == 1
    assert [cut.threads for cut in cuts] == sorted(cut.threads for cut in cuts)
    assert all(cut.projected_bytes <= budget for cut in cuts)
    assert all(cut.threads <= threads for cut, threads in zip(cuts, (1, 2, 5, 16), strict=True))


def blas_threads():
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_any_thread_may_be_the_first_in_and_the_last_out():
    """threadpoolctl heeds the thread that set a number first, and says nothing to the others."""
    came, leave = threading.Event(), threading.Event()
    seen = []

    def task():
        with one_thread():
            seen.append(blas_threads())
            came.set()
            leave.wait(60)

    with threadpool_limits(3, user_api="blas"):  # by this thread
        for is_last in (False, True):
            came.clear()
            leave.clear()
            other = threading.Thread(target=task)
            other.start()
            assert came.wait(60)
            with one_thread():
                seen.append(blas_threads())
                if not is_last:
                    leave.set()
                    other.join(60)
            leave.set()
            other.join(60)
            assert blas_threads() == {3}
    assert seen == [{1}] * 4
