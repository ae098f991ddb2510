"""``streamsvd shuffle``: the rows of a matrix in random order, in a new zarr array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options
from streamsvd.streams.options import ShuffleOptions


@click.command("shuffle", short_help="Write the rows in uniformly random order.")
@options.source
@options.zarr_array("Folder of the new zarr array.")
@options.record(ShuffleOptions, "seed")
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path,
    overwrite: bool,
    seed: int,
    memory: str | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the rows of SOURCE to a new zarr array in uniformly random order.

    Two reads and two writes of the matrix, within the memory allowed; worth it before many passes over sorted rows.
    """
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.streams.shuffle import shuffle

    A = open_source(source, variable, rows, missing)
    try:
        with (
            use_scheduler(scheduler, workers),
            watching(2 * A.nbytes, quiet=quiet) as watch,
        ):
            path = shuffle(
                fit_source(A, memory, watch),
                out,
                memory=memory,
                seed=seed,
                overwrite=overwrite,
                callback=watch,
            )
    except KeyboardInterrupt:
        if watch.tally.result_path is None:
            raise
        path = out  # it came when all was done
    m, n = A.shape
    if as_json:
        show_json(
            "shuffle",
            {"status": "done", "out": str(path), "n_rows": m, "n_columns": n, "seed": seed},
        )
    else:
        click.echo(f"{m:,} rows of {n:,} in random order: {path}")
    return 0
