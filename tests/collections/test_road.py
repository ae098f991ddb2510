"""What the road can do, the verbs of collections can do: saves, plans, missing values, the same bits on a cluster."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest

import streamsvd
from streamsvd.collections import readers
from streamsvd.engine.events import PassDone, PassStarted, SpanDone
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.verbs import VERBS
from tests.collections.blocks import d7, name_blocks

BLOCKS = name_blocks(d7()[:20])
RNG = np.random.default_rng(1)
BLOCKS |= {f"noise{i}": RNG.standard_normal((80, 40)) for i in range(2)}  # kept as they are
INPUTS = RNG.standard_normal((500, 10))


@pytest.fixture(autouse=True)
def several_spans(monkeypatch):
    """Spans of a few small matrices, and slabs of a few rows."""
    monkeypatch.setattr(readers, "SPAN_BYTES", 25_000)
    monkeypatch.setattr(readers, "SLAB_BYTES", 1)


class StopAt:
    """Interrupts a run at its n-th end of a span or pass, or at the beginning of a pass."""

    def __init__(self, limit):
        self.left = limit

    def __call__(self, event):
        if isinstance(self.left, str):
            if isinstance(event, PassStarted) and event.purpose == self.left:
                raise KeyboardInterrupt
            return
        self.left -= isinstance(event, SpanDone | PassDone)
        if self.left == 0:
            raise KeyboardInterrupt


def cluster(folder, blocks=BLOCKS, **options):
    del folder
    found = streamsvd.cluster(blocks, **options)
    return found, [c.basis for c in found.clusters] + [
        found.approximation(n) for n in found.labels if not found.clusters[found.labels[n]].raw
    ]


def compress(folder, blocks=BLOCKS, **options):
    done = streamsvd.compress(blocks, folder / "C", 0.05, overwrite=True, **options)
    held = streamsvd.open_compressed(folder / "C")
    return done, [held[name] for name in held]


def append(folder, blocks=BLOCKS, **options):
    """The others, added to the first matrices: some have a basis there, and the noise has none."""
    first = dict(list(BLOCKS.items())[:6])
    if not (folder / "C").exists():
        streamsvd.compress(first, folder / "C", 0.05)
    more = {name: A for name, A in blocks.items() if name not in first}
    done = streamsvd.compress(more, folder / "C", append=True, **options)
    held = streamsvd.open_compressed(folder / "C")
    return done, [held[name] for name in held]


def rate_curve(folder, blocks=BLOCKS, **options):
    del folder
    found = streamsvd.rate_curve(blocks, (0.05, 0.3), **options)
    return found, [[p.bytes_after, p.block_error, *(c.rank for c in p.clusters)] for p in found.rates]  # fmt: skip


def case(verb, **given):
    return lambda folder, blocks=BLOCKS, **options: verb(folder, blocks, **given, **options)


RUNS = {
    "cluster": case(cluster),
    "gram": case(cluster, backend="gram"),
    "propose": case(cluster, backend="propose"),
    "inputs": case(cluster, inputs={"0*": INPUTS}),
    "compress": case(compress),
    "principal": case(compress, principal=0.3),
    "append": case(append),
    "rates": case(rate_curve),
}


def assert_same(found, other):
    for a, b in zip(found, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(name, tmp_path):
    run, place = RUNS[name], tmp_path / "saves"
    whole, expected = run(tmp_path / "whole")
    here = tmp_path / "here"
    for limit in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            run(here, checkpoint=place, save_seconds=0, callback=StopAt(limit))
    with pytest.raises(SpecError, match="is of a run with values="):
        run(here, {k: A + 1 for k, A in BLOCKS.items()}, checkpoint=place)
    other = {"rank": 3} if name == "rates" else {"seed": 5}
    with pytest.raises(SpecError, match=r"with (rank=None|seed=0), this one has (3|5)"):
        run(here, checkpoint=place, **other)
    found, again = run(here, checkpoint=place)
    assert_same(again, expected)
    assert found.info.passes == whole.info.passes
    assert found.info.bytes_read < whole.info.bytes_read
    assert found.reads < whole.reads
    assert not [p for p in place.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("name", "second"),
    [("gram", "bases and errors"), ("propose", "certificates"), ("principal", "residuals")],
)
def test_a_read_that_was_finished_is_not_made_again(name, second, tmp_path):
    run, place = RUNS[name], tmp_path / "saves"
    whole, expected = run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint=place, save_seconds=0, callback=StopAt(second))
    purposes = []
    found, again = run(
        tmp_path, checkpoint=place,
        callback=lambda e: purposes.append(e.purpose) if isinstance(e, PassStarted) else None,
    )  # fmt: skip
    assert purposes == [second]
    assert_same(again, expected)
    assert (found.reads, found.info.passes) == (1.0, whole.info.passes)


def test_inputs_that_were_read_are_not_read_again(tmp_path):
    place, purposes = tmp_path / "saves", []
    given = {"inputs": {"0*": INPUTS}, "checkpoint": place, "save_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        streamsvd.cluster(BLOCKS, **given, callback=StopAt("sketches"))
    streamsvd.cluster(
        BLOCKS, **given,
        callback=lambda e: purposes.append(e.purpose) if isinstance(e, PassStarted) else None,
    )  # fmt: skip
    assert purposes == ["sketches"]


def test_an_addition_after_another_begins_anew(tmp_path):
    place = tmp_path / "saves"
    streamsvd.compress({"a": BLOCKS["00000"]}, tmp_path / "C")
    more = {k: BLOCKS[k] for k in list(BLOCKS)[1:]}
    given = {"append": True, "checkpoint": place, "save_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        streamsvd.compress(more, tmp_path / "C", **given, callback=StopAt(3))
    streamsvd.compress({"b": BLOCKS["00001"]}, tmp_path / "C", append=True)
    with pytest.raises(SpecError, match="is of a run with version=1, this one has 2"):
        streamsvd.compress(more, tmp_path / "C", **given)


def test_a_checkpoint_lies_in_nothing_that_is_read_or_written(tmp_path):
    np.save(tmp_path / "a.npy", BLOCKS["00000"])
    with pytest.raises(SpecError, match="checkpoint="):
        streamsvd.cluster(tmp_path, checkpoint=tmp_path / "saves")
    with pytest.raises(SpecError, match="checkpoint="):
        streamsvd.compress(BLOCKS, tmp_path / "C", checkpoint=tmp_path / "C" / "saves")
    with pytest.raises(SpecError, match="save_seconds=-1 is no time"):
        streamsvd.rate_curve(BLOCKS, checkpoint=tmp_path / "saves", save_seconds=-1)


def test_samples_that_were_stopped_go_on_to_the_same_triangle(tmp_path):
    X = np.random.default_rng(0).standard_normal((60_000, 12))
    place, told = tmp_path / "saves", []
    whole = streamsvd.second_moment_factor(X, damping=0.1, callback=told.append)
    spans = sum(isinstance(e, SpanDone) for e in told)
    assert spans > 2
    given = {"damping": 0.1, "checkpoint": place, "save_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        streamsvd.second_moment_factor(X, **given, callback=StopAt(3))
    told.clear()
    np.testing.assert_array_equal(
        streamsvd.second_moment_factor(X, **given, callback=told.append), whole
    )
    assert sum(isinstance(e, SpanDone) for e in told) < spans


def test_the_same_bits_on_a_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    here = {name: run(tmp_path / "here" / name) for name, run in RUNS.items()}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as machine,
        distributed.Client(machine),
    ):
        there = {name: run(tmp_path / "there" / name) for name, run in RUNS.items()}
    for name, (whole, expected) in here.items():
        found, again = there[name]
        assert_same(again, expected)
        assert (found.reads, found.info.passes) == (whole.reads, whole.info.passes)


@pytest.mark.parametrize("backend", ["primal", "gram", "propose"])
def test_missing_values_are_what_the_policy_says(backend):
    holes = {k: A.copy() for k, A in BLOCKS.items()}
    holes["00003"][5, 2:4] = np.nan
    with pytest.raises(NonFiniteError, match=r"at row 5, column 2 \(block '00003'\)"):
        streamsvd.cluster(holes, backend=backend)
    found = streamsvd.cluster(holes, backend=backend, nonfinite="zero")
    filled = streamsvd.cluster({k: np.nan_to_num(A) for k, A in holes.items()}, backend=backend)
    assert_same([c.basis for c in found.clusters], [c.basis for c in filled.clusters])
    assert (found.zeros, found.info.missing) == ({"00003": 2}, 2)
    assert "2 missing values of 1 blocks" in found.info.warnings[-1]
    for verb in (streamsvd.cluster, streamsvd.rate_curve):
        with pytest.raises(SpecError, match="nonfinite='mean' has no meaning for a collection"):
            verb(holes, nonfinite="mean")


def test_what_was_asked_is_in_the_result():
    found = streamsvd.cluster(BLOCKS, np.float64(0.1), np.int64(4), "block", seed=np.int32(3))
    asked = found.options
    assert (asked.error, asked.rank, asked.mode, asked.backend, asked.seed) == (0.1, 4, "block", "auto", 3)  # fmt: skip
    assert [type(x) for x in (asked.error, asked.rank, asked.seed)] == [float, int, int]
    assert found.plan.options == asked
    assert found.plan.backend == found.info.route == "primal"


@pytest.mark.parametrize("verb", ["cluster", "rate_curve", "compress", "second_moment_factor"])
def test_the_record_has_the_options_of_the_verb(verb):
    record, asked = VERBS[verb].resolve("options"), inspect.signature(getattr(streamsvd, verb))
    for f in fields(record):
        default = asked.parameters[f.name].default
        # What is left out of compress may stand in the collection that it adds to.
        left_out = verb == "compress" and f.name in ("error", "mode", "method")
        assert default is None if left_out else default == f.default, f.name


class Unread:
    """A matrix of a collection that may not be read."""

    shape, dtype, ndim = (80, 10), np.dtype("f8"), 2

    def __getitem__(self, key):
        raise AssertionError("a plan reads nothing")


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("cluster", {}),
        ("cluster", {"backend": "gram"}),
        ("cluster", {"backend": "propose", "rank": 4}),
        ("compress", {"principal": 0.3}),
        ("compress", {"principal": 1}),
        ("rate_curve", {}),
    ],
)
def test_a_plan_reads_nothing_and_is_that_of_the_run(verb, options, tmp_path):
    plan = streamsvd.plan(verb, {name: Unread() for name in name_blocks(d7())}, **options)
    inputs = (tmp_path / "C",) if verb == "compress" else ()
    found = getattr(streamsvd, verb)(name_blocks(d7()), *inputs, **options)
    assert found.plan.projected_bytes <= plan.projected_bytes  # nobody knows how those are read
    alike = {"budget_bytes": 0, "projected_bytes": 0, "room": 0}
    assert replace(found.plan, **alike) == replace(plan, **alike)
    assert found.info.passes <= plan.passes
    assert found.info.bytes_read <= plan.passes * plan.pass_bytes
    said = plan.explain()
    assert said.startswith(f"{verb} of ")
    assert "72 matrices of 80 rows, 720 columns in all." in said
    assert f"Backend {plan.backend}" in said
