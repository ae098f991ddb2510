"""A run makes what is not there for what is asked and read, and nothing else."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import Model
from streamsvd.engine.events import PassStarted
from streamsvd.errors import BudgetError, DescriptionError, StoreError
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.planning import plan_pipeline
from streamsvd.pipelines.records import RunLog
from streamsvd.store.sources import open_source
from tests.pipelines.kit import (
    CHAIN,
    COLUMNS,
    ROWS,
    SVD,
    Watch,
    assert_same_bits,
    folder_of_work,
    grow,
    made,
    matrix,
    place_of,
    run_text,
    statuses,
    write,
    write_sources,
    write_zarr,
)


def test_the_second_run_is_unchanged_and_reads_only_for_its_digest(folder, monkeypatch):
    assert run_text(folder, CHAIN).status == "done"
    kind, n_rows = type(open_source(folder / "a.zarr")), []
    original = kind.read

    def counted(self, rows, *arguments, **options):
        n_rows.append(rows.stop - rows.start)
        return original(self, rows, *arguments, **options)

    monkeypatch.setattr(kind, "read", counted)
    watch = Watch()
    record = run_text(folder, CHAIN, callback=watch)
    assert record.status == "unchanged"
    assert statuses(record) == dict.fromkeys(("eof", "model", "proof"), "unchanged")
    assert record.published == ()
    assert not [e for e in watch.events if isinstance(e, PassStarted)]
    assert 0 < sum(n_rows) < ROWS / 4
    assert all(s.bytes_read < 10 * COLUMNS * 4 for s in record.steps)


def test_a_run_writes_where_the_file_says_wherever_it_is_run_from(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with folder_of_work(tmp_path / "elsewhere"):
        record = run_text(folder, CHAIN)
    assert record.status == "done"
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert place_of(record, "eof").is_relative_to(folder / "p.runs")
    assert (folder / "a.model").is_dir()
    with folder_of_work(folder):
        assert run_text(folder, CHAIN).status == "unchanged"


def test_a_folder_that_moved_is_unchanged_and_its_links_lead_on(folder, tmp_path):
    run_text(folder, CHAIN)
    moved = folder.rename(tmp_path / "moved")
    assert (moved / "latest" / "eof").resolve().is_relative_to(moved)
    assert streamsvd.load(moved / "latest" / "eof").rank == 3
    text = CHAIN.replace('[[publish]]\nstep = "model"\nto = "latest/model"\n', "")
    assert statuses(run_text(moved, text))["eof"] == "unchanged"


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ("steps.eof.pca.rank=2", ["eof", "proof"]),
        ("steps.proof.verify.seed=5", ["proof"]),
        ("steps.model.update.model=b.model", ["model"]),
        ("steps.eof.pca.memory=300MiB", []),
        ("keep=3", []),
    ],
)
def test_a_change_makes_its_step_and_those_after_it_again(folder, setting, again):
    run_text(folder, CHAIN)
    assert made(run_text(folder, CHAIN, setting)) == again
    assert made(run_text(folder, CHAIN, setting)) == []


def test_other_data_make_all_that_read_them_again(folder):
    text = (
        CHAIN
        + '[sources.b]\npath = "A.npy"\n[[steps]]\nname = "other"\nsvd = {source = "b", rank = 2}\n'
    )
    run_text(folder, text)
    grow(folder / "a.zarr", 40)
    record = run_text(folder, text)
    assert made(record) == ["eof", "model", "proof"]
    assert Model.open(folder / "a.model").n_rows == ROWS + 40


def test_what_a_source_is_told_is_part_of_what_is_asked(folder):
    group = zarr.create_group(str(folder / "g.zarr"))
    for name in ("t", "u"):  # the same numbers
        group.create_array(name, shape=(50, 5), dtype="f4", chunks=(10, 5))[:] = 1
    text = SVD.replace("rank = 3", "rank = 1")
    assert made(run_text(folder, text, "sources.a.path=g.zarr", "sources.a.variable=t")) == ["eof"]
    assert made(run_text(folder, text, "sources.a.path=g.zarr", "sources.a.variable=u")) == ["eof"]


def test_an_array_of_an_option_is_part_of_what_is_read(folder):
    np.save(folder / "w.npy", np.ones(ROWS))
    text = SVD.replace("rank = 3", 'rank = 3, row_weights = "w.npy"')
    run_text(folder, text)
    assert made(run_text(folder, text)) == []
    np.save(folder / "w.npy", 2 * np.ones(ROWS))
    assert made(run_text(folder, text)) == ["eof"]


def test_a_target_is_part_of_what_is_read(folder):
    text = (
        '[sources.a]\npath = "A.npy"\n[[steps]]\nname = "x"\nlstsq = {source = "a", b = "y.npy"}\n'
    )
    run_text(folder, text)
    assert made(run_text(folder, text)) == []
    np.save(folder / "y.npy", np.arange(ROWS, dtype=float))
    assert made(run_text(folder, text)) == ["x"]


def test_a_step_after_another_is_made_again_with_it(folder):
    text = (
        SVD + '[[steps]]\nname = "after"\nneeds = ["eof"]\nsample_rows = {source = "a", size = 5}\n'
    )
    run_text(folder, text)
    assert made(run_text(folder, text, "steps.eof.svd.rank=2")) == ["eof", "after"]


def test_a_verification_reads_the_result_of_its_step_and_not_the_newest(folder):
    run_text(folder, CHAIN)
    run_text(folder, CHAIN, "steps.eof.pca.rank=2")
    record = run_text(folder, CHAIN, "steps.proof.verify.seed=9")  # of rank 3 again
    assert statuses(record)["eof"] == "unchanged"
    assert statuses(record)["proof"] == "done"
    found = streamsvd.load(place_of(record, "proof"))
    assert len(found.stored_certificate.sigma_lower) == 3


def test_data_of_other_columns_are_made_anew_and_old_results_do_not_stand_in_the_way(folder):
    text = CHAIN.replace('model = "a.model"', 'model = "${MODEL:-a.model}"')
    run_text(folder, text)
    write_zarr(folder / "a.zarr", matrix()[:, :8])
    record = run_text(folder, text, "steps.model.update.model=b.model")
    assert made(record) == ["eof", "model", "proof"]


def test_a_model_that_was_made_anew_is_another(folder):
    first = run_text(folder, CHAIN)
    shutil.rmtree(folder / "a.model")
    write_zarr(folder / "a.zarr", matrix(seed=5))
    second = run_text(folder, CHAIN)
    assert place_of(first, "model") != place_of(second, "model")
    assert second.status == "done"
    loaded = streamsvd.load(folder / "latest" / "model")
    np.testing.assert_array_equal(loaded.s, Model.open(folder / "a.model").as_svd().s)


def test_a_verification_of_a_model_is_made_again_with_its_versions(folder):
    text = CHAIN.replace('result = "eof"', 'result = "model"')
    run_text(folder, text)
    grow(folder / "a.zarr", 40)
    assert made(run_text(folder, text)) == ["eof", "model", "proof"]
    assert made(run_text(folder, text)) == []


def test_a_source_that_is_not_there_fails_before_any_work(folder):
    shutil.rmtree(folder / "a.zarr")
    with pytest.raises(
        StoreError, match=r'step eof: .*a\.zarr does not exist\. Make it, .*absent = "skip"'
    ):
        run_text(folder, CHAIN)
    assert not (folder / "a.model").exists()
    assert not (folder / "p.runs" / "results").exists()


def test_a_source_that_may_be_absent_is_waited_for(folder):
    away = folder / "a.zarr"
    held = away.rename(folder / "held.zarr")
    text = CHAIN.replace('path = "a.zarr"', 'path = "a.zarr"\nabsent = "skip"')
    text += (
        '[sources.b]\npath = "A.npy"\n[[steps]]\nname = "other"\nsvd = {source = "b", rank = 2}\n'
    )
    text += '[[steps]]\nname = "late"\nneeds = ["eof"]\nsvd = {source = "b", rank = 2}\n'
    assert {p.step.name for p in plan_pipeline(write(folder, text)) if p.plan is None} == {
        "eof", "model", "proof", "late",
    }  # fmt: skip
    record = run_text(folder, text)
    assert made(record) == ["other"]
    assert record.steps[0].error == "its source is not there yet"
    assert not (folder / "latest").exists()
    assert run_text(folder, text).status == "unchanged"
    held.rename(away)
    assert made(run_text(folder, text)) == ["eof", "model", "proof", "late"]


def test_rows_that_are_not_written_yet_are_waited_for(folder):
    zarr.create_array(
        str(folder / "a.zarr"),
        shape=(ROWS, COLUMNS),
        chunks=(40, COLUMNS),
        dtype="f4",
        overwrite=True,
    )
    text = "\n[[steps]]\n".join(("[sources.a]\npath = 'a.zarr'\nmissing = 'fill'", 'name = "model"\nupdate = {source = "a", model = "m", rank = 3}', 'name = "proof"\nverify = {source = "a", result = "model"}'))  # fmt: skip
    record = run_text(folder, text)
    assert record.status == "unchanged"
    assert record.steps[0].error == "its model has absorbed nothing yet"
    assert record.steps[1].status == "unchanged"
    zarr.open_array(str(folder / "a.zarr"), mode="r+")[:] = matrix()
    assert made(run_text(folder, text)) == ["model", "proof"]


def test_rows_that_went_are_refused_by_a_model_before_any_work(folder):
    run_text(folder, CHAIN)
    write_zarr(folder / "a.zarr", matrix()[:100])
    with pytest.raises(
        DescriptionError, match=r"step model: .* has 100 rows, the model has absorbed 240"
    ):
        run_text(folder, CHAIN)
    without = CHAIN.replace(
        'update = {source = "a", model = "a.model", rank = 3}', 'svd = {source = "a", rank = 3}'
    )
    assert made(run_text(folder, without)) == ["eof", "model", "proof"]


def test_rows_that_were_rewritten_are_made_again_and_refused_by_a_model_in_words(folder):
    run_text(folder, CHAIN)
    array = zarr.open_array(str(folder / "a.zarr"), mode="r+")
    array[:] = matrix(seed=3)
    record = run_text(folder, CHAIN)
    assert statuses(record) == {"eof": "done", "model": "failed"}
    assert record.status == "failed"
    assert "step model: row 0 of " in record.error
    assert "was written anew" in record.error
    assert (folder / "latest" / "eof").resolve() != place_of(
        record, "eof"
    )  # it stays until all is right


def test_a_budget_that_does_not_do_names_the_step_before_any_work(folder):
    with pytest.raises(
        BudgetError, match=r"step eof: .*the budget allows 1,024\. The smallest budget"
    ):
        run_text(folder, CHAIN, "steps.eof.pca.memory=1KiB")
    assert not (folder / "a.model").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps.eof.svd.rank=0", r"step eof: rank=0 is below 1"),
        ("steps.eof.svd.rank=five", r"step eof: rank='five' is not an integer"),
        ("steps.eof.svd.rank=2020-01-01", r"step eof: rank=datetime"),
        ("steps.eof.svd.memory=much", r"step eof: memory='much'"),
        ("steps.eof.svd.tol=7", r"step eof: tol=7 is out of range"),
        ("steps.eof.svd.nonfinite=never", r"step eof: nonfinite='never'"),
    ],
)
def test_an_option_that_cannot_be_meant_names_its_step(folder, setting, said):
    pipeline = write(folder, SVD, setting)
    for attempt in (plan_pipeline, run_pipeline):
        with pytest.raises(DescriptionError, match=said):
            attempt(pipeline)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ('svd = {source = "a", rank = 2, row_weights = "no.npy"}', r"row_weights=.*no\.npy does not exist"),
        ('lstsq = {source = "a", b = "no.npy"}', r"b=.*no\.npy does not exist\. Check the path"),
        ('kernel_ridge = {source = "a", y = "no.npy"}', r"y=.*no\.npy does not exist"),
        ('verify = {source = "a", result = "no"}', r"no does not exist, and no step is named 'no'"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_said_before_any_work(folder, step, said):
    text = SVD + f'[[steps]]\nname = "x"\n{step}\n'
    with pytest.raises(StoreError, match="step x: " + r".*" + said):
        run_text(folder, text)
    assert not (folder / "p.runs" / "results").exists()


def test_a_plan_writes_nothing(folder):
    pipeline, before = write(folder, CHAIN), sorted(folder.rglob("*"))
    plans = plan_pipeline(pipeline)
    assert [p.plan is None for p in plans] == [False, False, True]
    assert sorted(folder.rglob("*")) == before


def test_what_did_not_converge_is_never_published_and_not_made_twice(folder):
    text = SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'
    rng = np.random.default_rng(0)
    np.save(folder / "A.npy", rng.standard_normal((300, 200)))
    hard = ("steps.eof.svd.tol=1e-12", "steps.eof.svd.max_passes=2", "steps.eof.svd.route=krylov")
    first = run_text(folder, text, *hard)
    assert first.status == "failed"
    assert "and is not published" in first.error
    watch = Watch()
    second = run_text(folder, text, *hard, callback=watch)
    assert second.status == "failed"
    assert "it did not converge; what was found so far is in " in second.error
    assert not [e for e in watch.events if isinstance(e, PassStarted)]
    assert not (folder / "latest").exists()
    assert run_text(folder, text).status == "done"


def test_a_contradiction_is_a_step_that_failed(folder):
    text = CHAIN.replace('result = "eof"', 'result = "kept"')
    streamsvd.svd(matrix(seed=8), rank=3, out=folder / "kept")
    record = run_text(folder, text)
    assert record.status == "failed"
    assert "step proof: the result does not agree with its source" in record.error
    again = run_text(folder, text)
    assert "does not agree with its source" in again.error
    assert statuses(again)["eof"] == "unchanged"


def test_a_result_that_is_damaged_is_said_to_be(folder):
    record = run_text(folder, SVD)
    place = place_of(record, "eof")
    victim = max(
        (p for p in place.rglob("*") if p.is_file() and "c" in p.parts),
        key=lambda p: p.stat().st_size,
    )
    victim.write_bytes(b"x" * victim.stat().st_size)
    again = run_text(folder, SVD)
    assert again.status == "failed"
    assert str(place) in again.error


def test_old_results_go_and_what_is_published_or_made_stays(folder):
    text = "keep = 2\n" + SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'
    places = []
    for rank in (1, 2, 3, 4):
        record = run_text(folder, text, f"steps.eof.svd.rank={rank}")
        places.append(place_of(record, "eof"))
    assert [p.exists() for p in places] == [False, False, True, True]
    again = run_text(folder, text, "steps.eof.svd.rank=3")
    assert statuses(again)["eof"] == "unchanged"
    assert (folder / "latest").resolve() == places[2].resolve()
    os.utime(places[2], (0, 0))  # the oldest, and published
    run_text(folder, text, "steps.eof.svd.rank=3")
    assert places[2].exists()


def test_what_a_killed_run_left_beside_results_goes(folder):
    record = run_text(folder, SVD)
    home = place_of(record, "eof").parent
    (home / ".aside.123").mkdir()
    (home / "abc.partial-00000000").mkdir()
    stale = folder / "p.runs" / "saves" / "eof" / "old"
    stale.mkdir(parents=True)
    run_text(folder, SVD)
    assert list(home.iterdir()) == [place_of(record, "eof")]
    assert not stale.exists()


def test_two_folders_with_the_same_sources_make_the_same_bits(folder, tmp_path):
    other = write_sources(tmp_path / "other")
    first, second = run_text(folder, CHAIN), run_text(other, CHAIN)
    for name in ("eof", "model"):
        assert_same_bits(place_of(first, name), place_of(second, name))


def test_records_are_numbered_and_say_what_was_done(folder):
    for _ in range(2):
        run_text(folder, CHAIN)
    first, second = RunLog(folder / "p.runs").records()
    assert (first.number, second.number) == (1, 2)
    assert (first.status, second.status) == ("done", "unchanged")
    eof = first.steps[0]
    assert (eof.name, eof.verb, eof.n_rows, eof.passes >= 1) == ("eof", "pca", ROWS, True)
    assert eof.bytes_read >= ROWS * COLUMNS * 4
    assert (
        0 <= eof.peak_bytes <= eof.projected_bytes
    )  # nothing, where memory of earlier tests is taken again
    assert len(first.published) == 2
    assert first.streamsvd == streamsvd.__version__
