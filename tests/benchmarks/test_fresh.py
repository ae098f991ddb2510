"""Measured processes are fresh, take turns, and are summed up by medians."""

import pytest

from benchmarks import fresh


def test_the_last_line_of_a_module_is_its_figures(tmp_path, monkeypatch):
    (tmp_path / "counted.py").write_text(
        "import sys\nprint('hello')\nprint('{\"n\": %s}' % sys.argv[1])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert fresh.fresh("counted", 3) == {"n": 3}


def test_a_module_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit('no such thing')\n")
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(fresh.RunFailed, match=r"broken 1 left with 1:\nno such thing"):
        fresh.fresh("broken", 1)
    with pytest.raises(fresh.RunFailed, match=r"slow took more than 0\.5 s"):
        fresh.fresh("slow", timeout_s=0.5)


def test_competitors_take_turns_and_medians_are_of_numbers_alone(monkeypatch):
    calls = []

    def count(module, *arguments):
        calls.append((module, *arguments))
        return {"wall_s": len(calls), "name": module, "ok": True, "s": [len(calls)]}

    monkeypatch.setattr(fresh, "fresh", count)
    found = fresh.interleaved({"a": ("x", 1), "b": ("y", 2)}, rounds=3)
    assert calls == [("x", 1), ("y", 2)] * 3
    assert found["a"] == {"runs": 3, "wall_s": 3, "name": "x", "ok": True, "s": [1]}
    assert found["b"]["wall_s"] == 4
