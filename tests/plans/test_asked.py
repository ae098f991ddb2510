"""A plan is for its options: a run of it takes those left out from it, and refuses, by name, any that differ."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields

import numpy as np
import pytest

import streamsvd
from streamsvd.factor.plan_options import OPTION_NAMES, PlanOptions

OF_THE_PLAN = {"axis", "rates"}
"""Options of `plan_svd` that `svd` does not have."""
OF_THE_RUN = {"overwrite", "seed", "delta", "callback"}
"""Options of `svd` that a plan does not depend on."""
WEIGHTS = np.linspace(1, 2, 40)
OTHERS = {
    "rank": 3, "energy": 0.5, "tol": 1e-4, "memory": "1GiB", "center": True, "scale": True,
    "row_weights": WEIGHTS, "column_weights": WEIGHTS[:6], "nonfinite": "mean", "mask": np.arange(6) != 4, "u": True, "out": "b.zarr",
    "max_passes": 5, "certify": "estimate", "target": "error", "excess_tol": 0.5, "device": "cuda",
    "precision": "double", "route": "krylov",
}  # fmt: skip
"""A value of each option that is not its default."""


def matrix():
    return np.random.default_rng(0).standard_normal((40, 6)) * [9, 5, 3, 1, 1, 1]


def options_of(verb):
    return set(inspect.signature(verb).parameters) - {"A", "plan"}


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in ((a.s, b.s), (a.Vh, b.Vh)))


def test_no_option_is_forgotten():
    assert options_of(streamsvd.plan_svd) - OF_THE_PLAN == set(OPTION_NAMES)
    assert options_of(streamsvd.svd) - OF_THE_RUN == set(OPTION_NAMES)
    assert set(OTHERS) == set(OPTION_NAMES) == {field.name for field in fields(PlanOptions)}


@pytest.mark.parametrize("verb", [streamsvd.svd, streamsvd.pca])
@pytest.mark.parametrize("name", [name for name in OPTION_NAMES if name != "out"])
def test_what_differs_from_the_plan_is_refused_by_name(verb, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    A, center = matrix(), verb is streamsvd.pca
    if name == "center" and center:
        with pytest.raises(streamsvd.SpecError, match="center=True was asked, .* center=False"):
            verb(A, plan=streamsvd.plan_svd(A, 2))
        return
    plan = streamsvd.plan_svd(A, 2, center=center)
    with pytest.raises(
        streamsvd.SpecError,
        match=rf"{name}=.* was asked, the plan was made for {name}=.* leave the argument out",
    ):
        verb(A, plan=plan, **{name: OTHERS[name]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "center",
        "scale",
        "nonfinite",
        "u",
        "max_passes",
        "certify",
        "target",
        "excess_tol",
        "device",
        "precision",
    ],
)
def test_a_default_that_is_passed_differs_too(name):
    if name == "device":
        pytest.skip("another device is not everywhere")
    A = matrix()
    default = inspect.signature(streamsvd.svd).parameters[name].default
    plan = streamsvd.plan_svd(A, 2, **{name: OTHERS[name]})
    with pytest.raises(streamsvd.SpecError, match=f"{name}={default!r} was asked"):
        streamsvd.svd(A, plan=plan, **{name: default})


@pytest.mark.parametrize("name", sorted(set(OPTION_NAMES) - {"device", "energy"}))
def test_what_is_left_out_is_the_plan_s(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    A = matrix()
    given = {"rank": 2, "route": "gram"} | {name: OTHERS[name]}
    plan = streamsvd.plan_svd(A, **given)

    def found(**options):
        (tmp_path / "b.zarr").exists() and __import__("shutil").rmtree(tmp_path / "b.zarr")
        try:
            return streamsvd.svd(A, **options)
        except streamsvd.NotConverged as error:
            return error.result

    alone, with_all, without = found(plan=plan), found(plan=plan, **given), found(**given)
    assert same(alone, with_all)
    assert same(alone, without)
    assert alone.info.dropped_columns == ((4,) if name == "mask" else ())
    assert (alone.U is None) == (name != "u")
    assert (tmp_path / "b.zarr").exists() == (name == "out")
    assert (alone.mean is None, alone.scale is None) == (name != "center", name != "scale")


def test_all_that_differs_is_told_at_once():
    A = matrix()
    with pytest.raises(
        streamsvd.SpecError,
        match=r"rank=3 was asked.*scale=True was asked.*device='cuda' .* arguments out",
    ):
        streamsvd.svd(A, 3, plan=streamsvd.plan_svd(A, 2), scale=True, device="cuda")


@pytest.mark.parametrize(
    "options",
    [
        {"tol": 1e-3},
        {"rank": np.int64(2)},
        {"memory": 1 << 30},
        {"memory": "1024MiB"},
        {"row_weights": list(WEIGHTS)},
        {"energy": None, "route": None, "column_weights": None, "out": None},
        {"center": False, "u": False, "nonfinite": "raise", "max_passes": 12},
        {"seed": 3, "delta": 1e-3, "overwrite": True},
        {"route": "gram"},
    ],
)
def test_the_same_in_other_words_is_no_difference(options):
    A = matrix()
    plan = streamsvd.plan_svd(A, 2, memory="1GiB", row_weights=WEIGHTS)
    assert plan.route == "gram"
    assert streamsvd.svd(A, plan=plan, **options).rank == 2


def test_a_tolerance_alone_and_an_energy_are_told_apart():
    A = matrix()
    plan = streamsvd.plan_svd(A, tol=0.5)
    assert same(streamsvd.svd(A, plan=plan, tol=0.5), streamsvd.svd(A, tol=0.5))
    with pytest.raises(
        streamsvd.SpecError, match=r"energy=0\.75 was asked, the plan was made for energy=None"
    ):
        streamsvd.svd(A, plan=plan, energy=0.75)
    energy = streamsvd.plan_svd(A, energy=0.75)
    assert same(streamsvd.svd(A, plan=energy, tol=1e-3), streamsvd.svd(A, energy=0.75))
    with pytest.raises(
        streamsvd.SpecError, match=r"rank=1 was asked, the plan was made for rank=None"
    ):
        streamsvd.svd(A, 1, plan=energy)


def test_a_run_may_say_where_the_result_is_to_go(tmp_path):
    A = matrix()
    plan = streamsvd.plan_svd(A, 2, u=True)
    assert streamsvd.svd(A, plan=plan, out=tmp_path / "r.zarr").U.shape == (40, 2)
    again = streamsvd.plan_svd(A, 2, u=True, out=tmp_path / "r.zarr")
    streamsvd.svd(A, plan=again, overwrite=True)
    streamsvd.svd(A, plan=again, out=tmp_path / "s.zarr")
    assert same(streamsvd.load(tmp_path / "r.zarr"), streamsvd.load(tmp_path / "s.zarr"))


def test_options_survive_pickling_and_do_not_make_plans_differ():
    A = matrix()
    plan = streamsvd.plan_svd(A, 2, row_weights=WEIGHTS, memory="1GiB")
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    assert "Asked" not in repr(plan)
    assert same(streamsvd.svd(A, plan=again), streamsvd.svd(A, plan=plan))


@pytest.mark.parametrize("plan", ["a", 3, {}, np.eye(2)], ids=type)
def test_what_is_no_plan_is_refused(plan):
    with pytest.raises(streamsvd.SpecError, match="plan=.* is no plan"):
        streamsvd.svd(matrix(), 2, plan=plan)


def test_an_unknown_argument_is_still_one():
    A = matrix()
    with pytest.raises(TypeError, match="nonsense"):
        streamsvd.svd(A, plan=streamsvd.plan_svd(A, 2), nonsense=1)


def test_what_is_open_cannot_be_asked_to_fill(tmp_path):
    import zarr

    zarr.create_array(tmp_path / "a", shape=(8, 3), chunks=(4, 3), dtype="f8")
    A = streamsvd.open(tmp_path / "a")
    with pytest.raises(streamsvd.SpecError, match="missing='fill' was asked of .* open already"):
        streamsvd.open(A, missing="fill")
    assert streamsvd.open(A) is A


@pytest.mark.parametrize("name", ["row_weights", "column_weights", "mask"])
def test_none_for_weights_and_masks_says_something(name):
    A = matrix()
    plan = streamsvd.plan_svd(A, 2, **{name: OTHERS[name]})
    with pytest.raises(streamsvd.SpecError, match=f"{name}=None was asked"):
        streamsvd.svd(A, plan=plan, **{name: None})
    other = streamsvd.plan_svd(A, 2)
    assert same(streamsvd.svd(A, plan=other), streamsvd.svd(A, plan=other, **{name: None}))
