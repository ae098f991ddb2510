"""``streamsvd reconstruct``: rows of a matrix as the components of a result give them back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options

_SLICE = re.compile(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?")
_LIST = re.compile(r"\s*-?\d+(\s*,\s*-?\d+)*\s*")


def _numbers(ctx: Any, param: Any, value: str | None) -> Any:
    """``"0:12"`` as a slice, ``"3,7"`` as numbers; other text as it is, of rows."""
    del ctx
    if value is None:
        return None
    if match := _SLICE.fullmatch(value):
        return slice(*(int(part) if part else None for part in match.groups()))
    if _LIST.fullmatch(value):
        return [int(part) for part in value.split(",")]
    if param.name != "rows":
        raise click.BadParameter(f"{value!r} is no range and no numbers. Pass such as 0:12 or 3,7.")
    return value


@click.command("reconstruct", short_help="Rows as the components give them back, as zarr.")
@click.argument("result")
@options.zarr_array("Folder of the new zarr array, in the dimensions of the data.")
@click.option(
    "--rows",
    metavar="RANGE",
    callback=_numbers,
    help="By number, 0:12 or 3,7; or by the label of their coordinate, 2000-01:2000-12 [all].",
)
@click.option("--columns", metavar="RANGE", callback=_numbers, help="By number, 0:12 or 3,7 [all].")
@click.option("--rank", type=int, metavar="K", help="First components alone [all].")
@click.option(
    "--source",
    metavar="SOURCE",
    help="Rows to be projected and given back; else those of U, which RESULT then needs.",
)
@click.option("--variable", metavar="NAME", help="Array within SOURCE.")
@click.option(
    "--source-rows",
    metavar="DIMS",
    multiple=True,
    callback=options.dimensions,
    help="Dimensions of SOURCE that make the rows.",
)
@click.option(
    "--missing",
    type=click.Choice(["error", "fill"]),
    default="error",
    show_default=True,
    help="What an absent chunk of SOURCE is.",
)
@click.option(
    "--nonfinite",
    type=click.Choice(["raise", "zero", "mean"]),
    help="What a NaN in SOURCE is [what it was when RESULT was made].",
)
@click.option(
    "--align", is_flag=True, help="Put columns of SOURCE in the order of RESULT by their labels."
)
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    result: str,
    source: str | None,
    variable: str | None,
    source_rows: Any,
    missing: str,
    out: Path,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Write rows of the matrix of RESULT, a saved result or a model, as its components give them back."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.results import load_factorisation
    from streamsvd.engine.opening import open as open_matrix
    from streamsvd.engine.schedulers import use_scheduler

    found = load_factorisation(result)
    with use_scheduler(scheduler, workers):
        A = None
        if source is not None:
            A = open_matrix(source, variable=variable, rows=source_rows, missing=missing)
        elif variable is not None or source_rows is not None:
            raise click.UsageError(
                "--variable and --source-rows belong to --source. Pass it, or leave them out."
            )
        with watching(0 if A is None else A.nbytes, quiet=quiet) as watch:
            array = found.reconstruct(source=A, out=out, callback=watch, **given)
    if as_json:
        record = {"status": "done", "shape": array.shape, "dtype": str(array.dtype)}
        show_json("reconstruct", {**record, "out": str(out)})
    else:
        beside = " x ".join(f"{n:,}" for n in array.shape[1:])
        click.echo(f"{array.shape[0]:,} rows, {beside} {array.dtype} each: {out}")
    return 0
