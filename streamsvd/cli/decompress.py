"""``streamsvd decompress``: matrices of a compressed collection, with their names, shapes and types."""

from __future__ import annotations

from pathlib import Path

import click

from streamsvd.cli import options


@click.command("decompress", short_help="Write matrices of a compressed collection.")
@click.argument("compressed")
@click.option(
    "--out",
    type=options.Place(),
    required=True,
    metavar="PLACE",
    help="NAME.zarr, NAME.safetensors, or a folder for .npy files.",
)
@click.option(
    "--name", "names", multiple=True, metavar="PATTERN", help="These only; repeat for more."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace what is at --out once the new one is whole."
)
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    compressed: str,
    out: Path,
    names: tuple[str, ...],
    overwrite: bool,
    memory: str | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write matrices of COMPRESSED, a collection that streamsvd compress made; in a zarr group, packed as they were."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.collections.decompression import decompress
    from streamsvd.engine.schedulers import use_scheduler

    with use_scheduler(scheduler, workers), watching(0, quiet=quiet) as watch:
        written = decompress(
            compressed, out, names or None, memory=memory, overwrite=overwrite, callback=watch
        )
    if as_json:
        show_json("decompression", {"status": "done", "out": str(out), "names": written})
    else:
        click.echo(f"{len(written):,} matrices: {out}")
    return 0
