"""Metrics: what records say, in the format of Prometheus, replaced in one step."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from streamsvd.errors import AccessError, StoreError
from streamsvd.pipelines.metrics import RunCounts, check_metrics_place, write_metrics
from streamsvd.pipelines.records import RunLog
from tests.pipelines.kit import CHAIN, SVD, Watch, run_text, write, write_matrix, write_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


parser = pytest.importorskip(
    "prometheus_client.parser", reason="prometheus-client is not installed"
)

WRONG = '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1e9\n'


def values(path: Path) -> dict[tuple[str, ...], float]:
    """Every value by its name and labels, as Prometheus would read them."""
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_metrics_are_what_the_records_say(folder, tmp_path):
    write_sources(folder)
    record = run_text(folder, CHAIN)
    pipeline = write(folder, CHAIN)
    place = tmp_path / "m.prom"
    write_metrics(place, [RunCounts("p", pipeline.state)])
    found = values(place)
    assert found["streamsvd_runs_total", "p", "done"] == 1
    assert found["streamsvd_runs_total", "p", "failed"] == 0
    assert found["streamsvd_last_success_timestamp_seconds", "p"] > 1.7e9
    by_name = {s.name: s for s in record.steps}
    for name, step in by_name.items():
        assert found["streamsvd_step_rows", "p", name] == step.n_rows
        assert found["streamsvd_step_read_bytes", "p", name] == step.bytes_read
        assert found["streamsvd_step_peak_bytes", "p", name] == step.peak_bytes
        assert found["streamsvd_step_projected_bytes", "p", name] == step.projected_bytes
        assert found["streamsvd_step_seconds", "p", name] == pytest.approx(step.seconds)
    assert found["streamsvd_read_bytes_total", "p"] == sum(s.bytes_read for s in record.steps)
    (check,) = record.checks
    assert found["streamsvd_check_value", "p", "width", "eof"] == pytest.approx(check.value)
    assert found["streamsvd_check_passed", "p", "width", "eof"] == 1


def test_each_record_is_counted_once_however_often_they_are_written(folder, tmp_path):
    place, counts = tmp_path / "m.prom", RunCounts("p", folder / "p.runs")
    write_metrics(place, [counts])
    assert values(place)["streamsvd_runs_total", "p", "done"] == 0
    first = run_text(folder, SVD)
    write_metrics(place, [counts])
    for _ in range(2):
        assert run_text(folder, SVD + WRONG).status == "refused"
        write_metrics(place, [counts])
    with pytest.raises(KeyboardInterrupt):
        run_text(folder, SVD, "steps.eof.svd.rank=2", callback=Watch(1, KeyboardInterrupt))
    RunLog(folder / "p.runs").begin("p", "2026-01-01T00:00:00+00:00", "0")
    assert run_text(folder, SVD).status == "unchanged"
    (folder / "p.runs" / "runs" / "000009.json").write_bytes(b"{")
    write_metrics(place, [counts])
    found = values(place)
    by_status = {k[2]: v for k, v in found.items() if k[0] == "streamsvd_runs_total"}
    assert by_status == {"done": 1, "unchanged": 1, "refused": 2, "failed": 0, "interrupted": 1, "killed": 1}  # fmt: skip
    assert (
        found["streamsvd_step_rows", "p", "eof"] == first.steps[0].n_rows
    )  # of the run that made it
    write_metrics(tmp_path / "again.prom", [RunCounts("p", folder / "p.runs")])
    assert values(tmp_path / "again.prom") == found


def test_a_check_that_does_not_pass_is_seen(folder, tmp_path):
    run_text(folder, SVD + WRONG)
    write_metrics(tmp_path / "m.prom", [RunCounts("p", folder / "p.runs")])
    found = values(tmp_path / "m.prom")
    assert found["streamsvd_check_passed", "p", "rows", "eof"] == 0
    assert found["streamsvd_check_value", "p", "rows", "eof"] == 240
    assert ("streamsvd_last_success_timestamp_seconds", "p") not in found


def test_several_pipelines_are_in_one_file(folder, tmp_path):
    run_text(folder, SVD)
    write_metrics(
        tmp_path / "m.prom", [RunCounts("p", folder / "p.runs"), RunCounts("q", folder / "q.runs")]
    )
    found = values(tmp_path / "m.prom")
    assert [found["streamsvd_runs_total", name, "done"] for name in "pq"] == [1, 0]


def test_a_file_that_cannot_be_written_leaves_the_old_one(folder, tmp_path, monkeypatch):
    place = tmp_path / "m.prom"
    write_metrics(place, [RunCounts("p", folder / "p.runs")])
    before = place.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, full)
    with pytest.raises(AccessError, match=r"No space left on device.*nothing was replaced"):
        write_metrics(place, [RunCounts("p", folder / "p.runs")])
    assert place.read_text() == before
    assert [p.name for p in tmp_path.iterdir() if "m.prom" in p.name] == ["m.prom"]


def test_a_place_that_is_none_is_refused_in_words(tmp_path, monkeypatch):
    with pytest.raises(StoreError, match=r"is a folder. Pass the path of a file"):
        check_metrics_place(tmp_path)
    with pytest.raises(StoreError, match=r"no is no folder. Make it, or choose another place"):
        check_metrics_place(tmp_path / "no" / "m.prom")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(
        StoreError, match=r"need prometheus-client.*pip install 'streamsvd\[schedule\]'"
    ):
        check_metrics_place(tmp_path / "m.prom")
