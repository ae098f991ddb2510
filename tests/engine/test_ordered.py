"""Tasks of items: what they find comes in order, few of them are on their way, and none runs when nobody waits any more."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import distributed
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from streamsvd.engine import task
from streamsvd.engine.item_task import check_item
from streamsvd.engine.ordered import WINDOW, one_ahead, run_in_order
from streamsvd.errors import NonFiniteError


@pytest.fixture(scope="module")
def cluster():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture(params=["threads", "cluster"])
def place(request):
    """Where tasks run."""
    if request.param == "threads":
        yield request.param
        return
    with distributed.Client(request.getfixturevalue("cluster")):
        yield request.param


def times(factor, item):
    time.sleep(0.002 * (7 - item % 7))  # later ones end first
    return factor * item


def results(function, shared, items, at_once=4):
    return run_in_order(function, shared, items, at_once=at_once, what="the test")


@pytest.mark.parametrize("n", [0, 1, 3, 50])
def test_results_come_in_the_order_of_the_items(place, n):
    assert list(results(times, 10, range(n))) == [10 * i for i in range(n)]
    assert list(one_ahead(results(times, 10, range(n)))) == [10 * i for i in range(n)]


def test_no_more_items_than_a_window_are_on_their_way(place):
    taken = []

    def items():
        for i in count():
            taken.append(i)
            yield i

    found = results(times, 1, items())
    with closing(found):
        for i, value in enumerate(islice(found, 20)):
            assert value == i
            assert len(taken) <= i + 1 + WINDOW * 4


def fail_at(bad, item):
    if item in bad:
        raise NonFiniteError("NaN", item, 3, "chunk 'c/1/0'", "Mend it.")
    return item


def test_an_error_comes_in_its_place_and_is_what_the_task_raised(place):
    found = results(fail_at, (7, 5, 30), range(100))
    assert list(islice(found, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(NonFiniteError, match=r"NaN at row 5, column 3 \(chunk 'c/1/0'\)"):
        next(found)
    assert not any(task._running.values())


def threads_of_blas(shared, item):
    del shared, item
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_blas_has_one_thread_in_tasks(place):
    assert list(results(threads_of_blas, None, range(4))) == [{1}] * 4


STARTED, GO_ON = threading.Event(), threading.Event()


def wait_here(shared, item):
    if item:
        STARTED.set()
        assert GO_ON.wait(60)
    return item


def test_when_it_is_left_nothing_runs_any_more(place):
    STARTED.clear()
    GO_ON.clear()
    found = results(wait_here, None, range(100))
    assert next(found) == 0
    assert STARTED.wait(60)
    letting_go = threading.Timer(0.1, GO_ON.set)
    letting_go.start()
    found.close()
    letting_go.join()
    assert not any(task._running.values())
    assert not [t for t in threading.enumerate() if t.name.startswith("streamsvd-ordered")]


def never_end(shared, item):
    """The first item ends; others have pieces without end, before each of which they look up."""
    while item:
        check_item()
        STARTED.set()
        time.sleep(0.01)
    return item


def test_an_item_of_many_pieces_stops_at_the_next_when_nobody_waits(place):
    STARTED.clear()
    found = results(never_end, None, range(10))
    assert next(found) == 0
    assert STARTED.wait(60)
    found.close()  # waits until none runs
    assert not any(task._running.values())


def large(shared, item):
    return np.full(1000, item) + shared


def leave_first(folder, item):
    """The first task of all takes its worker with it."""
    mark = Path(folder) / "left"
    if item == 5 and not mark.exists():
        mark.touch()
        worker = distributed.get_worker()
        worker.loop.add_callback(worker.close, nanny=False, executor_wait=False)
        threading.Event().wait(0.5)
    return item


def test_a_worker_that_leaves_costs_time_alone(tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert list(results(leave_first, str(tmp_path), range(20))) == list(range(20))
        assert (tmp_path / "left").exists()


SLOW_MAY_END = threading.Event()


def slow_on_one(first_worker, item):
    """On one of the workers a task never ends while it is waited for."""
    if item == 5 and distributed.get_worker().address == first_worker:
        assert SLOW_MAY_END.wait(60)
    return item


def test_an_item_that_all_wait_for_is_sent_to_a_second_worker():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        for worker in cluster.workers.values():  # whichever is given the item
            SLOW_MAY_END.clear()
            found = results(slow_on_one, worker.address, range(12))
            assert list(islice(found, 12)) == list(range(12))
            SLOW_MAY_END.set()
            found.close()
