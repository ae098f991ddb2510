"""The verb `update`: its plan, its events, its policies, the mask of a model, and what an interrupt leaves."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict

import dask
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli.options import BlockPolicy
from streamsvd.engine.events import PassDone, PassStarted, ResultWritten, SpanDone
from streamsvd.errors import BudgetError, ShapeError, SpecError
from streamsvd.models import Model, plan_update
from streamsvd.models.verify import plan_verify
from streamsvd.options import BLOCK_POLICIES

M, N, K = 300, 20, 4
HELD_ROW = 60
"""From here on a read is one of what is read ahead, pieces of 30 rows."""


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(3)
    return rng.standard_normal((M, N)) * np.geomspace(9, 1, N) + 1


@pytest.fixture
def short_pieces(monkeypatch):
    """Pieces of 37 rows, so that a block has some."""
    monkeypatch.setattr("streamsvd.models.cut.MAX_PIECE_BYTES", 8 * N * 37)


def stored(path, A, rows=50):
    array = zarr.create_array(path, shape=A.shape, chunks=(rows, A.shape[1]), dtype=A.dtype)
    array[...] = A
    return array


def files(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def same(a, b):
    np.testing.assert_array_equal(a.s, b.s)
    np.testing.assert_array_equal(a.Vh, b.Vh)
    assert a.ledger == b.ledger


class Unread:
    """A matrix of which nothing may be read."""

    def __init__(self, m, n):
        self.shape, self.dtype, self.chunks = (m, n), np.dtype("f8"), (50, n)

    def read(self, rows):
        raise AssertionError(f"rows {rows} were read")


class Held:
    """A matrix in short chunks, of which one read goes on until it is let go; it knows whether it is being read."""

    def __init__(self, A):
        self.A, self.shape, self.dtype, self.chunks = A, A.shape, A.dtype, (10, A.shape[1])
        self.in_progress, self.n_reads = 0, 0
        self.is_reached, self.may_end = threading.Event(), threading.Event()

    def read(self, rows):
        self.in_progress += 1
        self.n_reads += 1
        if HELD_ROW <= rows.start < M // 2 and not self.is_reached.is_set():
            self.is_reached.set()
            assert self.may_end.wait(60)
        self.in_progress -= 1
        return self.A[rows]


class TestEvents:
    def test_a_pass_begins_has_spans_and_ends_as_in_any_verb(self, A, tmp_path, short_pieces):
        seen = []
        done = streamsvd.update(
            tmp_path / "m", A, "a", rank=K, memory="64MiB", callback=seen.append
        )
        started, *spans, written, ended = seen
        assert started == PassStarted(1, "absorbing", A.nbytes)
        assert spans == [SpanDone(1, i + 1, len(spans)) for i in range(len(spans))]
        assert len(spans) == len(Model.open(tmp_path / "m").blocks) > 3
        assert isinstance(written, ResultWritten)
        assert isinstance(ended, PassDone)
        assert (done.info.passes, done.info.bytes_read) == (1.0, A.nbytes)
        assert done.info.n_rows == done.n_absorbed == M
        assert 0 < done.info.projected_bytes <= 64 << 20
        assert asdict(done.options) == {"block_id": "a", "nonfinite": "raise"}

    def test_a_known_block_is_read_once_to_compare_it(self, A, tmp_path):
        streamsvd.update(tmp_path / "m", A, "a", rank=K)
        seen = []
        done = streamsvd.update(tmp_path / "m", A, "a", callback=seen.append)
        assert [type(e) for e in seen] == [PassStarted, SpanDone, PassDone]
        assert seen[0].purpose == "comparing with the model"
        assert (done.info.passes, done.info.bytes_read, done.n_absorbed) == (1.0, A.nbytes, 0)

    @pytest.mark.parametrize("u", [False, True])
    @pytest.mark.parametrize("kind", [PassStarted, SpanDone, ResultWritten, PassDone])
    def test_an_interrupt_leaves_the_version_before_or_the_one_after_and_nothing_else(
        self, A, tmp_path, short_pieces, kind, u
    ):
        """Resumed, it is the model that was never interrupted, bit by bit."""
        for name in ("m", "whole"):
            stored(tmp_path / f"{name}.zarr", A[:100])
            streamsvd.update(tmp_path / name, tmp_path / f"{name}.zarr", rank=K, u=u)
            stored(tmp_path / f"{name}.zarr2", A)
        before = files(tmp_path / "m")

        def strike(event):
            if isinstance(event, kind) and getattr(event, "n_finished", 3) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            streamsvd.update(tmp_path / "m", tmp_path / "m.zarr2", callback=strike)
        model = Model.open(tmp_path / "m")
        if kind in (PassStarted, SpanDone):
            assert files(tmp_path / "m") == before
            assert len(list((tmp_path / "m" / "versions").iterdir())) == 1
        else:
            assert (model.version, model.n_rows) == (2, M)
        assert model.verify() == []
        done = streamsvd.update(tmp_path / "m", tmp_path / "m.zarr2")
        assert done.n_rows == M
        streamsvd.update(tmp_path / "whole", tmp_path / "whole.zarr2")
        whole = Model.open(tmp_path / "whole")
        same(model.refresh(), whole)
        if u:
            np.testing.assert_array_equal(np.asarray(model.U), np.asarray(whole.U))

    def test_when_an_interrupt_arrives_nothing_is_read_any_more(self, A, tmp_path, short_pieces):
        source = Held(A)

        def strike(event):
            if isinstance(event, SpanDone) and event.n_finished == 2:
                assert source.is_reached.wait(60)  # the next piece is being read meanwhile
                source.may_end.set()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), dask.config.set(num_workers=2):
            streamsvd.update(tmp_path / "m", source, rank=K, callback=strike)
        assert source.in_progress == 0
        # nobody is left who could read on
        assert [t.name for t in threading.enumerate() if t.name.startswith("streamsvd-")] == []
        assert source.n_reads < M // 10

    def test_what_a_long_update_committed_stays_when_it_is_interrupted(
        self, A, tmp_path, short_pieces, monkeypatch
    ):
        monkeypatch.setattr("streamsvd.models.absorption.ROUND", 1)
        stored(tmp_path / "a", A)

        def strike(event):
            if isinstance(event, SpanDone) and event.n_finished == 5:  # a chunk is two pieces
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            streamsvd.update(tmp_path / "m", tmp_path / "a", rank=K, u=True, callback=strike)
        model = Model.open(tmp_path / "m")
        assert model.version == len(list((tmp_path / "m" / "versions").iterdir())) == 2
        assert 0 < model.n_rows < M
        assert model.verify() == []
        assert streamsvd.update(tmp_path / "m", tmp_path / "a").n_rows == M


class TestPolicies:
    @pytest.fixture
    def gap(self, A):
        gap = A[100:].copy()
        gap[::7, 3] = np.nan
        return gap

    @pytest.mark.parametrize("axis", ["rows", "columns"])
    def test_zero_is_the_block_with_zeros_and_known_as_it_was_sent(self, A, gap, tmp_path, axis):
        first, options = A[:100], {"rank": K, "axis": axis}
        turned = (lambda X: X) if axis == "rows" else np.transpose
        for name, block in (("zero", gap), ("plain", np.nan_to_num(gap))):
            streamsvd.update(tmp_path / name, turned(first), "a", **options)
            streamsvd.update(tmp_path / name, turned(block), "b", nonfinite="zero")
        zero, plain = Model.open(tmp_path / "zero"), Model.open(tmp_path / "plain")
        np.testing.assert_array_equal(zero.s, plain.s)
        assert zero.ledger == plain.ledger
        again = zero.update(turned(gap), "b", nonfinite="zero")
        assert again.skip_reason == "known"
        assert zero.blocks[1].digest != plain.blocks[1].digest

    @pytest.mark.parametrize(
        ("earlier", "now"), [("skip-block", "skip_block"), ("impute-mean", "mean")]
    )
    def test_spellings_of_earlier_releases_mean_the_same(self, A, gap, tmp_path, earlier, now):
        for spelling in (earlier, now):
            streamsvd.update(tmp_path / spelling, A[:100], "a", rank=K, center=True)
            done = streamsvd.update(tmp_path / spelling, gap, "b", nonfinite=spelling)
            assert done.options.nonfinite == now
        same(Model.open(tmp_path / earlier), Model.open(tmp_path / now))

    def test_the_command_line_knows_the_same_policies(self):
        assert tuple(BlockPolicy().choices) == BLOCK_POLICIES


class TestMaskOfAModel:
    LAND = (2, 5)

    @pytest.fixture
    def sea(self):
        return ~np.isin(np.arange(N), self.LAND)

    @pytest.fixture
    def holed(self, A):
        holed = A.copy()
        holed[:, self.LAND] = np.nan
        return holed

    @pytest.mark.parametrize("way", ["array", "auto", "name", "dimensions"])
    def test_the_first_block_and_all_others_keep_the_columns_that_it_was_created_with(
        self, A, holed, sea, tmp_path, way
    ):
        first, second = holed[:100], holed[100:]
        mask = {"array": sea, "auto": "auto", "name": "sea", "dimensions": sea.reshape(4, 5)}[way]
        if way in ("name", "dimensions"):
            group = zarr.open_group(tmp_path / "g", mode="w")
            shape = (100, 4, 5) if way == "dimensions" else (100, N)
            group.create_array("x", data=first.reshape(shape))
            group.create_array("sea", data=sea.reshape(shape[1:]))
            first = streamsvd.open(tmp_path / "g", variable="x", rows=0)
        Model.create(tmp_path / "m", K, mask=mask)
        model = Model.open(tmp_path / "m")  # it is remembered
        model.update(first, "a")
        model.update(second, "b")
        streamsvd.update(tmp_path / "plain", A[:100][:, sea], "a", rank=K)
        streamsvd.update(tmp_path / "plain", A[100:][:, sea], "b")
        assert model.dropped_columns == self.LAND
        np.testing.assert_array_equal(model.s, Model.open(tmp_path / "plain").s)

    def test_what_it_leaves_out_is_never_looked_at(self, A, sea, tmp_path):
        bad = A.copy()
        bad[:, self.LAND] = np.inf
        model = Model.create(tmp_path / "m", K, mask=sea)
        assert model.update(bad, "a").n_absorbed == M

    def test_another_mask_with_the_first_block_is_refused(self, A, sea, tmp_path):
        model = Model.create(tmp_path / "m", K, mask=sea)
        for other in (~sea, "auto"):
            with pytest.raises(SpecError, match="differs from the one that the model was created"):
                model.update(A, "a", mask=other)
        assert model.version == 0
        assert model.update(A, "a", mask=sea).n_absorbed == M

    def test_a_mask_that_no_block_can_have_is_refused_before_anything_is_written(
        self, A, sea, tmp_path
    ):
        with pytest.raises(ShapeError, match="rank=19 exceeds the 18 columns that mask= keeps"):
            Model.create(tmp_path / "m", 19, mask=sea)
        with pytest.raises(SpecError, match="mask leaves every column out"):
            Model.create(tmp_path / "m", 1, mask=np.zeros(N, bool))
        with pytest.raises(SpecError, match="here columns arrive"):
            Model.create(tmp_path / "m", 1, mask=sea, axis="columns")
        assert not (tmp_path / "m").exists()
        model = Model.create(tmp_path / "m", 1, mask=sea)
        with pytest.raises(SpecError, match=r"mask has shape \(20,\), ndarray has 19 columns"):
            model.update(A[:, 1:], "a")

    def test_a_model_without_one_is_written_as_releases_before_wrote_it(self, sea, tmp_path):
        def names(path):
            return set(json.loads((path / "model.json").read_bytes().partition(b"\n")[0]))

        Model.create(tmp_path / "m", K)
        Model.create(tmp_path / "masked", K, mask=sea)
        assert names(tmp_path / "m") == {"format", "spec", "keep", "base"}
        assert names(tmp_path / "masked") - names(tmp_path / "m") == {"mask"}


class TestPlan:
    def test_nothing_is_read_and_nothing_is_written(self, tmp_path):
        plan = plan_update(tmp_path / "m", Unread(M, N), rank=K, memory="64MiB")
        assert (plan.verb, plan.n_new, plan.passes, plan.spans) == ("update", M, 1, 1)
        assert plan.pass_bytes == M * N * 8
        assert plan.projected_bytes <= plan.budget_bytes == 64 << 20
        assert f"{M} rows are new, 0 are in the model" in plan.explain()
        assert not (tmp_path / "m").exists()
        with pytest.raises(AssertionError, match="were read"):
            streamsvd.update(tmp_path / "m", Unread(M, N), rank=K)

    @pytest.mark.parametrize("options", [{}, {"nonfinite": "zero"}, {"mask": "auto"}])
    def test_an_update_does_what_was_planned(self, A, tmp_path, short_pieces, options):
        array = stored(tmp_path / "a", A[:100])
        streamsvd.update(tmp_path / "m", tmp_path / "a", rank=K, **options)
        array.append(A[100:])
        plan = plan_update(tmp_path / "m", tmp_path / "a", memory="64MiB")
        seen = []
        done = streamsvd.update(
            tmp_path / "m", tmp_path / "a", memory="64MiB", callback=seen.append
        )
        assert plan.n_new == done.n_absorbed == M - 100
        assert plan.pass_bytes == seen[0].bytes_read
        assert plan.spans == len([e for e in seen if isinstance(e, SpanDone)])
        assert plan.projected_bytes == done.info.projected_bytes
        assert plan_update(tmp_path / "m", tmp_path / "a").n_new == 0

    @pytest.mark.parametrize("options", [{"nonfinite": "zero"}, {"mask": "auto"}])
    def test_the_plan_of_a_first_block_bounds_whatever_columns_are_left(self, A, tmp_path, options):
        holed = A.copy()
        holed[:, ::3] = np.nan
        for name, block in (("full", A), ("holed", holed)):
            plan = plan_update(tmp_path / name, block, "a", rank=K, memory="64MiB", **options)
            done = streamsvd.update(tmp_path / name, block, "a", rank=K, memory="64MiB", **options)
            assert done.info.projected_bytes <= plan.projected_bytes

    def test_a_known_block_is_to_be_compared(self, A, tmp_path):
        streamsvd.update(tmp_path / "m", A, "a", rank=K)
        plan = plan_update(Model.open(tmp_path / "m"), Unread(M, N), "a")
        assert (plan.n_new, plan.passes) == (0, 1)
        assert "read to compare" in plan.explain()

    def test_what_an_update_would_refuse_is_refused(self, A, tmp_path):
        streamsvd.update(tmp_path / "m", A, "a", rank=K)
        model = Model.open(tmp_path / "m")
        with pytest.raises(ShapeError, match="the block has 19 columns, the model has 20"):
            plan_update(model, A[:, 1:], "b")
        with pytest.raises(SpecError, match="rank=3 was asked, the model was made with rank=4"):
            plan_update(model, A, "b", rank=3)
        with pytest.raises(ShapeError, match="has 299 rows, the model has absorbed 300"):
            plan_update(model, Unread(299, N))
        with pytest.raises(BudgetError, match=r"Pass memory=\d+ or more"):
            plan_update(model, A, "b", memory="1MiB")
        assert model.spec.rank == K


class TestVerify:
    def test_it_reads_what_was_planned_and_records_it(self, A, tmp_path):
        streamsvd.svd(A, K, out=tmp_path / "r")
        assert plan_verify(tmp_path / "r", Unread(M, N)).pass_bytes == A.nbytes
        plan = plan_verify(tmp_path / "r", A, memory="64MiB", seed=5)
        found = streamsvd.verify(tmp_path / "r", A, memory="64MiB", seed=5)
        assert found.agrees
        assert found.options == plan.options
        assert found.options.seed == 5
        assert found.info.passes == plan.passes == 1
        assert found.info.bytes_read == plan.pass_bytes == A.nbytes
        assert found.info.n_rows == M
        assert found.info.projected_bytes == plan.projected_bytes <= 64 << 20

    def test_a_delta_that_is_no_probability_is_refused_before_anything_is_read(self, tmp_path):
        with pytest.raises(SpecError, match="delta=2 is no probability"):
            streamsvd.verify(tmp_path / "none", Unread(M, N), delta=2)
