"""What `update` and `log` say is proved, on paper and as JSON."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd import Model


@pytest.fixture
def model(run, tmp_path):
    """Three directions of structure, then noise, in two blocks."""
    A = np.random.default_rng(0).standard_normal((600, 200))
    A[:, :3] *= [4000, 300, 40]
    for name, rows in (("a", A[:300]), ("b", A[300:])):
        np.save(tmp_path / f"{name}.npy", rows)
        given = ("update", tmp_path / "m", tmp_path / f"{name}.npy", "--block-id", name)
        shown = run(*given, "--rank", 10)
        assert "3 of 10 values resolved to 0.001; values 4..10 lie between" in shown.out
        assert "above the best of rank 10 (proved)" in shown.out
    return tmp_path / "m"


def test_update_says_what_is_proved(run, model, tmp_path):
    given = ("update", model, tmp_path / "b.npy", "--block-id", "b", "--json")
    record = run(*given).record
    c = Model.open(model).certificate
    assert record["excess"] == c.excess < 0.1
    assert (record["resolved"], record["groups"]) == (3, 4)
    assert record["certificate"]["resolved"] == c.resolved.tolist()
    assert [g["first"] for g in record["certificate"]["groups"]] == [0, 1, 2, 3]


def test_the_log_says_what_was_proved_of_every_version(run, model):
    record = run("log", model, "--json").record
    assert [v["resolved"] for v in record["versions"]] == [3, 3]
    assert [v["groups"] for v in record["versions"]] == [4, 4]
    assert all(0 < v["excess"] < 0.1 for v in record["versions"])
    head, first, *_ = run("log", model).out.splitlines()
    for name in ("above best", "resolved", "groups"):
        assert name in head
    assert " % " in first


def test_an_excess_that_is_not_proved_is_no_number(run, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    Model.create(tmp_path / "m", 1, buffer=0)
    shown = run("update", tmp_path / "m", tmp_path / "a.npy").out
    assert "above the best" not in shown
    assert run("log", tmp_path / "m", "--json").record["versions"][0]["excess"] is None
    row = run("log", tmp_path / "m").out.splitlines()[1]
    assert "%" not in row
