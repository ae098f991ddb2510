"""A result that is kept is published again by hand; no run undoes it without saying so, or at all until the key changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ConflictError, SpecError, StoreError
from streamsvd.pipelines import publishing, republishing
from streamsvd.pipelines.history import read_history
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.records import RunLog
from streamsvd.pipelines.republishing import list_results, republish
from tests.pipelines.kit import CHAIN, SVD, grow, matrix, place_of, run_text, write

LINKED = SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'


def rank(folder: Path) -> int:
    """Of what is published: it tells the results of these tests apart."""
    found: int = streamsvd.load(folder / "latest").rank
    return found


def run_ranks(folder: Path, *ranks: int) -> list[str]:
    """Keys of results of these ranks, each published."""
    records = [run_text(folder, LINKED, f"steps.eof.svd.rank={n}") for n in ranks]
    return [place_of(record, "eof").name for record in records]


def test_the_one_before_is_published_and_no_run_undoes_it(folder):
    keys = run_ranks(folder, 1, 2, 3)
    record = republish(write(folder, LINKED))
    assert (record.status, record.command, record.number) == ("done", "publish", 4)
    assert record.published == (str(folder / "latest"),)
    assert record.notes == (
        f"{keys[2]} of eof was taken back: no run publishes it by itself.", f"{keys[1]} of eof is published.",
    )  # fmt: skip
    assert rank(folder) == 2
    assert RunLog(folder / "p.runs").records()[-1] == record
    for _ in range(2):
        again = run_text(folder, LINKED)
        assert (again.status, again.published) == ("unchanged", ())
        assert again.notes == (
            f"{keys[2]} of eof was taken back and is not published: {folder}/latest goes on leading to {keys[1]}. "
            f"streamsvd publish p.toml eof --to {keys[2]} publishes it after all.",
        )
        assert rank(folder) == 2


def test_going_back_again_goes_further_back_and_ends_in_words(folder):
    run_ranks(folder, 1, 2, 3)
    pipeline = write(folder, LINKED)
    for wanted in (2, 1):
        republish(pipeline)
        assert rank(folder) == wanted
    with pytest.raises(
        StoreError,
        match=r"no result of eof is kept that was published before\. keep = 5 results stay",
    ):
        republish(pipeline)
    assert rank(folder) == 1


def test_a_new_key_is_published_again(folder):
    run_ranks(folder, 2, 3)
    republish(write(folder, LINKED))
    np.save(folder / "A.npy", matrix(seed=9))
    record = run_text(folder, LINKED)
    assert (record.status, record.notes) == ("done", ())
    assert rank(folder) == 3


def test_what_was_taken_back_is_published_by_its_key(folder):
    keys = run_ranks(folder, 2, 3)
    pipeline = write(folder, LINKED)
    republish(pipeline)
    record = republish(pipeline, key=keys[1][:8])
    assert record.notes == (f"{keys[1]} of eof is published.",)
    assert rank(folder) == 3
    again = run_text(folder, LINKED)
    assert (again.status, again.notes) == ("unchanged", ())
    republish(pipeline)  # the one before is still the one before
    assert rank(folder) == 2


def test_a_result_that_was_made_again_is_still_taken_back(folder):
    keys = run_ranks(folder, 2, 3)
    republish(write(folder, LINKED))
    shutil.rmtree(folder / "p.runs" / "results" / "eof" / keys[1])
    record = run_text(folder, LINKED)
    assert record.status == "done"  # it was made
    assert record.published == ()
    assert keys[1] in record.notes[0]
    assert rank(folder) == 2


def test_what_a_check_refused_may_be_published_by_a_person(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "change"\nat_most = 0.5\n'
    run_text(folder, text)
    np.save(folder / "A.npy", 10 * matrix())
    refused = run_text(folder, text)
    assert refused.status == "refused"
    key = place_of(refused, "eof").name
    pipeline = write(folder, text)
    assert [r.publication for r in list_results(pipeline)] == ["now", "never"]
    record = republish(pipeline, "eof", key)
    assert record.notes == (
        f"{key} of eof was never published before: its checks may not have passed.", f"{key} of eof is published.",
    )  # fmt: skip
    assert (folder / "latest").resolve() == place_of(refused, "eof").resolve()
    assert run_text(folder, text).status == "unchanged"  # it is measured from itself now
    republish(pipeline)
    assert run_text(folder, text).status == "refused"


def test_what_is_kept_is_listed(folder):
    keys = run_ranks(folder, 1, 2, 3)
    pipeline = write(folder, LINKED)
    republish(pipeline)
    found = list_results(pipeline)
    assert [(r.key, r.publication) for r in found] == [
        (keys[0], "before"), (keys[1], "now"), (keys[2], "taken back"),
    ]  # fmt: skip
    assert all(r.place.is_dir() and r.step == "eof" and r.time for r in found)


def test_what_is_published_stays_where_it_is_the_oldest(folder):
    keys = run_ranks(folder, 1, 2)
    pipeline = write(folder, "keep = 1\n" + LINKED)
    republish(pipeline)
    for _ in range(2):
        assert run_text(folder, "keep = 1\n" + LINKED, "steps.eof.svd.rank=2").status == "unchanged"
    assert (folder / "latest").resolve(strict=True).name == keys[0]
    assert sorted(r.publication for r in list_results(pipeline)) == ["now", "taken back"]


def test_all_links_of_a_step_move_and_those_of_others_stay(folder):
    text = CHAIN + '[[publish]]\nstep = "model"\nto = "second"\n'
    run_text(folder, text)
    grow(folder / "a.zarr", 40)
    record = run_text(folder, text)
    republish(write(folder, text), "model")
    for link in ("latest/model", "second"):
        assert streamsvd.load(folder / link).info.n_rows == 240
    assert (folder / "latest" / "eof").resolve() == place_of(record, "eof").resolve()
    again = run_text(folder, text)
    assert (again.status, len(again.notes)) == ("unchanged", 2)
    grow(folder / "a.zarr", 40)
    assert run_text(folder, text).status == "done"
    assert streamsvd.load(folder / "second").info.n_rows == 320


def test_a_kill_between_what_is_written_down_and_the_link_leaves_what_can_be_done_again(
    folder, monkeypatch
):
    run_ranks(folder, 2, 3)
    pipeline = write(folder, LINKED)

    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(republishing, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        republish(pipeline)
    record = RunLog(pipeline.state).records()[-1]
    assert (record.status, record.command, record.notes) == ("interrupted", "publish", ())
    assert record.error == "not all links of eof were changed, publish again: KeyboardInterrupt"
    monkeypatch.undo()
    assert rank(folder) == 3
    republish(pipeline)
    assert rank(folder) == 2


def test_what_is_about_to_be_published_is_written_down_first(folder, monkeypatch):
    keys = run_ranks(folder, 2)

    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_ranks(folder, 3)
    monkeypatch.undo()
    assert rank(folder) == 2
    keys += run_ranks(folder, 3)
    assert read_history(folder / "p.runs", "p").steps["eof"].published == keys
    republish(write(folder, LINKED))
    assert rank(folder) == 2


def test_it_waits_for_no_run(folder):
    run_ranks(folder, 2, 3)
    pipeline = write(folder, LINKED)
    with (
        run_lock(pipeline.state),
        pytest.raises(ConflictError, match="a run of this pipeline is going on"),
    ):
        republish(pipeline)
    assert rank(folder) == 3


REFUSALS = (
    ("", "", SpecError, r"p\.toml publishes 2 steps\. Name one of eof, model\."),
    ("proof", "", SpecError, r"step 'proof' is not published by p\.toml\. Published are eof, model\."),
    ("eof", "zzz", StoreError, r"no result of eof of the key zzz in .*results/eof\. Kept are [0-9a-f]{16}\."),
    ("eof", "../model", StoreError, r"no result of eof of the key \.\./model in "),
    ("model", "", StoreError, r"no result of model is kept that was published before"),
)  # fmt: skip


def test_what_cannot_be_published_is_said(folder):
    run_text(folder, CHAIN)
    pipeline = write(folder, CHAIN)
    for step, key, error, said in REFUSALS:
        with pytest.raises(error, match=said):
            republish(pipeline, step, key)
    assert len(RunLog(folder / "p.runs").records()) == 1


def test_a_key_that_two_results_begin_with_is_refused(folder):
    run_text(folder, CHAIN)
    grow(folder / "a.zarr", 40)
    run_text(folder, CHAIN)
    with pytest.raises(StoreError, match=r"2 results of model of the key v00000 in "):
        republish(write(folder, CHAIN), "model", "v00000")


def test_a_pipeline_without_links_publishes_nothing(folder):
    run_text(folder, SVD)
    with pytest.raises(SpecError, match=r"p\.toml publishes nothing\. Write \[\[publish\]\]"):
        republish(write(folder, SVD))
    assert list_results(write(folder, SVD)) == []


def test_what_did_not_converge_is_not_published_by_hand(folder):
    run_ranks(folder, 2)
    np.save(folder / "A.npy", np.random.default_rng(0).standard_normal((300, 200)))
    hard = ("steps.eof.svd.tol=1e-12", "steps.eof.svd.max_passes=2", "steps.eof.svd.route=krylov")
    assert run_text(folder, LINKED, *hard).status == "failed"
    pipeline = write(folder, LINKED)
    key = next(r.key for r in list_results(pipeline) if r.publication == "never")
    with pytest.raises(StoreError, match=f"{key} of eof is not published: it did not converge"):
        republish(pipeline, "eof", key)
    assert rank(folder) == 2


def test_a_result_that_is_damaged_is_not_published(folder):
    keys = run_ranks(folder, 2, 3)
    (folder / "p.runs" / "results" / "eof" / keys[0] / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match=f"{keys[0]} of eof is not published: "):
        republish(write(folder, LINKED))
    assert rank(folder) == 3


def test_a_link_that_another_has_taken_is_left_alone(folder):
    run_ranks(folder, 2, 3)
    (folder / "latest").unlink()
    (folder / "latest").write_text("mine")
    with pytest.raises(StoreError, match="is there and no link"):
        republish(write(folder, LINKED))
    assert (folder / "latest").read_text() == "mine"


@pytest.mark.parametrize("damage", [b"{", pytest.param(b'{"steps": 3}', marks=pytest.mark.slow)])
def test_a_history_that_is_damaged_stops_what_would_undo_it(folder, damage):
    run_ranks(folder, 2, 3)
    file = folder / "p.runs" / "publications" / "p.json"
    file.write_bytes(damage)
    with pytest.raises(
        StoreError, match=r"publications/p\.json does not say what was published and taken back"
    ):
        run_text(folder, LINKED, "steps.eof.svd.rank=1")
    assert rank(folder) == 3
    file.unlink()
    assert run_text(folder, LINKED, "steps.eof.svd.rank=1").status == "done"


def test_the_command_lists_goes_back_and_forth(run, folder):
    keys = run_ranks(folder, 2, 3)
    file = folder / "p.toml"
    write(folder, LINKED)
    outcome = run("publish", file)
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[0] == ["step", "key", "made", "published"]
    assert [(line[1], line[3]) for line in lines[1:]] == [(keys[0], "before"), (keys[1], "now")]
    outcome = run("publish", file, "--back")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"published: {folder}/latest\n{keys[1]} of eof was taken back: no run publishes it by itself.\n"
        f"{keys[0]} of eof is published.\n"
    )
    said = run("run", file, "--quiet").out
    assert f"{keys[1]} of eof was taken back and is not published" in said
    assert said.endswith("run 4 of p: unchanged.\n")
    runs = run("runs", file).out
    assert "published by hand" in runs
    assert f"run 3: {keys[1]} of eof was taken back" in runs
    record = run("publish", file, "eof", "--to", keys[1], "--json").record
    assert (record["kind"], record["command"], record["status"]) == (
        "pipeline run",
        "publish",
        "done",
    )
    record = run("publish", file, "--json").record
    assert (record["kind"], [r["published"] for r in record["results"]]) == (
        "pipeline results",
        ["before", "now"],
    )
    assert json.loads((folder / "p.runs" / "publications" / "p.json").read_text())


def test_the_command_refuses_what_says_two_things(run, folder):
    run_ranks(folder, 2, 3)
    assert run("publish", folder / "p.toml", "--back", "--to", "x").code == 2
    assert run("publish", folder / "p.toml", "nothing", "--back").code == 2
    outcome = run("publish", folder / "p.toml", "eof", "--to", "x")
    assert (outcome.code, "no result of eof of the key x" in outcome.err) == (1, True)
