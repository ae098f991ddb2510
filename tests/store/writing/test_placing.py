"""What is replaced is there, or what replaces it, whole: a kill at any line of it leaves no third thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from streamsvd.errors import StoreError
from streamsvd.store.writing import placing
from streamsvd.store.writing.exchange import exchange_paths
from streamsvd.store.writing.partial import Partial, sweep
from streamsvd.store.writing.placing import put_back, put_in_place

SWEEP = """
import json, os, signal, sys
from pathlib import Path
from streamsvd.store.writing import partial
from streamsvd.store.writing import placing
from streamsvd.store.writing.partial import Partial

folder, at_once = Path(sys.argv[1]), sys.argv[2] == "exchange"
if not at_once:
    placing.exchange_paths = lambda one, other: False
ours = {partial.__file__, placing.__file__}

def kill_at(line):
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in ours:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

def values(place):
    return {p.name: p.read_text() for p in place.iterdir()} if place.exists() else None

line, ended, seen = 0, False, []
while not ended:
    line += 1
    place = folder / str(line) / "M"
    place.mkdir(parents=True)
    (place / "a").write_text("old")
    (place / "b").write_text("old")
    child = os.fork()
    if child == 0:
        new = Partial(place)
        (new.folder / "a").write_text("new")
        (new.folder / "b").write_text("new")
        sys.settrace(kill_at(line))
        placing.put_in_place(new, place, overwrite=True)
        sys.settrace(None)
        os._exit(0)
    ended = os.waitpid(child, 0)[1] == 0
    at_first = values(place)
    placing.put_back(place)
    partial.sweep(place)
    left = [p for p in place.parent.iterdir() if p != place]
    seen.append([at_first, values(place), [p.name.split("-")[0] for p in left]])
print(json.dumps(seen))
"""
OLD, NEW = ({"a": value, "b": value} for value in ("old", "new"))


@pytest.fixture(params=["exchange", "renames"])
def way(request, tmp_path, monkeypatch):
    if request.param == "exchange":
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        if not exchange_paths(one, other):
            pytest.skip("this file system exchanges no names")
        one.rmdir()
        other.rmdir()
    else:
        monkeypatch.setattr(placing, "exchange_paths", lambda one, other: False)
    return request.param


def test_a_kill_at_any_line_leaves_the_old_or_the_new(tmp_path, way):
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(tmp_path), way],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    seen = json.loads(done.stdout)
    assert len(seen) > 20
    for at_first, then, left in seen:
        assert then in (OLD, NEW)
        assert at_first == then or (way == "renames" and at_first is None)
        assert set(left) <= {"M.partial", "M.old"}  # unlocked: it may be another's
    changes = [then == NEW for _, then, _ in seen]
    assert changes == sorted(changes)
    assert seen[-1][1:] == [NEW, []]
    assert sum(bool(left) for *_, left in seen) < len(seen) / 2
    assert sum("M.old" in left for *_, left in seen) == (1 if way == "renames" else 0)
    if way == "renames":
        assert any(at_first is None for at_first, *_ in seen)


def written(place, value):
    new = Partial(place)
    (new.folder / "a").write_text(value)
    return new


def test_what_was_there_is_gone_and_nothing_else(tmp_path, way):
    place = tmp_path / "M"
    for value in ("one", "two"):
        put_in_place(written(place, value), place, overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == ["M"]
        assert [p.name for p in place.iterdir()] == ["a"]
        assert (place / "a").read_text() == value
    with pytest.raises(StoreError, match="made by another run meanwhile"):
        put_in_place(written(place, "three"), place, overwrite=False)
    assert (place / "a").read_text() == "two"


def test_a_link_makes_way_and_what_it_led_to_does_not(tmp_path, way):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a").write_text("far")
    place = tmp_path / "M"
    place.symlink_to(tmp_path / "far")
    put_in_place(written(place, "near"), place, overwrite=True)
    assert not place.is_symlink()
    assert (place / "a").read_text() == "near"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M", "far"]
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["a"]


def test_a_rename_that_fails_puts_back_what_was_there(tmp_path, monkeypatch):
    place = tmp_path / "M"
    put_in_place(written(place, "one"), place, overwrite=False)
    new = written(place, "two")
    monkeypatch.setattr(placing, "exchange_paths", lambda one, other: False)
    rename = type(place).rename

    def failing(self, target):
        if target == place and ".partial-" in self.name:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(type(place), "rename", failing)
    with pytest.raises(OSError, match="no"):
        put_in_place(new, place, overwrite=True)
    assert (place / "a").read_text() == "one"


def test_what_was_put_aside_comes_back_only_where_nothing_is(tmp_path):
    place, aside = tmp_path / "M", tmp_path / "M.old-0123abcd"
    put_back(tmp_path / "no" / "M")
    aside.mkdir()
    put_back(tmp_path / "N")
    assert aside.exists()
    put_back(place)
    assert place.exists()
    assert not aside.exists()
    aside.mkdir()
    put_back(place)
    assert aside.exists()
    assert sweep(place) == []
