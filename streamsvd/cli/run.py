"""``streamsvd run``: make what a pipeline's file describes, check it, and publish it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import FAILED, REFUSED

if TYPE_CHECKING:
    from streamsvd.pipelines.description import Pipeline
    from streamsvd.pipelines.journal import Journal
    from streamsvd.pipelines.planning import StepPlan
    from streamsvd.pipelines.records import PipelineRecord
    from streamsvd.pipelines.sharing import SharingPlan

set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Replace what the file says, such as steps.eof.pca.rank=10. May be repeated.",
)  # fmt: skip

log_option = click.option(
    "--log", type=click.Choice(["auto", "text", "json"]),
    help="A line for every event on stderr: text, JSON, or text on a terminal and JSON elsewhere.",
)  # fmt: skip
metrics_option = click.option(
    "--metrics", type=click.Path(path_type=Path), metavar="FILE",
    help="Write metrics of all runs to FILE after each, as Prometheus reads them.",
)  # fmt: skip


@click.command("run", short_help="Run a pipeline: plan, make, check, publish.")
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@click.option(
    "--dry-run", is_flag=True, help="Print the plan of every step; read and write nothing."
)
@click.option(
    "--cron", metavar="LINE", help="Stay, and run at the times of a cron line, such as '0 3 * * *'."
)
@click.option("--timezone", metavar="ZONE", help="Where the times of --cron are meant [UTC].")
@click.option(
    "--jitter",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Begin up to so many seconds after a time of --cron, by chance [0].",
)
@log_option
@metrics_option
@click.option(
    "--claim",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run by the right of this claim on a time of the schedule, which serve has made.",
)
@options.quiet
@options.as_json
def command(
    file: Path,
    settings: tuple[str, ...],
    dry_run: bool,
    cron: str | None,
    timezone: str | None,
    jitter: float | None,
    log: str | None,
    metrics: Path | None,
    claim: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the pipeline that FILE describes.

    All steps are planned first. What is there already for the same options and inputs is not made again, so that a run
    that failed or was killed goes on where it stopped. If a check does not pass, what was published stays. Exit codes beside those
    of every command: 4, a check did not pass. With --cron it stays until it is stopped, which is exit code 0.
    """
    from streamsvd.cli.event_lines import journal_of
    from streamsvd.cli.present import show_json
    from streamsvd.pipelines.description import read_pipeline
    from streamsvd.pipelines.planning import plan_pipeline, plan_reads

    _check_together(dry_run, cron, timezone, jitter, claim)
    if cron is not None:
        settings += (f"schedule={json.dumps(cron)}",)
        settings += () if timezone is None else (f"timezone={json.dumps(timezone)}",)
        settings += () if jitter is None else (f"jitter={jitter}",)
        return until_stopped(lambda: _stay(file, settings, log, metrics, as_json=as_json))
    journal = journal_of(log)
    if metrics is not None:
        metrics = metrics_place(metrics)
    pipeline = read_pipeline(file, settings)
    if dry_run:
        plans = plan_pipeline(pipeline)
        show_plans(plans, plan_reads(pipeline, plans), as_json=as_json)
        return 0
    record = _run_once(pipeline, journal, metrics, claim, quiet=quiet)
    if as_json:
        show_json("pipeline run", run_fields(record))
    else:
        show_run(record)
    return {"failed": FAILED, "refused": REFUSED}.get(record.status, 0)


def _check_together(
    dry_run: bool, cron: str | None, timezone: str | None, jitter: float | None, claim: int | None
) -> None:
    """Refuse options that say nothing beside each other."""
    if cron is None and (timezone is not None or jitter is not None):
        raise click.UsageError("--timezone and --jitter are of --cron; a file says them by itself")
    if cron is not None and (dry_run or claim is not None):
        raise click.UsageError("--cron stays and runs; leave --dry-run and --claim out")


def _run_once(
    pipeline: Pipeline, journal: Journal, metrics: Path | None, claim: int | None, *, quiet: bool
) -> PipelineRecord:
    """The record of one run, which is told of as it goes on."""
    from streamsvd.cli.progress import watching
    from streamsvd.pipelines.claim import open_claim
    from streamsvd.pipelines.execution import run_pipeline
    from streamsvd.pipelines.serving.claiming import claims_of

    held = None if claim is None else open_claim(claims_of(pipeline), claim)
    try:
        with _warnings_in_words(), watching(0, quiet=quiet) as watch:
            return run_pipeline(pipeline, callback=watch, journal=journal, claim=held)
    finally:
        if metrics is not None:
            _leave_metrics(metrics, pipeline)


def metrics_place(path: Path) -> Path:
    """Where metrics go, once it is known that they can."""
    from streamsvd.checks.paths import local_path
    from streamsvd.pipelines.metrics import check_metrics_place

    place = local_path(path, "metrics")
    check_metrics_place(place)
    return place


def _leave_metrics(place: Path, pipeline: Pipeline) -> None:
    """The metrics of all runs of a pipeline; what fails there changes nothing of the run."""
    from streamsvd.pipelines.metrics import RunCounts, write_metrics

    try:
        write_metrics(place, [RunCounts(pipeline.name, pipeline.state)])
    except OSError as error:
        click.echo(f"streamsvd: metrics were not written: {error}", err=True)


def until_stopped(work: Callable[[], int]) -> int:
    """Exit code of work that is stopped by signals: before it heeds them by itself too, that is a clean end."""
    try:
        return work()
    except KeyboardInterrupt:
        click.echo("streamsvd: stopped before anything was begun", err=True)
        return 0


def _stay(
    file: Path, settings: tuple[str, ...], log: str | None, metrics: Path | None, *, as_json: bool
) -> int:
    """Run at the times of the schedule, until stopped."""
    from streamsvd.cli.staying import stay
    from streamsvd.pipelines.serving.folder import FileOffer

    if file.is_dir():
        raise click.UsageError(
            f"{file} is a folder; all its pipelines are run by: streamsvd serve {file}"
        )
    where = None if metrics is None else metrics_place(metrics)
    return stay(FileOffer(file, settings), log or "auto", where, as_json=as_json)


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Warnings are sentences on stderr, without the lines of code they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: click.echo(
            f"streamsvd: {message}", err=True
        )
        yield


def run_fields(record: PipelineRecord) -> dict[str, Any]:
    """A record as plain values."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(record)
    return found


def show_plans(plans: list[StepPlan], reads: list[SharingPlan], *, as_json: bool) -> None:
    """The plan of every step, and which of them share a read."""
    from streamsvd.cli.present import show_json
    from streamsvd.engine.memory import show_bytes

    if as_json:
        steps = [
            {
                "name": p.step.name, "verb": p.step.verb, "note": p.note,
                "passes": getattr(p.plan, "passes", None), "bytes_read": getattr(p.plan, "bytes_read", None),
                "projected_bytes": getattr(p.plan, "projected_bytes", None),
            }
            for p in plans
        ]  # fmt: skip
        together = [{"steps": r.names, "projected_bytes": r.projected_bytes} for r in reads]
        show_json("pipeline plan", {"status": "planned", "steps": steps, "reads": together})
        return
    for p in plans:
        click.echo(f"step {p.step.name}: {p.step.verb}")
        text = p.note if p.plan is None else p.plan.explain()
        click.echo("\n".join(f"  {line}" for line in text.splitlines()))
    for read in reads:
        click.echo(
            f"one read for {', '.join(read.names)}: {show_bytes(read.projected_bytes)} of memory together, chunks that wait "
            f"for a step {show_bytes(read.window_bytes)} of it"
        )


def show_run(record: PipelineRecord) -> None:
    """What a run did, a line each: steps, checks, what was published, and how it ended."""
    from streamsvd.cli.present import table_lines
    from streamsvd.engine.memory import show_bytes

    head = ["step", "verb", "status", "seconds", "read", "peak", "rows"]
    rows = [
        [
            s.name, s.verb, s.status, f"{s.seconds:.3g}", show_bytes(s.bytes_read), show_bytes(s.peak_bytes), f"{s.n_rows:,}",
        ]
        for s in record.steps
    ]  # fmt: skip
    click.echo("\n".join(table_lines(head, rows)))
    for r in record.reads:
        click.echo(
            f"one read of {r.source} for {', '.join(r.steps)}: {show_bytes(r.bytes_read)} of the store, {show_bytes(r.asked_bytes)} "
            f"asked; peak {show_bytes(r.peak_bytes)} of {show_bytes(r.projected_bytes)}"
        )
    for c in record.checks:
        value = "not known" if c.value is None else f"{c.value:.6g}"
        click.echo(
            f"check {c.step}: {c.quantity} {value}, {c.asked}: {'passed' if c.passed else 'NOT PASSED'}"
        )
    for place in record.published:
        click.echo(f"published: {place}")
    for step in record.steps:
        for warning in step.warnings:
            click.echo(f"{step.name}: {warning}")
    ending = f" {record.error}" if record.error else ""
    click.echo(f"run {record.number} of {record.pipeline}: {record.status}.{ending}")
