"""A factorisation that is killed goes on from what its passes found, to the same bits, and reads what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

import streamsvd
from streamsvd.engine.events import CertificateUpdated, PassDone, PassStarted, SpanDone
from streamsvd.errors import SpecError, StoreError

M, N = 3000, 60


class Killed(Exception):
    """Stands for a kill at an event."""


def matrix() -> Any:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((M, N)) / np.sqrt(np.arange(1, N + 1)) + 3
    A.flags.writeable = False
    return A


def holey() -> Any:
    A = matrix().copy()
    A[np.random.default_rng(1).random(A.shape) < 0.01] = np.nan
    return A


def tall_entry() -> Any:
    """An entry that the sample may not show, so that the first pass is made again for its size."""
    A = matrix().copy() * 1e-30
    A[1234, 5] = 1e130
    return A


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "krylov": (matrix, {"route": "krylov", "tol": 1e-7}),
    "gram": (matrix, {"route": "gram"}),
    "columns": (lambda: np.asfortranarray(matrix().T), {"route": "krylov", "u": True}),
    "left factor": (matrix, {"route": "krylov", "u": True}),
    "standardised": (matrix, {"center": True, "scale": True, "row_weights": np.linspace(1, 2, M)}),
    "filled": (holey, {"nonfinite": "mean", "route": "krylov"}),
    "dropped": (holey, {"nonfinite": "zero", "mask": np.arange(N) != 7, "route": "krylov"}),
    "rescaled": (tall_entry, {"route": "krylov"}),
    "complex": (lambda: matrix()[:, :30] + 1j * matrix()[:, 30:], {"route": "krylov"}),
    "energy": (matrix, {"rank": None, "energy": 0.99}),
}


def run(name: str, **options: Any) -> Any:
    make, given = CASES[name]
    given = {"rank": 5, "memory": "1GiB", "seed": 3, **given, **options}
    return streamsvd.svd(make(), given.pop("rank"), **given)


def killed_at(number: int) -> Any:
    """A callback that kills at the so many-th end of a span or a pass; and how many there were."""
    seen: list[Any] = []

    def callback(event: Any) -> None:
        if isinstance(event, SpanDone | PassDone):
            seen.append(event)
            if len(seen) == number:
                raise Killed

    callback.seen = seen  # type: ignore[attr-defined]
    return callback


def assert_same(found: Any, whole: Any) -> None:
    for name in ("s", "Vh", "U", "mean", "scale"):
        one, other = getattr(found, name), getattr(whole, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.certificate.sigma_upper, whole.certificate.sigma_upper)
    assert found.info.passes == pytest.approx(whole.info.passes)
    assert found.info.route == whole.info.route
    assert found.info.missing == whole.info.missing


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_goes_on_to_the_same_bits(name, tmp_path):
    whole, count = run(name), killed_at(0)
    run(name, callback=count)
    events = len(count.seen)
    assert events > 1
    for number in sorted({1, events // 2, events - 1}):
        place = tmp_path / str(number)
        with pytest.raises(Killed):
            run(name, checkpoint=place, save_seconds=0, callback=killed_at(number))
        resumed = run(name, checkpoint=place, save_seconds=0)
        assert_same(resumed, whole)
        assert resumed.info.bytes_read <= whole.info.bytes_read
        assert not list((place / "saves").glob("*"))


def test_what_was_read_is_not_read_again(tmp_path):
    whole = run("krylov")
    reads: list[Any] = []
    place = tmp_path / "saves"
    stop = [0]

    def second(event: Any) -> None:
        if isinstance(event, PassStarted):
            stop[0] += 1
            if stop[0] == 2:
                raise Killed

    with pytest.raises(Killed):
        run("krylov", checkpoint=place, save_seconds=0, callback=second)
    resumed = run("krylov", checkpoint=place, save_seconds=0, callback=reads.append)
    started = [event for event in reads if isinstance(event, PassStarted)]
    looks = [event.number for event in reads if isinstance(event, CertificateUpdated)]
    assert looks == list(range(1, len(looks) + 1))  # every look is told, of saved passes too
    passes = len(looks)
    assert len(started) == passes - 1
    # the sample and the first pass are those of the run before
    assert resumed.info.bytes_read == (passes - 1) * matrix().nbytes
    assert resumed.info.passes == pytest.approx(whole.info.passes)


def test_a_run_that_was_never_killed_leaves_nothing_and_is_the_same(tmp_path):
    assert_same(run("krylov", checkpoint=tmp_path / "a", save_seconds=0), run("krylov"))
    assert not [path for path in (tmp_path / "a").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 4}, "seed=3, this one has 4"),
        ({"tol": 1e-5}, "tol=1e-07, this one has 1e-05"),
        ({"rank": 6}, "rank=5, this one has 6"),
        ({"route": "gram"}, "route='krylov', this one has 'gram'"),
        ({"center": True}, "center=False, this one has True"),
        ({"row_weights": np.ones(M)}, "row_weights=None, this one has"),
    ],
)
def test_another_run_is_refused_by_what_differs(options, named, tmp_path):
    with pytest.raises(Killed):
        run("krylov", checkpoint=tmp_path, save_seconds=0, callback=killed_at(5))
    with pytest.raises(SpecError, match=f"is of a run with {named}"):
        run("krylov", checkpoint=tmp_path, **options)


def test_another_matrix_is_refused(tmp_path):
    with pytest.raises(Killed):
        run("krylov", checkpoint=tmp_path, save_seconds=0, callback=killed_at(5))
    with pytest.raises(SpecError, match=r"is of a run with rows=.*, this one has"):
        streamsvd.svd(
            matrix() + 1, 5, tol=1e-7, route="krylov", memory="1GiB", seed=3, checkpoint=tmp_path
        )


def test_other_memory_is_no_other_run_while_the_plan_is_the_same(tmp_path):
    with pytest.raises(Killed):
        run("krylov", checkpoint=tmp_path, save_seconds=0, callback=killed_at(5))
    assert_same(run("krylov", checkpoint=tmp_path, memory="1.5GiB"), run("krylov"))


@pytest.mark.parametrize(("cost", "route"), [(2, "gram"), (4, "krylov, then gram")])
def test_a_run_that_goes_over_to_the_gram_matrix_goes_on_too(cost, route, tmp_path):
    A = matrix()

    def run_forced(place: Path, **options: Any) -> Any:
        first, other = (
            streamsvd.plan_svd(
                A, 5, target="values", tol=1e-7, memory="1GiB", checkpoint=place, route=way
            )
            for way in ("krylov", "gram")
        )
        plan = replace(first, fallback=other, gram_passes=cost)
        return streamsvd.svd(A, plan=plan, save_seconds=0, **options)

    count = killed_at(0)
    whole = run_forced(tmp_path / "whole", callback=count)
    assert whole.info.route == route
    for number in range(1, len(count.seen) + 1, 3):
        with pytest.raises(Killed):
            run_forced(tmp_path / str(number), callback=killed_at(number))
        assert_same(run_forced(tmp_path / str(number)), whole)


def test_components_go_on_too(tmp_path):
    A, given = matrix(), {"memory": "1GiB", "route": "krylov", "tol": 1e-6}
    with pytest.raises(Killed):
        streamsvd.pca(A, 4, **given, checkpoint=tmp_path, save_seconds=0, callback=killed_at(7))
    resumed, whole = streamsvd.pca(A, 4, **given, checkpoint=tmp_path), streamsvd.pca(A, 4, **given)
    np.testing.assert_array_equal(resumed.explained_variance, whole.explained_variance)
    np.testing.assert_array_equal(resumed.components, whole.components)


def test_a_left_factor_on_disk_is_made_again(tmp_path):
    options = {"u": True, "checkpoint": tmp_path / "saves", "save_seconds": 0}
    count = killed_at(0)
    whole = run("krylov", u=True, callback=count)
    with pytest.raises(Killed):
        run("krylov", **options, out=tmp_path / "r", callback=killed_at(len(count.seen) - 2))
    assert not (tmp_path / "r").exists()
    resumed = run("krylov", **options, out=tmp_path / "r")
    np.testing.assert_array_equal(resumed.U[...], whole.U)
    assert resumed.info.bytes_read == matrix().nbytes


def test_a_run_goes_on_on_a_cluster(tmp_path):
    path = tmp_path / "A.npy"
    np.save(path, matrix())
    given = {"tol": 1e-7, "route": "krylov", "memory": "1GiB", "seed": 3}
    place = tmp_path / "saves"
    with pytest.raises(Killed):
        streamsvd.svd(path, 5, **given, checkpoint=place, save_seconds=0, callback=killed_at(3))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        there = streamsvd.svd(path, 5, **given, checkpoint=place, save_seconds=0)
    np.testing.assert_array_equal(there.Vh, streamsvd.svd(path, 5, **given).Vh)


@pytest.mark.parametrize("seconds", [-1, "a", float("nan"), True])
def test_what_is_no_time_is_refused(seconds, tmp_path):
    with pytest.raises(SpecError, match="is no time. Pass seconds"):
        run("krylov", checkpoint=tmp_path, save_seconds=seconds)


def test_a_checkpoint_within_the_matrix_or_the_result_is_refused(tmp_path):
    np.save(tmp_path / "A.npy", matrix())
    for place in (tmp_path / "A.npy", tmp_path / "r" / "saves"):
        with pytest.raises((SpecError, StoreError)):
            streamsvd.svd(tmp_path / "A.npy", 3, checkpoint=place, out=tmp_path / "r")
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["A.npy"]
