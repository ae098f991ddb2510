"""``streamsvd run``: make what a pipeline's file describes, check it, and publish it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import FAILED, REFUSED

if TYPE_CHECKING:
    from streamsvd.pipelines.planning import StepPlan
    from streamsvd.pipelines.records import PipelineRecord
    from streamsvd.pipelines.sharing import SharingPlan

set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Replace what the file says, such as steps.eof.pca.rank=10. May be repeated.",
)  # fmt: skip


@click.command("run", short_help="Run a pipeline: plan, make, check, publish.")
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@click.option(
    "--dry-run", is_flag=True, help="Print the plan of every step; read and write nothing."
)
@options.quiet
@options.as_json
def command(
    file: Path, settings: tuple[str, ...], dry_run: bool, quiet: bool, as_json: bool
) -> int:
    """Run the pipeline that FILE describes.

    All steps are planned first. What is there already for the same options and inputs is not made again, so that a run
    that failed or was killed goes on where it stopped. If a check does not pass, what was published stays. Exit codes beside those
    of every command: 4, a check did not pass.
    """
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.pipelines.description import read_pipeline
    from streamsvd.pipelines.execution import run_pipeline
    from streamsvd.pipelines.planning import plan_pipeline, plan_reads

    pipeline = read_pipeline(file, settings)
    if dry_run:
        plans = plan_pipeline(pipeline)
        show_plans(plans, plan_reads(pipeline, plans), as_json=as_json)
        return 0
    with _warnings_in_words(), watching(0, quiet=quiet) as watch:
        record = run_pipeline(pipeline, callback=watch)
    if as_json:
        show_json("pipeline run", run_fields(record))
    else:
        show_run(record)
    return {"failed": FAILED, "refused": REFUSED}.get(record.status, 0)


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
        text = "\n".join(filter(None, [p.note, None if p.plan is None else p.plan.explain()]))
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
