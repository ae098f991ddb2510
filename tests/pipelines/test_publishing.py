"""A link leads to a whole result at every moment, is replaced in one step, and nothing else is ever replaced."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import streamsvd
from streamsvd.errors import AccessError, StoreError
from streamsvd.pipelines import publishing, retention
from streamsvd.pipelines.publishing import check_link, link_target, publish
from streamsvd.pipelines.retention import remove_old
from tests.pipelines.kit import CHAIN, SVD, place_of, run_text

LINKED = SVD + '[[publish]]\nstep = "eof"\nto = "latest/eof"\n'


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two results of one state."""
    made = tmp_path / "state" / "one", tmp_path / "state" / "two"
    for place in made:
        place.mkdir(parents=True)
    return made


def test_a_link_leads_to_what_is_published(tmp_path, places):
    link = tmp_path / "deep" / "er" / "latest"
    assert link_target(link) is None
    assert publish(link, places[0], tmp_path / "state")
    assert link_target(link) == places[0]
    assert not publish(link, places[0], tmp_path / "state")
    assert publish(link, places[1], tmp_path / "state")
    assert link_target(link) == places[1]
    assert [p.name for p in link.parent.iterdir()] == ["latest"]


def test_a_link_is_never_away_while_it_is_replaced(tmp_path, places, monkeypatch):
    link, seen = tmp_path / "latest", []
    publish(link, places[0], tmp_path / "state")
    for name in ("symlink_to", "replace"):
        original = getattr(Path, name)

        def watched(self, *arguments, _original=original):
            seen.append(link_target(link))
            try:
                return _original(self, *arguments)
            finally:
                seen.append(link_target(link))

        monkeypatch.setattr(Path, name, watched)
    publish(link, places[1], tmp_path / "state")
    assert seen == [places[0], places[0], places[0], places[1]]


@pytest.mark.parametrize("name", ["symlink_to", "replace"])
def test_a_link_that_cannot_be_replaced_stays(tmp_path, places, monkeypatch, name):
    link = tmp_path / "latest"
    publish(link, places[0], tmp_path / "state")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(link))

    monkeypatch.setattr(Path, name, full)
    with pytest.raises(AccessError, match="No space left on device"):
        publish(link, places[1], tmp_path / "state")
    assert link_target(link) == places[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "state"]


def test_a_link_below_a_linked_folder_leads_to_the_result(tmp_path, places):
    real = tmp_path / "far" / "away" / "shelf"
    real.mkdir(parents=True)
    (tmp_path / "shelf").symlink_to(real)
    link = tmp_path / "shelf" / "latest"
    publish(link, places[0], tmp_path / "state")
    assert link.resolve(strict=True) == places[0]
    assert link_target(link) == places[0]


def test_a_result_in_a_linked_state_is_led_to(tmp_path, places):
    (tmp_path / "near").symlink_to(tmp_path / "state")
    link = tmp_path / "latest"
    publish(link, tmp_path / "near" / "one", tmp_path / "state")
    assert link.resolve(strict=True) == places[0]
    check_link(link, tmp_path / "near")


def test_a_run_that_was_killed_before_it_replaced_a_link_leaves_nothing_for_good(tmp_path, places):
    link = tmp_path / "latest"
    (tmp_path / ".publishing-0").symlink_to(places[1])
    others = tmp_path / ".publishing-1"
    others.symlink_to(tmp_path)
    publish(link, places[0], tmp_path / "state")
    assert link_target(link) == places[0]
    assert others.is_symlink()
    others.unlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "state"]


def test_links_in_a_circle_are_of_nobody(tmp_path):
    (tmp_path / "latest").symlink_to("latest")
    assert link_target(tmp_path / "latest") is None
    with pytest.raises(StoreError, match="which is of another pipeline"):
        check_link(tmp_path / "latest", tmp_path / "state")


def test_a_link_without_a_target_is_replaced(tmp_path, places):
    link = tmp_path / "latest"
    publish(link, tmp_path / "state" / "gone", tmp_path / "state")
    assert link_target(link) is None
    check_link(link, tmp_path / "state")
    assert publish(link, places[0], tmp_path / "state")


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_another_owns_is_refused_before_any_work(folder, kind):
    place = folder / "latest" / "eof"
    place.parent.mkdir()
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(folder / "blocks")
    said = "is there and no link: it will not be replaced. Publish to another place."
    if kind == "link":
        said = "leads to .*blocks, which is of another pipeline. Publish to another place, or take the link away."
    with pytest.raises(StoreError, match=said):
        run_text(folder, LINKED)
    assert not (folder / "p.runs" / "results").exists()
    assert place.is_symlink() == (kind == "link")
    assert kind != "file" or place.read_text() == "mine"


def test_a_file_above_a_link_is_refused_before_any_work(folder):
    (folder / "latest").write_text("mine")
    with pytest.raises(StoreError, match="A file stands where a folder should be"):
        run_text(folder, LINKED)
    assert not (folder / "p.runs" / "results").exists()


def test_another_pipeline_does_not_take_a_link(folder):
    run_text(folder, LINKED)
    before = (folder / "latest" / "eof").readlink()
    with pytest.raises(StoreError, match="which is of another pipeline"):
        run_text(folder, LINKED, "state=others", "steps.eof.svd.rank=1")
    assert (folder / "latest" / "eof").readlink() == before


def test_what_was_published_stays_when_a_check_does_not_pass(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = ${LEAST:-1}\n'.replace(
        "${LEAST:-1}", "1"
    )
    first = run_text(folder, text)
    assert first.published == (str(folder / "latest" / "eof"),)
    strict = text.replace("at_least = 1\n", "at_least = 1e9\n")
    second = run_text(folder, strict, "steps.eof.svd.rank=2")
    assert second.status == "refused"
    assert second.published == ()
    assert (folder / "latest" / "eof").resolve() == place_of(first, "eof").resolve()
    third = run_text(folder, text, "steps.eof.svd.rank=2")
    assert third.status == "done"
    assert [s.status for s in third.steps] == ["unchanged"]
    assert streamsvd.load(folder / "latest" / "eof").rank == 2


def test_the_newest_and_what_is_needed_are_kept(tmp_path):
    for number in range(5):
        place = tmp_path / str(number)
        place.mkdir()
        os.utime(place, (number, number))
    gone = remove_old(tmp_path, 2, [tmp_path / "0"])
    assert sorted(p.name for p in gone) == ["1", "2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "3", "4"]
    assert remove_old(tmp_path / "none", 2, []) == []


def test_a_result_goes_in_one_step(tmp_path, monkeypatch):
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        remove_old(tmp_path, 1, [])
    assert not (tmp_path / "0").exists()
    monkeypatch.undo()
    remove_old(tmp_path, 1, [])
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_of_two_pipelines_that_publish_to_one_place_at_once_one_owns_it(tmp_path, monkeypatch):
    states = [tmp_path / name for name in ("mine", "yours")]
    for state in states:
        (state / "results" / "one").mkdir(parents=True)
    together, seen, original = threading.Barrier(2), threading.local(), check_link

    def checked(link: Path, state: Path) -> None:
        original(link, state)
        if not hasattr(seen, "once"):
            seen.once = True
            together.wait()  # both have found nothing there

    monkeypatch.setattr(publishing, "check_link", checked)
    link = tmp_path / "latest"

    def attempt(state: Path) -> str:
        try:
            return str(publish(link, state / "results" / "one", state))
        except StoreError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(attempt, states))
    (owner,) = [state for state, text in zip(states, said, strict=True) if text == "True"]
    (refused,) = [text for text in said if text != "True"]
    assert link_target(link) == owner / "results" / "one"
    assert "which is of another pipeline. Publish to another place" in refused
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "mine", "yours"]


def test_a_link_of_the_longest_name_is_replaced(tmp_path, places):
    link = tmp_path / ("x" * 255)
    for place in places:
        assert publish(link, place, tmp_path / "state")
        assert link_target(link) == place


def test_what_comes_to_the_place_of_a_link_meanwhile_is_not_replaced(tmp_path, places, monkeypatch):
    link, original = tmp_path / "latest", Path.symlink_to

    def late(self: Path, *arguments: object) -> None:
        link.write_text("mine")
        original(self, *arguments)

    monkeypatch.setattr(Path, "symlink_to", late)
    with pytest.raises(StoreError, match="is there and no link: it will not be replaced"):
        publish(link, places[0], tmp_path / "state")
    assert link.read_text() == "mine"


def test_results_of_a_step_that_the_file_names_no_longer_go_but_for_what_a_link_leads_to(folder):
    both = LINKED + '[[steps]]\nname = "old"\nsvd = {source = "a", rank = 2}\n'
    linked = both + '[[publish]]\nstep = "old"\nto = "latest/old"\n'
    first = run_text(folder, linked)
    second = run_text(folder, linked, "steps.old.svd.rank=1")
    earlier, newest = place_of(first, "old"), place_of(second, "old")
    assert earlier.exists()
    saves = folder / "p.runs" / "saves" / "old"
    saves.mkdir(parents=True)
    run_text(folder, LINKED)
    assert (earlier.exists(), newest.exists(), saves.exists()) == (False, True, False)
    assert streamsvd.load(folder / "latest" / "old").rank == 1
    (folder / "latest" / "old").unlink()
    run_text(folder, LINKED)
    assert not newest.parent.exists()
    assert place_of(first, "eof").exists()


def test_results_that_a_pipeline_did_not_make_are_left_alone(folder):
    others = run_text(folder, SVD, "name=other", "state=shared")
    mine = run_text(folder, SVD.replace('"eof"', '"mine"'), "state=shared")
    assert place_of(others, "eof").exists()
    assert place_of(mine, "mine").exists()


def test_results_of_a_step_that_was_renamed_stay_when_the_run_does_not_end_well(folder):
    first = run_text(folder, LINKED)
    renamed = LINKED.replace('"eof"', '"eofs"')
    refusing = renamed + '[[checks]]\nstep = "eofs"\nquantity = "rows"\nat_least = 1e9\n'
    assert run_text(folder, refusing).status == "refused"
    assert place_of(first, "eof").exists()
    run_text(folder, renamed)
    assert not place_of(first, "eof").exists()


def test_a_link_of_another_step_is_taken_over_by_the_file(folder):
    run_text(folder, CHAIN)
    swapped = CHAIN.replace('to = "latest/eof"', 'to = "latest/x"').replace(
        "latest/model", "latest/eof"
    )
    record = run_text(folder, swapped)
    assert (folder / "latest" / "eof").resolve() == place_of(record, "model").resolve()
