"""``streamsvd runs``: what the runs of a pipeline did, and why one failed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from streamsvd.cli import options
from streamsvd.cli.run import run_fields, set_option


@click.command("runs", short_help="The runs of a pipeline, and why one failed.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the newest N runs.")
@set_option
@options.as_json
def command(file: Path, last: int | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Show the runs of the pipeline that FILE describes, the oldest first."""
    import msgspec

    from streamsvd.cli.present import show_json, table_lines
    from streamsvd.engine.memory import show_bytes
    from streamsvd.pipelines.description import read_pipeline
    from streamsvd.pipelines.lock import lock_holder
    from streamsvd.pipelines.records import RunLog

    pipeline = read_pipeline(file, settings)
    records = RunLog(pipeline.state).records(last)
    holder = lock_holder(pipeline.state)
    if holder and records and records[-1].status == "killed":
        records[-1] = msgspec.structs.replace(records[-1], status="running")
    if as_json:
        show_json(
            "pipeline runs", {"pipeline": pipeline.name, "runs": [run_fields(r) for r in records]}
        )
        return 0
    if not records:
        click.echo(f"{pipeline.name}: no run yet")
        return 0
    rows = []
    for r in records:
        took = (
            (datetime.fromisoformat(r.ended) - datetime.fromisoformat(r.started)).total_seconds()
            if r.ended
            else None
        )
        rows.append(
            [
                str(r.number), r.started, r.status, "" if took is None else f"{took:.0f} s", show_bytes(sum(s.bytes_read for s in r.steps)),
                "published by hand" if r.command == "publish" else ", ".join(s.name for s in r.steps if s.status == "done"),
            ]
        )  # fmt: skip
    click.echo("\n".join(table_lines(["run", "started", "status", "took", "read", "made"], rows)))
    for r in records:
        for note in r.notes:
            click.echo(f"run {r.number}: {note}")
        if r.error:
            click.echo(f"run {r.number}: {r.error}")
        elif r.status == "killed":
            click.echo(f"run {r.number} has no end: it was killed.")
        elif r.status == "running":
            click.echo(f"run {r.number} goes on: {holder}.")
    return 0
