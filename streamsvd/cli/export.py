"""``streamsvd export``: the factors of a model as plain arrays."""

from __future__ import annotations

from pathlib import Path

import click

from streamsvd.cli import options


@click.command("export", short_help="Write the factors of a model as zarr or npz.")
@click.argument("model")
@click.option(
    "--out",
    required=True,
    type=options.Place(),
    metavar="PATH",
    help="A folder, or a .npz file.",
)
@click.option(
    "--version", "version", type=int, metavar="N", help="Of an earlier version [the newest]."
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@options.as_json
def command(model: str, out: Path, version: int | None, overwrite: bool, as_json: bool) -> int:
    """Write s, Vh, mean and, where they are kept, the left vectors of MODEL to --out."""
    from streamsvd.cli.present import show_json
    from streamsvd.models import Model, export_model

    found = Model.open(model, version)
    export_model(found, out, overwrite=overwrite)
    if as_json:
        show_json(
            "export",
            {
                "status": "exported",
                "out": str(out),
                "version": found.version,
                "rank": int(found.s.size),
            },
        )
    else:
        click.echo(f"{out}: {found.s.size} triplets of version {found.version}")
    return 0
