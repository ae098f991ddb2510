"""``streamsvd sample``: rows that stand for a tall matrix, with the distortion proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options

if TYPE_CHECKING:
    from streamsvd.rows.sample_rows import RowSample


@click.command("sample", short_help="Rows that stand for a tall matrix, with the distortion.")
@options.source
@click.option("--size", type=int, metavar="K", help="Most rows to keep.")
@click.option(
    "--oversampling",
    type=float,
    metavar="C",
    help="Instead: rows kept for each unit of the sum of scores [8 ln(columns)].",
)
@click.option(
    "--scores",
    type=click.Choice(["leverage", "ridge", "root-leverage", "sensitivity"]),
    default="leverage",
    show_default=True,
    help="What the chance of a row is in proportion to.",
)
@click.option(
    "--gamma", type=float, metavar="G", help="Ridge, of ridge scores and of --method online."
)
@click.option(
    "--p",
    type=float,
    default=2.0,
    show_default=True,
    help="Norm that root-leverage and sensitivity are for.",
)
@click.option(
    "--method",
    type=click.Choice(["two-pass", "online"]),
    default="two-pass",
    show_default=True,
    help="Exact scores, or one pass and more rows.",
)
@options.mask
@options.npz("Write rows, indices, weights, chances and scores there.")
@options.seed
@options.memory
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Draw rows of SOURCE that stand for all of them."""
    from streamsvd.cli.files import check_place, save_arrays
    from streamsvd.cli.progress import watching
    from streamsvd.engine.opening import open as open_matrix
    from streamsvd.rows.sample_rows import sample_rows

    A = open_matrix(source, variable=variable, rows=rows, missing=missing)
    check_place(out, A, mask=given["mask"], overwrite=overwrite)
    passes = 1 if given["method"] == "online" else 2
    with watching(passes * A.nbytes, quiet=quiet) as watch:
        found = sample_rows(A, callback=watch, **given)
    if out is not None:
        names = ("indices", "rows", "weights", "chances", "scores")
        save_arrays(out, {name: getattr(found, name) for name in names})
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return 0


def show(source: str, found: RowSample, out: Path | None, *, as_json: bool) -> None:
    """The sample on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import at_most, keyed_fields, print_facts, round_digits, show_json
    from streamsvd.engine.memory import show_bytes

    c, i = found.certificate, found.info
    if as_json:
        show_json(
            {
                "status": "done",
                "kept": int(found.indices.size),
                "dimension": found.dimension,
                "certificate": asdict(c),
                **keyed_fields(i, chosen_options="chosen"),
                "out": None if out is None else str(out),
            }
        )
        return
    click.echo(f"{source}: {found.indices.size:,} of {i.n_rows:,} rows\n")
    norm = f" + {round_digits(c.gamma, 3)} |x|^2" if c.gamma else ""
    ends = "" if c.lower >= 1 else f"at least (1 - {at_most(c.lower, 3)}) and "
    made = f" for p = {i.p:g}" if i.p != 2 else ""
    print_facts(
        [
            ("scores", f"{i.scores}{made}, {round_digits(found.dimension, 4)} in all"),
            ("kept", f"{round_digits(i.oversampling, 4)} for each unit of them"),
            (
                "proved",
                f"|SAx|^2{norm} {ends}at most (1 + {at_most(c.upper, 3)}) times |Ax|^2{norm}",
            ),
            ("", f"for every x of the row space, of dimension {c.rank}"),
            ("passes", f"{i.passes}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
