"""What is handed to a pipeline may be wrong in any way: it is said in words before any work, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import (
    AccessError,
    CheckpointMismatch,
    DescriptionError,
    SpecError,
    StoreError,
    StreamSVDError,
)
from streamsvd.pipelines import execution, lock
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import RunLog
from streamsvd.verbs import VERBS
from tests.pipelines.kit import (
    CHAIN,
    ROWS,
    SVD,
    Watch,
    grow,
    matrix,
    place_of,
    refusal,
    run_text,
    write,
    write_zarr,
)

LINKED = SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'


@pytest.mark.parametrize(
    "text",
    ["\ufeff" + LINKED, LINKED.replace("\n", "\r\n"), "\ufeff" + LINKED.replace("\n", "\r\n")],
    ids=["mark", "windows", "both"],
)
def test_a_file_of_another_editor_is_the_same_pipeline(folder, text):
    run_text(folder, LINKED)
    (folder / "p.toml").write_bytes(text.encode())
    assert run_pipeline(read_pipeline(folder / "p.toml")).status == "unchanged"


@pytest.mark.parametrize("name", ["my pipeline.toml", ".toml", "ä.toml", "a.b.toml"])
def test_a_file_whose_name_is_none_is_told_to_write_one(tmp_path, name):
    (tmp_path / name).write_text(SVD)
    with pytest.raises(
        DescriptionError, match=r"the file is called .*Write name = \"\.\.\.\" at its top"
    ):
        read_pipeline(tmp_path / name)
    (tmp_path / name).write_text('name = "mine"\n' + SVD)
    assert read_pipeline(tmp_path / name).name == "mine"


def test_a_file_that_is_empty_has_no_steps(tmp_path):
    assert "missing required field 'steps'" in refusal(tmp_path, "")


@pytest.mark.parametrize("name", ["a\nb", "ä'b\"c $(x)", "-x%s{}"])
def test_links_and_states_may_have_odd_names(folder, name):
    text = f"state = {json.dumps('state ' + name)}\n" + SVD
    text += f'[[publish]]\nstep = "eof"\nto = {json.dumps(name + "/" + name)}\n'
    record = run_text(folder, text)
    assert record.published == (str(folder / name / name),)
    assert streamsvd.load(folder / name / name).rank == 3
    assert place_of(record, "eof").is_relative_to(folder / f"state {name}")
    assert run_text(folder, text).status == "unchanged"


@pytest.mark.parametrize("name", ["a b", "a\nb", "ä", "", ".", "..", "-a", "a/b", "a.b", "a\0"])
def test_names_of_steps_become_folders_and_are_plain(tmp_path, name):
    said = refusal(tmp_path, SVD.replace('"eof"', json.dumps(name)))
    assert f"{name!r} is no name - at $.steps[0].name. Use letters, digits, - and _." in said


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (SVD.replace("A.npy", "A\\u0000.npy"), "$.sources.a.path"),
        (LINKED.replace('"latest"', '"a\\u0000"'), "$.publish[0].to"),
        ('state = "a\\u0000"\n' + SVD, "$.state"),
    ],
)
def test_a_null_character_is_located(tmp_path, text, where):
    said = refusal(tmp_path, text)
    assert "has a null character, which no path may have" in said
    assert where in said


@pytest.mark.parametrize("place", ["p.runs", "p.runs/results/eof/latest", "./deep/../p.runs/runs"])
def test_a_link_or_a_model_in_the_state_is_refused(tmp_path, place):
    said = refusal(tmp_path, LINKED.replace('"latest"', f'"{place}"'))
    assert f"{place} lies in the state, " in said
    assert " - at $.publish[0].to. Choose a place beside it." in said
    said = refusal(tmp_path, CHAIN.replace('"a.model"', f'"{place}"'))
    assert f"{place} lies in the state, " in said
    assert " - at model of step model." in said


def test_a_state_may_be_the_folder_of_the_file(folder):
    text = 'state = "."\n' + CHAIN
    assert run_text(folder, text).status == "done"
    assert run_text(folder, text).status == "unchanged"
    assert streamsvd.load(folder / "latest" / "eof").rank == 3


def test_a_link_whose_name_is_too_long_is_refused_before_any_work(folder):
    with pytest.raises(AccessError, match="File name too long"):
        run_text(folder, LINKED.replace("latest", "x" * 300))
    assert not (folder / "p.runs" / "results").exists()


@pytest.mark.parametrize("place", ["state", "state/below"])
def test_a_state_that_is_a_file_is_said_to_be_one(run, folder, place):
    (folder / "state").write_text("mine")
    write(folder, f'state = "{place}"\n' + SVD)
    outcome = run("run", folder / "p.toml", "--quiet")
    assert outcome.code == 1
    assert f"{folder}/state" in outcome.err
    assert "stands" in outcome.err
    assert outcome.err.count("\n") == 1
    assert (folder / "state").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_state_that_may_not_be_written_is_said_to_be_so(folder, monkeypatch, number):
    pipeline = write(folder, SVD)

    def refuses(path: object, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(lock.os, "open", refuses)
    with pytest.raises(
        AccessError, match=rf"p\.runs/?.*: {os.strerror(number)}.*[Cc]hoose another place"
    ):
        run_pipeline(pipeline)


@pytest.mark.skipif(os.geteuid() == 0, reason="for root no folder is forbidden")
def test_a_state_that_is_closed_is_said_to_be_so(folder):
    run_text(folder, SVD)
    results = folder / "p.runs" / "results"
    results.chmod(0o500)
    try:
        record = run_text(folder, SVD.replace("eof", "other"))
    finally:
        results.chmod(0o700)
    assert record.status == "failed"
    assert "Permission denied" in record.error


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("folder", r"step eof: "),
        ("text", r"step eof: "),
        ("objects", r"step eof: "),
        ("vector", r"step eof: "),
        ("empty", r"step eof: "),
    ],
)
def test_a_source_that_is_no_matrix_names_the_step_before_any_work(folder, kind, said):
    path = folder / "A.npy"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("1, 2, 3\n")
    elif kind == "objects":
        np.save(path, np.array([[None]]))
    elif kind == "vector":
        np.save(path, np.arange(4.0))
    else:
        path.write_bytes(b"")
    with pytest.raises(StreamSVDError, match=said):
        run_text(folder, SVD)
    assert not (folder / "p.runs" / "results").exists()


def test_a_source_that_went_between_planning_and_reading_is_a_step_that_failed(folder, monkeypatch):
    original = execution.step_inputs

    def late(*arguments):
        (folder / "A.npy").unlink(missing_ok=True)
        return original(*arguments)

    monkeypatch.setattr(execution, "step_inputs", late)
    record = run_text(folder, SVD)
    assert (record.status, record.steps[0].status) == ("failed", "failed")
    assert "A.npy does not exist" in record.error


def test_rows_that_shrank_keep_what_was_published(folder):
    run_text(folder, CHAIN)
    kept = streamsvd.load(folder / "latest" / "model").s
    write_zarr(folder / "a.zarr", matrix(100))
    with pytest.raises(DescriptionError, match=r"has 100 rows, the model has absorbed 240"):
        run_text(folder, CHAIN)
    assert RunLog(folder / "p.runs").records()[-1].status == "failed"
    np.testing.assert_array_equal(streamsvd.load(folder / "latest" / "model").s, kept)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (120, "row 120 of"),
        pytest.param(0, "row 0 of", marks=pytest.mark.slow),
        pytest.param(239, "row 239 of", marks=pytest.mark.slow),
    ],
)
def test_rows_that_were_rewritten_are_named_and_no_new_ones_are_absorbed(folder, row, said):
    run_text(folder, CHAIN)
    kept = streamsvd.load(folder / "latest" / "model").s
    grow(folder / "a.zarr", 40)
    zarr.open_array(folder / "a.zarr", mode="r+")[row] = 7
    record = run_text(folder, CHAIN)
    assert record.status == "failed"
    assert f"step model: {said} " in record.error
    assert streamsvd.Model.open(folder / "a.model").n_rows == ROWS
    np.testing.assert_array_equal(streamsvd.load(folder / "latest" / "model").s, kept)
    shutil.rmtree(folder / "a.model")  # as the error says
    assert run_text(folder, CHAIN).status == "done"
    assert streamsvd.Model.open(folder / "a.model").n_rows == ROWS + 40


def test_a_model_that_was_rolled_back_takes_other_rows(folder):
    run_text(folder, CHAIN)
    grow(folder / "a.zarr", ROWS)
    run_text(folder, CHAIN)
    streamsvd.Model.open(folder / "a.model").rollback(1)
    array = zarr.open_array(folder / "a.zarr", mode="r+")
    array[ROWS:] = matrix(ROWS, seed=5)  # they were wrong, and are mended
    record = run_text(folder, CHAIN)
    assert record.status == "done", record.error
    assert streamsvd.Model.open(folder / "a.model").n_rows == 2 * ROWS


def test_marks_that_are_damaged_are_as_none(folder):
    run_text(folder, CHAIN)
    for damage in (b"", b"{}", b"\xff"):
        (folder / "p.runs" / "marks" / "model.json").write_bytes(damage)
        assert run_text(folder, CHAIN).status == "unchanged"


def newer_model(folder: Path) -> None:
    file = folder / "a.model" / "model.json"
    record = json.loads(file.read_bytes().splitlines()[0])
    line = json.dumps({**record, "format": 99}).encode()
    file.write_bytes(line + b"\n%08x\n" % google_crc32c.value(line))


def no_model(folder: Path) -> None:
    shutil.rmtree(folder / "a.model")
    (folder / "a.model").write_text("mine")


def an_array(folder: Path) -> None:
    shutil.rmtree(folder / "a.model")
    zarr.create_array(folder / "a.model", data=np.eye(3))


def damaged_model(folder: Path) -> None:
    (folder / "a.model" / "model.json").write_bytes(b"{")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (newer_model, r"has format 99, this version reads up to \d+\. Upgrade streamsvd"),
        pytest.param(no_model, r"a\.model", marks=pytest.mark.slow),
        pytest.param(an_array, r"a\.model", marks=pytest.mark.slow),
        pytest.param(damaged_model, r"model\.json", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_cannot_be_read_names_the_step_and_what_was_published_stays(
    folder, change, said
):
    run_text(folder, CHAIN)
    change(folder)
    grow(folder / "a.zarr", 40)
    with pytest.raises(StreamSVDError, match=rf"step model: .*{said}"):
        run_text(folder, CHAIN)
    assert streamsvd.load(folder / "latest" / "model").info.n_rows == ROWS
    assert streamsvd.load(folder / "latest" / "eof").info.n_rows == ROWS


def test_a_model_of_other_options_names_both(folder):
    run_text(folder, CHAIN)
    with pytest.raises(DescriptionError, match=r"step model: .*rank.*4.*3"):
        run_text(folder, CHAIN, "steps.model.update.rank=4")


def test_a_result_of_another_release_is_said_to_be_one(folder):
    record = run_text(folder, SVD)
    file = place_of(record, "eof") / "zarr.json"
    held = json.loads(file.read_bytes())
    held["attributes"]["streamsvd"]["format"] = 99
    file.write_text(json.dumps(held))
    again = run_text(folder, SVD)
    assert again.status == "failed"
    assert "step eof: " in again.error


@pytest.fixture
def refusing(monkeypatch):
    """A verb that refuses, and what it was asked."""
    calls = []

    def refuse(error: Exception) -> list[Path]:
        def verb(*_: object, checkpoint: Path, **__: object) -> None:
            calls.append(checkpoint)
            raise error

        monkeypatch.setattr(type(VERBS["svd"]), "resolve", lambda self, part: verb)
        return calls

    return refuse


def saves_for_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Saves of a run that was interrupted."""
    from streamsvd.engine import saves

    with monkeypatch.context() as patch:
        patch.setattr(saves.Saves, "_save_if_due", lambda self: self.store.save(*self.encode()))
        with pytest.raises(KeyboardInterrupt):
            run_text(
                folder,
                SVD.replace("rank = 3", 'rank = 3, route = "krylov", tol = 1e-6'),
                callback=Watch(4, KeyboardInterrupt),
            )
    (place,) = (folder / "p.runs" / "saves" / "eof").iterdir()
    return place


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (SpecError("this cannot be meant"), 1),
        (DescriptionError("nor this"), 1),
        (StoreError("the disk is gone"), 1),
        (CheckpointMismatch("of another cut"), 2),
    ],
)
def test_only_saves_of_another_run_are_taken_away(folder, monkeypatch, refusing, error, times):
    place = saves_for_later(folder, monkeypatch)
    pipeline = write(folder, SVD.replace("rank = 3", 'rank = 3, route = "krylov", tol = 1e-6'))
    monkeypatch.setattr(execution, "plan_pipeline", lambda _: [])
    calls = refusing(error)
    record = run_pipeline(pipeline)
    assert record.status == "failed"
    assert str(error) in record.error
    assert calls == [place] * times
    assert place.exists() == (times == 1)
