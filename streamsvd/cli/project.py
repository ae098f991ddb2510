"""``streamsvd project``: scores of new rows on the components of a result, or what the components leave of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options


@click.command("project", short_help="Scores of new rows, or what is left of them, as zarr.")
@click.argument("result")
@options.source
@options.zarr_array("Folder of the new zarr array, rows by components.")
@click.option(
    "--residual", is_flag=True, help="Write the rows less what the components give back of them."
)
@click.option("--rank", type=int, metavar="K", help="First components alone [all].")
@click.option(
    "--nonfinite",
    type=click.Choice(["raise", "zero", "mean"]),
    help="What a NaN is [what it was when RESULT was made].",
)
@click.option("--align", is_flag=True, help="Put columns in the order of RESULT by their labels.")
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    result: str,
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path,
    overwrite: bool,
    residual: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    memory: str | None,
    **given: Any,
) -> int:
    """Project the rows of SOURCE on the components of RESULT, a saved result or a model."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.results import load_factorisation
    from streamsvd.cli.sources import (
        fit_source,
        is_weighted_as_read,
        open_source,
        require_reference,
    )
    from streamsvd.engine.schedulers import use_scheduler

    found = load_factorisation(result)
    require_reference("a projection", found.row_steps)
    with use_scheduler(scheduler, workers):
        A = open_source(
            source, variable, rows, missing, weighs=is_weighted_as_read(result), kept=result
        )
        with watching(A.nbytes, quiet=quiet) as watch:
            method = found.residual if residual else found.transform
            array = method(
                fit_source(A, memory, watch), out=out, overwrite=overwrite, memory=memory, callback=watch, **given
            )  # fmt: skip
    what = "residual" if residual else "scores"
    if as_json:
        record = {"status": "done", "what": what, "shape": array.shape, "dtype": str(array.dtype)}
        show_json("project", {**record, "out": str(out)})
    else:
        beside = " x ".join(f"{n:,}" for n in array.shape[1:])
        click.echo(f"{what} of {array.shape[0]:,} rows, {beside} {array.dtype} each: {out}")
    return 0
