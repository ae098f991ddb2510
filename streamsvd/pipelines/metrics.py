"""What runs cost and how they ended, as a file that Prometheus reads: made of the records, so that it outlives every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from streamsvd.errors import StoreError
from streamsvd.pipelines.records import PipelineRecord, RunLog
from streamsvd.store.explanations import explain_errors

STATUSES = ("done", "unchanged", "refused", "failed", "interrupted", "killed")
GOOD = ("done", "unchanged")
STEP_GAUGES = {
    "seconds": ("streamsvd_step_seconds", "Seconds that a step took"),
    "bytes_read": ("streamsvd_step_read_bytes", "Bytes that a step read"),
    "peak_bytes": ("streamsvd_step_peak_bytes", "Most memory that a step took"),
    "projected_bytes": ("streamsvd_step_projected_bytes", "Memory that the plan of a step counted"),
    "n_rows": ("streamsvd_step_rows", "Rows that a step read, or that its model has"),
}
"""Of the last run that made a step: fields of its record, with the names and the words of their metrics."""


@dataclass(slots=True, eq=False)
class RunCounts:
    """What the records of one pipeline amount to, each read once.

    Attributes
    ----------
    pipeline, state
        Its name, and its folder.
    """

    pipeline: str
    state: Path
    _seen: set[int] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    last: PipelineRecord | None = None
    last_good: PipelineRecord | None = None
    steps: dict[str, Any] = field(default_factory=dict)

    def read(self) -> None:
        """Take in records that are new; one that has no end yet is looked at again, one that is damaged is left out."""
        log = RunLog(self.state)
        numbers = log.numbers()
        for number in numbers:
            if number in self._seen:
                continue
            try:
                record = log.record(number)
            except StoreError:
                continue
            if record.ended:
                self._take(record)
            elif number == numbers[-1]:  # it may be going on
                continue
            else:
                self.statuses[record.status] += 1
            self._seen.add(number)

    def _take(self, record: PipelineRecord) -> None:
        self.statuses[record.status] += 1
        self.bytes_read += sum(step.bytes_read for step in record.steps)
        self.last = record
        if record.status in GOOD:
            self.last_good = record
        self.steps.update({s.name: s for s in record.steps if s.status == "done"})


def check_metrics_place(path: Path) -> None:
    """Refuse a place for metrics before any run.

    Raises
    ------
    StoreError
        If prometheus-client is not installed, a folder stands there, or the folder above is not there.
    """
    _library()
    if path.is_dir():
        raise StoreError(f"metrics={path} is a folder. Pass the path of a file.")
    if not path.parent.is_dir():
        raise StoreError(
            f"metrics={path}: {path.parent} is no folder. Make it, or choose another place."
        )


def write_metrics(path: Path, pipelines: Sequence[RunCounts]) -> None:
    """Write the metrics of pipelines: beside the place, then in its stead in one step.

    Raises
    ------
    AccessError
        If it cannot be written; what was there is as it was.
    """
    library = _library()
    for counts in pipelines:
        counts.read()
    registry = library.CollectorRegistry()
    registry.register(_Collector(list(_families(library, pipelines))))
    with explain_errors(path, "nothing was replaced."):
        library.write_to_textfile(str(path), registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Collector:
    """Hands over metrics that were made."""

    families: list[Any]

    def collect(self) -> list[Any]:
        return self.families


def _families(library: Any, pipelines: Iterable[RunCounts]) -> Iterator[Any]:
    """All metrics, each with its values for every pipeline."""
    all_counts = list(pipelines)
    core = library.core
    runs = core.CounterMetricFamily(
        "streamsvd_runs", "Runs by how they ended", labels=["pipeline", "status"]
    )
    read = core.CounterMetricFamily(
        "streamsvd_read_bytes", "Bytes that runs read", labels=["pipeline"]
    )
    for counts in all_counts:
        for status in STATUSES:
            runs.add_metric([counts.pipeline, status], counts.statuses[status])
        read.add_metric([counts.pipeline], counts.bytes_read)
    yield runs
    yield read
    for name, words, which, value in (
        ("streamsvd_last_run_timestamp_seconds", "When the last run ended", "last", _end_time),
        ("streamsvd_last_success_timestamp_seconds", "When the last run ended that was well", "last_good", _end_time),
        ("streamsvd_last_run_seconds", "Seconds that the last run took", "last", _seconds),
    ):  # fmt: skip
        family = core.GaugeMetricFamily(name, words, labels=["pipeline"])
        for counts in all_counts:
            if (record := getattr(counts, which)) is not None:
                family.add_metric([counts.pipeline], value(record))
        yield family
    for attribute, (name, words) in STEP_GAUGES.items():
        family = core.GaugeMetricFamily(name, words, labels=["pipeline", "step"])
        for counts in all_counts:
            for step in counts.steps.values():
                family.add_metric([counts.pipeline, step.name], getattr(step, attribute))
        yield family
    yield from _check_families(core, all_counts)


def _check_families(core: Any, all_counts: Iterable[RunCounts]) -> Iterator[Any]:
    """What the checks of the last run found."""
    labels = ["pipeline", "step", "quantity"]
    values = core.GaugeMetricFamily("streamsvd_check_value", "What a check found", labels=labels)
    passed = core.GaugeMetricFamily(
        "streamsvd_check_passed", "1 where a check passed, else 0", labels=labels
    )
    for counts in all_counts:
        found = {(c.step, c.quantity): c for c in counts.last.checks} if counts.last else {}
        for key, check in found.items():
            if check.value is not None:
                values.add_metric([counts.pipeline, *key], check.value)
            same = (
                [c.passed for c in counts.last.checks if (c.step, c.quantity) == key]
                if counts.last
                else []
            )
            passed.add_metric([counts.pipeline, *key], float(all(same)))
    yield values
    yield passed


def _end_time(record: PipelineRecord) -> float:
    return datetime.fromisoformat(record.ended).timestamp()


def _seconds(record: PipelineRecord) -> float:
    return max(_end_time(record) - datetime.fromisoformat(record.started).timestamp(), 0.0)


def _library() -> Any:
    """prometheus-client, which knows the format."""
    try:
        import prometheus_client.core
    except ImportError:
        raise StoreError(
            "metrics need prometheus-client, which comes with an extra. Install it with: pip install 'streamsvd[schedule]'"
        ) from None
    return prometheus_client
