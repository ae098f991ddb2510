"""A plan is for its options: a run of it takes those left out from it, and refuses, by name, any that differ."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import MISSING, fields

import numpy as np
import pytest

import streamsvd
from streamsvd.factor.options import PLAN_OPTIONS, RUN_OPTIONS, SVDOptions

OF_THE_PLAN = {"axis", "rates"}
"""Options of `plan_svd` that `svd` does not have."""
OF_THE_RUN = {"overwrite", "save_seconds", "callback"}
"""Arguments of `svd` that say nothing of what is found."""
WEIGHTS = np.linspace(1, 2, 40)
OTHERS = {
    "rank": 3, "energy": 0.5, "tol": 1e-4, "memory": "1GiB", "center": True, "scale": True,
    "row_weights": WEIGHTS, "column_weights": WEIGHTS[:6], "nonfinite": "mean", "mask": np.arange(6) != 4, "u": True, "out": "b.zarr",
    "max_passes": 5, "certify": "estimate", "target": "error", "excess_tol": 0.5, "device": "cuda",
    "precision": "double", "route": "krylov", "checkpoint": "saves",
}  # fmt: skip
"""A value of each option that is not its default."""


def matrix():
    return np.random.default_rng(0).standard_normal((40, 6)) * [9, 5, 3, 1, 1, 1]


def options_of(verb):
    return set(inspect.signature(verb).parameters) - {"A", "plan"}


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in ((a.s, b.s), (a.Vh, b.Vh)))


def test_no_option_is_forgotten():
    assert set(OTHERS) == set(PLAN_OPTIONS)
    assert {field.name for field in fields(SVDOptions)} == set(PLAN_OPTIONS) | set(RUN_OPTIONS)


@pytest.mark.parametrize("name", ["svd", "pca", "plan_svd", "plan_pca"])
def test_the_signature_of_a_verb_is_its_record(name):
    parameters = dict(inspect.signature(getattr(streamsvd, name)).parameters)
    others = OF_THE_PLAN if name.startswith("plan_") else OF_THE_RUN | {"plan"}
    record = {f.name: f.default for f in fields(SVDOptions)}
    if name.startswith("plan_"):
        record = {key: record[key] for key in PLAN_OPTIONS}
    if name.endswith("pca"):
        record["center"] = True
    given = {key: p.default for key, p in parameters.items() if key != "A"}
    assert given.keys() == record.keys() | others
    assert {key: given[key] for key in record} == record
    assert MISSING not in record.values()
    keyword_only = {key for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert keyword_only == given.keys() - {"rank"}


@pytest.mark.parametrize("field", fields(SVDOptions), ids=lambda field: field.name)
def test_every_option_has_a_sentence(field):
    sentence = field.metadata["help"]
    assert sentence[0].isupper()
    assert sentence.endswith((".", "]."))


def test_a_result_holds_what_was_asked(tmp_path):
    A = matrix()
    given = {
        "tol": 1e-4,
        "row_weights": list(WEIGHTS),
        "mask": [1, 1, 0, 1, 1, 1],
        "seed": 7,
        "scale": True,
    }
    found = streamsvd.svd(A, 2, **given, out=tmp_path / "r.zarr")
    plan = streamsvd.plan_pca(A, 2, tol=1e-4)
    components = streamsvd.pca(A, plan=plan, delta=1e-3)
    for options in (found.options, streamsvd.load(tmp_path / "r.zarr").options):
        assert (options.rank, options.tol, options.seed, options.scale) == (2, 1e-4, 7, True)
        assert options.out == str(tmp_path / "r.zarr")
        assert np.array_equal(options.row_weights, WEIGHTS)
        assert options.mask.tolist() == [True, True, False, True, True, True]
    assert components.options.center
    assert (components.options.tol, components.options.delta) == (1e-4, 1e-3)
    assert components.options.memory == plan.options.memory


@pytest.mark.parametrize("verb", ["pca", "plan_pca"])
def test_components_are_of_centred_columns(verb):
    with pytest.raises(streamsvd.SpecError, match="pca always centres; center=False"):
        getattr(streamsvd, verb)(matrix(), 2, center=False)


def test_a_plan_for_components_is_that_of_a_centred_factorisation():
    A = matrix()
    plan = streamsvd.plan_pca(A, 2, memory="1GiB")
    assert plan == streamsvd.plan_svd(A, 2, center=True, memory="1GiB")
    assert same(streamsvd.pca(A, plan=plan), streamsvd.pca(A, 2))


def test_a_checkpoint_is_planned_as_it_takes_memory(tmp_path):
    A = np.zeros((100_000, 2000), np.float32)
    options = {"route": "krylov", "memory": "4GiB"}
    saving = streamsvd.plan_svd(A, 20, checkpoint=tmp_path / "a", **options)
    plain = streamsvd.plan_svd(A, 20, **options)
    assert plain.projected_bytes < saving.projected_bytes <= saving.budget_bytes
    B = matrix()
    plan = streamsvd.plan_svd(B, 2, checkpoint=tmp_path / "a")
    elsewhere = streamsvd.svd(B, plan=plan, checkpoint=tmp_path / "b")
    assert elsewhere.options.checkpoint == str(tmp_path / "b")
    assert same(elsewhere, streamsvd.svd(B, plan=plan))


@pytest.mark.parametrize("verb", [streamsvd.svd, streamsvd.pca])
@pytest.mark.parametrize("name", [name for name in PLAN_OPTIONS if name != "out"])
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


@pytest.mark.parametrize("name", sorted(set(PLAN_OPTIONS) - {"device", "energy"}))
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


def test_a_plan_survives_pickling_and_differs_where_its_options_do():
    A = matrix()
    plan = streamsvd.plan_svd(A, 2, row_weights=WEIGHTS, memory="1GiB")
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    assert plan != streamsvd.plan_svd(A, 2, row_weights=2 * WEIGHTS, memory="1GiB")
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
    with pytest.raises(
        streamsvd.SpecError, match="missing='fill' belongs to .*/a is a matrix that is open already"
    ):
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
