"""``streamsvd report``: a result, a model or a run of a pipeline as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options
from streamsvd.cli.run import set_option


def _extents(ctx: Any, param: Any, value: str | None) -> tuple[int, ...] | None:
    """``"61,96"`` as ``(61, 96)``; None for none."""
    del ctx, param
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdigit() for part in parts):
        raise click.BadParameter(f"{value!r} are no extents. Pass them with commas, such as 61,96.")
    return tuple(int(part) for part in parts)


@click.command("report", short_help="A result, a model or a run as one page.")
@click.argument("address")
@click.option(
    "-o", "--out", type=options.Place(dir_okay=False, doing="write"), metavar="FILE", default="report.html", show_default=True,
    help="The page: one file that needs no network.",
)  # fmt: skip
@click.option("--run", type=click.IntRange(min=1), metavar="N", help="Of a pipeline: this run, not the newest.")  # fmt: skip
@click.option(
    "--grid", metavar="N,N", callback=_extents, help="Of a result: extents of the dimensions that its columns come from; components are images then.",
)  # fmt: skip
@set_option
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
@options.as_json
def command(
    address: str,
    out: Path,
    run: int | None,
    grid: tuple[int, ...] | None,
    settings: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a page of ADDRESS: a saved result, a model, or a pipeline (its file, or the folder of its state)."""
    from streamsvd.cli.present import show_json
    from streamsvd.engine.memory import show_bytes
    from streamsvd.report.writing import write_report

    written = write_report(address, out, run=run, settings=settings, grid=grid, overwrite=overwrite)
    if as_json:
        record = {"status": "done", "path": str(written.path), "bytes": written.nbytes}
        show_json("report", {**record, "of": written.title, "verdict": written.verdict, "tone": written.tone})  # fmt: skip
        return
    click.echo(f"{written.title}: {written.verdict}")
    click.echo(f"written: {written.path} ({show_bytes(written.nbytes)})")
