"""Every target is measured at its smallest size, and every benchmark of asv runs; seconds are not judged."""

import inspect
import json

import pytest

from benchmarks import (
    cells,
    cluster,
    cluster_simulation,
    concat,
    conversion,
    equal_accuracy,
    graphs,
    grids,
    kernels,
    memory,
    network,
    node_embeddings,
    object_store,
    ordinary,
    pass_cost,
    passes,
    planner,
    run,
    shared_read,
    sparse_pass,
    sparse_peers,
    startup,
    streams,
    sweep_start,
    tiny,
    updates,
)
from benchmarks.tables import Table

SMALLEST = {
    "T1": lambda: passes.table("small", cases=[("pow1", 1e-3)]),
    "T2": lambda: equal_accuracy.table("small", 1, cases=[("pow1", 1e-3)]),
    "T3": lambda: pass_cost.table("small", 1, cases=["none"]),
    "T4": lambda: memory.table("small", 1, cases=memory.GRID[:1]),
    "T5": lambda: cluster.table("small", 1),
    "T6": lambda: updates.table("small", 1),
    "T7": lambda: grids.table("small"),
    "T8": lambda: planner.table("small", 1, cases=planner.JOBS["small"][:1]),
    "T9": lambda: graphs.table("small", 1, cases=[(1_000, 1)]),
    "T10": lambda: startup.table("small", 1),
    "T12": lambda: ordinary.table("small", cases=["identity"], of="tiny"),
    "T16": lambda: tiny.table("small", 1),
    "P1": lambda: shared_read.table("small", 1),
    "W1": lambda: cluster_simulation.table("small", 2),
    "Z1": lambda: sparse_pass.table("small", 1),
    "Z2": lambda: cells.table("small", 1),
    "Z3": lambda: sparse_peers.table("small", 1),
    "G1": lambda: node_embeddings.table("small", 1),
    "I1": lambda: conversion.table("small", 1),
    "O1": lambda: object_store.table("small", 1),
    "S1": lambda: streams.table("small", 1),
    "S2": lambda: sweep_start.table("small"),
    "K1": lambda: kernels.table("small", 1),
    "C1": lambda: concat.table("small", 1),
    "C2": lambda: network.table("small", 1),
}
SECONDS = {"T10: streamsvd --help", "T16: streamsvd svd of 300 x 40, a .npy"}
"""Rows that only a quiet machine may judge."""


def test_every_target_has_a_table():
    assert set(SMALLEST) == set(run.EVERYWHERE)


@pytest.mark.slow
@pytest.mark.parametrize("target", SMALLEST)
def test_a_target_is_measured_and_what_holds_at_any_size_holds(target, cache):
    table = SMALLEST[target]()
    assert table.target == target
    assert table.rows
    for row in table.rows:
        if f"{target}: {row.case}" not in SECONDS:
            assert row.verdict in ("met", "not judged"), row
    assert f"| {table.rows[0].case} |" in table.markdown()
    json.dumps(table.figures, default=str)


ASV = (
    cluster_simulation.Simulated,
    equal_accuracy.EqualAccuracy,
    graphs.Graphs,
    grids.Grids,
    memory.Flat,
    memory.Grid,
    pass_cost.PassCost,
    passes.Passes,
    planner.Planner,
    startup.Startup,
    tiny.Tiny,
    updates.Updates,
)


def first_parameters(benchmark):
    """The first value of each parameter, as asv combines them."""
    params = getattr(benchmark, "params", ())
    if (
        params
        and all(isinstance(values, tuple | list) for values in params)
        and len(benchmark.param_names) > 1
    ):
        return tuple(values[0] for values in params)
    return (params[0],) if params else ()


@pytest.mark.parametrize("benchmark", ASV, ids=lambda benchmark: benchmark.__name__)
def test_a_benchmark_of_asv_runs(benchmark, cache):
    given, instance = first_parameters(benchmark), benchmark()
    if hasattr(instance, "setup"):
        instance.setup(*given)
    kinds = ("time_", "peakmem_", "track_")
    names = [name for name, _ in inspect.getmembers(benchmark) if name.startswith(kinds)]
    assert names
    for name in names:
        value = getattr(instance, name)(*given)
        assert (value is None) != name.startswith("track_")
    if hasattr(instance, "teardown"):
        instance.teardown(*given)


def test_asv_finds_them_all():
    discovery = pytest.importorskip("asv_runner.discovery")
    root = inspect.getfile(run).rsplit("/", 1)[0]
    found = {benchmark.name.split(".")[1] for benchmark in discovery.disc_benchmarks(root)}
    assert found == {benchmark.__name__ for benchmark in ASV}


def test_the_runner_prints_and_keeps_the_tables(monkeypatch, tmp_path, capsys):
    from benchmarks.fresh import RunFailed
    from benchmarks.tables import Row

    def failing(size, rounds):
        raise RunFailed(f"{size} {rounds}")

    row = Row("a case", "1", "2", "met")
    monkeypatch.setattr(startup, "table", lambda size: Table("T10", "start", [row], (), {"a": 1}))
    files = ("--json", str(tmp_path / "f.json"), "--markdown", str(tmp_path / "t.md"))
    with pytest.raises(SystemExit) as left:
        run.main(["--only", "T10", *files])
    assert left.value.code == 0
    assert "| a case | 1 | 2 | met |" in capsys.readouterr().out
    assert "| a case | 1 | 2 | met |" in (tmp_path / "t.md").read_text()
    assert json.loads((tmp_path / "f.json").read_text())["tables"][0]["figures"] == {"a": 1}

    monkeypatch.setattr(graphs, "table", failing)
    with pytest.raises(SystemExit) as left:
        run.main(["--only", "T9", "--rounds", "2"])
    assert left.value.code == 1
    assert "failed: small 2 | MISSED" in capsys.readouterr().out
