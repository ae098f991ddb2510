"""Digests of results tell two commits apart, and only where bits differ."""

import json

import numpy as np
import pytest

from benchmarks import digests


@pytest.mark.parametrize("name", ["svd krylov", "model window", "kernel ridge", "compress"])
def test_a_case_gives_the_same_digest_again(name):
    assert digests.digests([name]) == digests.digests([name])


def test_one_bit_is_another_digest():
    a = np.arange(6.0).reshape(2, 3)
    b = a.copy()
    b[1, 2] = np.nextafter(b[1, 2], 9)
    others = ([b], [a.T], [a.astype("f4")], [a, None], [None, a], [a.ravel()], ["a"], [])
    assert digests.digest([a]) == digests.digest([a.copy()])
    assert len({digests.digest(values) for values in ([a], *others)}) == 1 + len(others)


def test_cases_that_differ_are_named(tmp_path, monkeypatch, capsys):
    few = {name: digests.CASES[name] for name in ("svd gram", "rows", "stream")}
    monkeypatch.setattr(digests, "CASES", few)
    monkeypatch.setattr(digests.digests, "__defaults__", (few,))
    assert digests.main([str(tmp_path / "a.json")]) == 0
    assert digests.main(["--against", str(tmp_path / "a.json")]) == 0
    before = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(before | {"rows": "0", "gone": "1"}))
    capsys.readouterr()
    assert digests.main(["--against", str(tmp_path / "a.json")]) == 1
    said = capsys.readouterr().out
    assert "rows: another digest" in said
    assert "gone: another digest" in said
    assert "svd gram" not in said
