"""``streamsvd serve``: run all pipelines of a folder at their times."""

from __future__ import annotations

from pathlib import Path

import click

from streamsvd.cli import options
from streamsvd.cli.run import log_option, metrics_option, metrics_place, until_stopped


@click.command("serve", short_help="Run all pipelines of a folder at their times.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N",
    help="Serve a page of how they are, and their reports, on this port of 127.0.0.1; 0 takes a free one.",
)  # fmt: skip
@log_option
@metrics_option
@options.as_json
def command(
    folder: Path, port: int | None, log: str | None, metrics: Path | None, as_json: bool
) -> int:
    """Run the pipelines of DIR that have a schedule, each at its times, until stopped.

    Files that appear, change or go are taken up. Each run is a process of its own; two of one pipeline never overlap, and
    times that were missed are one run. Any number of servers may serve the same pipelines: each time is run once.
    With --json the records of runs go to stdout, a line each.
    """
    return until_stopped(lambda: _serve(folder, port, log, metrics, as_json=as_json))


def _serve(
    folder: Path, port: int | None, log: str | None, metrics: Path | None, *, as_json: bool
) -> int:
    from streamsvd.checks.paths import local_path
    from streamsvd.cli.staying import stay
    from streamsvd.pipelines.serving.folder import FolderOffers

    place = local_path(folder, "folder")
    where = None if metrics is None else metrics_place(metrics)
    return stay(FolderOffers(place), log or "auto", where, as_json=as_json, folder=place, port=port)
