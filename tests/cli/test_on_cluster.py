"""Commands whose rows come in order, on a cluster: what they say and write is what threads say and write."""

from __future__ import annotations

import logging

import distributed
import numpy as np
import pytest
import zarr


@pytest.fixture(scope="module")
def address():
    """Of a scheduler on the loopback, with workers in this process."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def stored(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((900, 12)) * 0.8 ** np.arange(12)
    zarr.create_array(tmp_path / "A.zarr", data=rows, chunks=(100, 12))
    return tmp_path / "A.zarr"


def without_costs(record):
    """A record without what is measured."""
    measured = ("elapsed_s", "peak_bytes", "projected_bytes", "bytes_read", "out")
    return {name: value for name, value in record.items() if name not in measured}


@pytest.mark.parametrize(
    "command",
    [
        ("top", "--k", 2, "--passes", 2),
        ("sample", "--method", "online", "--oversampling", 0.5),
        ("sample", "--size", 50),
        ("lstsq", "--b", "b.npy"),
    ],
)
def test_a_cluster_says_what_threads_say(run, stored, address, tmp_path, command):
    np.save(tmp_path / "b.npy", np.arange(900.0))
    verb, *options = (tmp_path / c if c == "b.npy" else c for c in command)
    here = run(verb, stored, *options, "--workers", 2, "--json")
    there = run(verb, stored, *options, "--scheduler", address, "--json")
    assert (here.code, there.code) == (0, 0), there.err
    assert without_costs(there.record) == without_costs(here.record)


def test_models_follow_an_array_on_a_cluster(run, stored, address, tmp_path):
    asked = ("--rank", 3, "--u", "--center", "--json")
    here = run("update", tmp_path / "here", stored, *asked)
    there = run("update", tmp_path / "there", stored, *asked, "--scheduler", address)
    assert there.code == 0, there.err
    assert there.record == here.record
    zarr.open_array(stored).append(np.ones((50, 12)))
    there = run("watch", stored, tmp_path / "there", "--looks", 1, "--json", "--scheduler", address)
    assert there.record == run("update", tmp_path / "here", stored, "--json").record


def test_rows_are_shuffled_to_the_same_order(run, stored, address, tmp_path):
    for name, options in (("here", ()), ("there", ("--scheduler", address))):
        done = run("shuffle", stored, "--out", tmp_path / name, "--seed", 4, *options)
        assert done.code == 0, done.err
    here, there = (zarr.open_array(tmp_path / name)[...] for name in ("here", "there"))
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("command", ["update m A.zarr", "watch A.zarr m --looks 1", "top A.zarr", "shuffle A.zarr --out s"])  # fmt: skip
def test_a_scheduler_that_is_not_there_is_said_at_once(run, stored, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = run(*command.split(), "--scheduler", "nowhere")
    assert done.code == 1
    assert "no scheduler answers at nowhere" in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["A.zarr"]


def test_standard_input_is_read_here(run, address):
    done = run("top", "-", "--scheduler", address)
    assert done.code == 2
    assert "--scheduler" in done.err
    assert "blocks on standard input, which only this process reads" in done.err
