"""``streamsvd publish``: a result that a pipeline has kept, published again by hand."""

from __future__ import annotations

from pathlib import Path

import click

from streamsvd.cli import options
from streamsvd.cli.run import run_fields, set_option


@click.command("publish", short_help="Publish the result before, or another that is kept.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("step", required=False, default="")
@click.option("--back", is_flag=True, help="Publish the result that was published before this one.")
@click.option("--to", "key", default="", metavar="KEY", help="Publish the result of this key.")
@set_option
@options.as_json
def command(
    file: Path, step: str, back: bool, key: str, settings: tuple[str, ...], as_json: bool
) -> int:
    """Let the links of STEP, of the pipeline that FILE describes, lead to another result that is kept.

    Without --back and --to: list what is kept. What was published until then counts as taken back: no run publishes it by
    itself, until --to names it. STEP may be left out where one alone is published.
    """
    from streamsvd.cli.present import show_json, table_lines
    from streamsvd.pipelines.description import read_pipeline
    from streamsvd.pipelines.republishing import list_results, republish

    if back and key:
        raise click.UsageError("--back and --to say two different things: pass one of them")
    pipeline = read_pipeline(file, settings)
    if back or key:
        record = republish(pipeline, step, key)
        if as_json:
            show_json("pipeline run", run_fields(record))
            return 0
        for place in record.published:
            click.echo(f"published: {place}")
        for note in record.notes:
            click.echo(note)
        return 0
    found = [result for result in list_results(pipeline) if step in ("", result.step)]
    if as_json:
        results = [
            {"step": r.step, "key": r.key, "place": str(r.place), "time": r.time, "published": r.publication}
            for r in found
        ]  # fmt: skip
        show_json("pipeline results", {"pipeline": pipeline.name, "results": results})
        return 0
    if not found:
        click.echo(f"{pipeline.name}: no result of a step that is published is kept")
        return 0
    rows = [[r.step, r.key, r.time, r.publication] for r in found]
    click.echo("\n".join(table_lines(["step", "key", "made", "published"], rows)))
    return 0
