"""``streamsvd check``: whether a pipeline's file is right, and could run now."""

from __future__ import annotations

from pathlib import Path

import click

from streamsvd.cli import options
from streamsvd.cli.run import set_option


@click.command("check", short_help="Whether the file of a pipeline is right, and could run now.")
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@options.as_json
def command(file: Path, settings: tuple[str, ...], as_json: bool) -> int:
    """Check FILE: every field, name and option, sources, places, and whether each step fits its memory."""
    from streamsvd.cli.present import show_json
    from streamsvd.pipelines.description import read_pipeline
    from streamsvd.pipelines.planning import plan_pipeline

    pipeline = read_pipeline(file, settings)
    plans = plan_pipeline(pipeline)
    open_steps = {p.step.name: p.note for p in plans if p.plan is None}
    if as_json:
        record = {
            "status": "right",
            "pipeline": pipeline.name,
            "steps": [p.step.name for p in plans],
            "unplanned": open_steps,
        }
        show_json("pipeline check", record)
        return 0
    click.echo(f"{file} is right: {', '.join(f'{p.step.name} ({p.step.verb})' for p in plans)}")
    for name, note in open_steps.items():
        click.echo(f"step {name} is not planned yet: {note}")
    return 0
