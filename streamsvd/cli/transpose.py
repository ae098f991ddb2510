"""``streamsvd transpose``: the adjoint of a sparse matrix, by rows."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.checks.paths import PathOrUrl
from streamsvd.cli import options
from streamsvd.cli.convert import write_converted


@click.command("transpose", short_help="Write the adjoint of a sparse source by rows.")
@options.source
@click.argument("out", type=options.Place(doing="write"))
@click.option("--overwrite", is_flag=True, help="Replace what is at OUT once the new one is whole.")
@options.memory
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: PathOrUrl,
    overwrite: bool,
    memory: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the adjoint of a sparse SOURCE to a new zarr group at OUT: its stored entries by rows (CSR), as AnnData writes them.

    It is convert --transpose. One read and one write of a source by columns, or of one that fits in the memory; else two of each, by
    way of files beside OUT. A run that was stopped goes on with the same command.
    """
    return write_converted(
        (source, variable, rows, missing), (out, overwrite), {"transpose": True, "memory": memory}, (None, None), as_json=as_json,
        quiet=quiet,
    )  # fmt: skip
