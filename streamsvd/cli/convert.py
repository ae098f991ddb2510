"""``streamsvd convert``: any source in the layout that is read fastest."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from streamsvd.checks.paths import PathOrUrl
from streamsvd.cli import options
from streamsvd.conversion.options import ConvertOptions


class Count(click.IntRange):
    """A whole number from 1 on."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number; a fraction or a text is refused as what it is."""
        try:
            int(value)
        except ValueError:
            self.fail(f"{value!r} is no whole number, such as 1000.", param, ctx)
        return super().convert(value, param, ctx)


def asked_of_sparse(function: Any) -> Any:
    """Options of what is written without zeros."""
    for name in ("symmetric", "nodes", "edges", "transpose", "dense"):
        field = next(f for f in fields(ConvertOptions) if f.name == name)
        kind: dict[str, Any] = {"is_flag": True}
        if name == "nodes":
            kind = {"type": Count(min=1), "metavar": "N"}
        function = click.option(f"--{name}", help=field.metadata["help"], **kind)(function)
    return function


@click.command("convert", short_help="Write a source in the layout that is read fastest.")
@options.source
@click.argument("out", type=options.Place(doing="write"))
@options.record(ConvertOptions, "chunk", "chunk_rows", "out_dtype", "header")
@asked_of_sparse
@click.option("--overwrite", is_flag=True, help="Replace what is at OUT once the new one is whole.")
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: PathOrUrl,
    chunk: str,
    chunk_rows: int | None,
    out_dtype: str | None,
    header: bool | None,
    dense: bool,
    transpose: bool,
    edges: bool,
    nodes: int | None,
    symmetric: bool,
    overwrite: bool,
    memory: str | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write SOURCE to a new zarr array at OUT: whole rows in each chunk, no compression, checksums, and its labels beside it.

    One read and one write, within the memory allowed; of a source that is stored by columns two of each, where its rows do not fit.
    Tables of text (.csv, .tsv, .txt, .gz of these) are read this way alone. A run that was stopped goes on with the same command.

    A sparse SOURCE, also as text (.mtx), becomes a group of its stored entries by rows (CSR), as AnnData writes it; with --edges a table
    of two columns or three becomes the adjacency of a graph.
    """
    given: dict[str, Any] = {
        "chunk": chunk, "chunk_rows": chunk_rows, "out_dtype": out_dtype, "header": header, "dense": dense,
        "transpose": transpose, "edges": edges, "nodes": nodes, "symmetric": symmetric, "memory": memory,
    }  # fmt: skip
    place = out, overwrite
    return write_converted(
        (source, variable, rows, missing), place, given, (scheduler, workers), as_json=as_json, quiet=quiet
    )  # fmt: skip


def write_converted(
    named: tuple[str, str | None, Any, str],
    place: tuple[PathOrUrl, bool],
    given: dict[str, Any],
    machine: tuple[str | None, int | None],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write what is named to a place, as is asked, and say what was written."""
    from streamsvd.cli.present import info_record, show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source
    from streamsvd.conversion.convert import convert, plan_convert
    from streamsvd.engine.memory import show_bytes
    from streamsvd.engine.schedulers import use_scheduler

    source, variable, rows, missing = named
    out, overwrite = place
    try:
        with use_scheduler(*machine):
            A = convertible(source, variable, rows, missing)
            plan = plan_convert(A, **given)
            with watching(plan.bytes_read or 0, quiet=quiet) as watch:
                fitted_source = fit_source(A, given["memory"], watch)
                made = convert(fitted_source, out, overwrite=overwrite, callback=watch, **given)
    except KeyboardInterrupt:
        return _report_interrupt(out, as_json=as_json)
    (m, n), row = made.shape, made.shape[1] * made.dtype.itemsize
    if as_json:
        show_json(
            "conversion",
            {
                "status": "done",
                "out": str(made.path),
                "variable": made.variable or None,
                "shape": made.shape,
                "dtype": str(made.dtype),
                "entries": made.entries,
                "chunk_rows": made.chunk_rows,
                "bytes_written": (m - made.continued_rows) * row if made.entries is None else None,
                "continued_rows": made.continued_rows,
                **info_record(made.info),
            },
        )
        return 0
    if made.entries is not None:
        click.echo(
            f"{m:,} x {n:,} {made.dtype}, {made.entries:,} stored entries by rows: {made.path}"
        )
        return 0
    size = show_bytes(m * row)
    click.echo(
        f"{m:,} rows of {n:,} {made.dtype} ({size}, {made.chunk_rows:,} rows a chunk): {made.path}"
    )
    return 0


def convertible(source: str, variable: str | None, rows: Any, missing: str) -> Any:
    """The matrix; or the path of a table of text, of which nothing else can be asked."""
    from streamsvd.cli.sources import asked_transform, open_source
    from streamsvd.conversion.sparse import market_file
    from streamsvd.conversion.text_tables import text_table

    table = text_table(source) or market_file(source)
    if table is None:
        return open_source(source, variable, rows, missing)
    asked = asked_transform()
    numbers = click.get_current_context().meta.get("streamsvd.numbers")
    if (
        numbers
        or variable
        or rows is not None
        or missing != "error"
        or asked.of_rows
        or asked.weights
        or asked.steps
    ):
        raise click.UsageError(
            f"{table} is text: it is converted as it is. Leave out what is asked of its rows and columns, and ask it of the array "
            "that is made."
        )
    return table


def _report_interrupt(out: PathOrUrl, *, as_json: bool) -> int:
    """Says where what was written is; raises the interrupt again where there is nothing."""
    from streamsvd.cli.app import INTERRUPTED, StopHandler, report
    from streamsvd.store.places import location_of
    from streamsvd.store.writing.resumable import resumable_path

    click.get_current_context().ensure_object(StopHandler).ignores_signals = True
    left = resumable_path(out)
    if not location_of(left).exists():
        raise KeyboardInterrupt
    sentence = f"interrupted; what was written is in {left}, and the same command goes on from it."
    return report("Interrupted", sentence, INTERRUPTED, as_json=as_json)
