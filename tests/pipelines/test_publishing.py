"""A link leads to a whole result at every moment, is replaced in one step, and nothing else is ever replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import streamsvd
from streamsvd.errors import AccessError, StoreError
from streamsvd.pipelines import publishing
from streamsvd.pipelines.publishing import check_link, link_target, publish, remove_old
from tests.pipelines.kit import SVD, place_of, run_text

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
    assert publish(link, places[0])
    assert link_target(link) == places[0]
    assert not publish(link, places[0])
    assert publish(link, places[1])
    assert link_target(link) == places[1]
    assert [p.name for p in link.parent.iterdir()] == ["latest"]


def test_a_link_is_never_away_while_it_is_replaced(tmp_path, places, monkeypatch):
    link, seen = tmp_path / "latest", []
    publish(link, places[0])
    for name in ("symlink_to", "replace"):
        original = getattr(Path, name)

        def watched(self, *arguments, _original=original):
            seen.append(link_target(link))
            try:
                return _original(self, *arguments)
            finally:
                seen.append(link_target(link))

        monkeypatch.setattr(Path, name, watched)
    publish(link, places[1])
    assert seen == [places[0], places[0], places[0], places[1]]


@pytest.mark.parametrize("name", ["symlink_to", "replace"])
def test_a_link_that_cannot_be_replaced_stays(tmp_path, places, monkeypatch, name):
    link = tmp_path / "latest"
    publish(link, places[0])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(link))

    monkeypatch.setattr(Path, name, full)
    with pytest.raises(AccessError, match="No space left on device"):
        publish(link, places[1])
    assert link_target(link) == places[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "state"]


def test_a_link_below_a_linked_folder_leads_to_the_result(tmp_path, places):
    real = tmp_path / "far" / "away" / "shelf"
    real.mkdir(parents=True)
    (tmp_path / "shelf").symlink_to(real)
    link = tmp_path / "shelf" / "latest"
    publish(link, places[0])
    assert link.resolve(strict=True) == places[0]
    assert link_target(link) == places[0]


def test_a_result_in_a_linked_state_is_led_to(tmp_path, places):
    (tmp_path / "near").symlink_to(tmp_path / "state")
    link = tmp_path / "latest"
    publish(link, tmp_path / "near" / "one")
    assert link.resolve(strict=True) == places[0]
    check_link(link, tmp_path / "near")


def test_a_run_that_was_killed_before_it_replaced_a_link_leaves_nothing_for_good(tmp_path, places):
    link = tmp_path / "latest"
    (tmp_path / ".latest.new").symlink_to(places[1])
    publish(link, places[0])
    assert link_target(link) == places[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "state"]


def test_links_in_a_circle_are_of_nobody(tmp_path):
    (tmp_path / "latest").symlink_to("latest")
    assert link_target(tmp_path / "latest") is None
    with pytest.raises(StoreError, match="which is of another pipeline"):
        check_link(tmp_path / "latest", tmp_path / "state")


def test_a_link_without_a_target_is_replaced(tmp_path, places):
    link = tmp_path / "latest"
    publish(link, tmp_path / "state" / "gone")
    assert link_target(link) is None
    check_link(link, tmp_path / "state")
    assert publish(link, places[0])


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

    monkeypatch.setattr(publishing.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        remove_old(tmp_path, 1, [])
    assert not (tmp_path / "0").exists()
    monkeypatch.undo()
    remove_old(tmp_path, 1, [])
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
