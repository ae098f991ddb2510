"""``streamsvd rates``: what a collection takes at each of several errors, as a table and as a figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.checks.paths import PathOrUrl
from streamsvd.cli import options
from streamsvd.cli.collection_run import run_on_collection
from streamsvd.collections.options import RateOptions

if TYPE_CHECKING:
    from streamsvd.collections.rates import RateCurve

FORMATS = (".png", ".svg", ".pdf")
USUAL_ERROR = 0.05
"""Error whose clusters are drawn where none is named."""


def _errors(ctx: Any, param: Any, value: str | None) -> Any:
    """``"0.05,0.1"`` as ``(0.05, 0.1)``; those of the driver for None."""
    del ctx, param
    if value is None:
        return None
    from streamsvd.collections.criteria import check_error
    from streamsvd.errors import SpecError

    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} are no numbers. Pass several, such as 0.05,0.1."
        ) from None
    try:
        for error in found:
            check_error(error)
    except SpecError as error:
        raise click.BadParameter(str(error).removeprefix("error=")) from None
    return found


def _figure(ctx: Any, param: Any, value: PathOrUrl | None) -> PathOrUrl | None:
    """A file of a format that can be drawn."""
    del ctx, param
    if value is not None and value.suffix.lower() not in FORMATS:
        raise click.BadParameter(f"{value} is of no known format. Name it {', '.join(FORMATS)}.")
    return value


@click.command("rates", short_help="Bytes of shared bases at several errors, and a figure.")
@options.collection
@click.option(
    "--errors",
    metavar="E,E,...",
    callback=_errors,
    help="Relative errors tried [0.02,0.05,0.1,0.2,0.5].",
)
@options.record(RateOptions, "rank", "mode", "method")
@click.option(
    "--figure",
    type=options.Place(dir_okay=False, doing="write"),
    metavar="FILE",
    callback=_figure,
    help="Draw bytes against error, clusters and their merges: .png, .svg or .pdf.",
)
@click.option(
    "--at", type=float, metavar="E", help="Of --errors, the one whose clusters are drawn [0.05]."
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --figure.")
@options.weights
@options.checkpoint
@options.save_seconds
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    collection: str,
    errors: tuple[float, ...] | None,
    figure: PathOrUrl | None,
    at: float | None,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """What the matrices of COLLECTION take as bases that they share, at several errors, from one read.

    COLLECTION is a zarr group, a folder of .npy or .safetensors files, one .safetensors file, or an array to --cut.
    """
    from streamsvd.cli.files import check_place
    from streamsvd.collections.options import ERRORS
    from streamsvd.collections.rates import rate_curve

    errors = ERRORS if errors is None else errors
    drawn = _error_to_draw(figure, at, errors)

    def draw_and_show(found: RateCurve) -> None:
        if figure is not None:
            _draw(figure, found, drawn, Path(collection).name)
        show(collection, found, figure, drawn, as_json=as_json)

    return run_on_collection(
        rate_curve, collection, errors, show=draw_and_show, as_json=as_json,
        check=partial(check_place, figure, overwrite=overwrite, name="figure="), **given,
    )  # fmt: skip


def _error_to_draw(figure: PathOrUrl | None, at: float | None, errors: tuple[float, ...]) -> float:
    """The error whose clusters are drawn; refused before any work where it cannot be, or nothing can."""
    from importlib.util import find_spec

    from streamsvd.errors import StreamSVDError

    if figure is None and at is not None:
        raise click.UsageError("--at says what a figure shows. Pass --figure too, or leave it out.")
    if figure is not None and find_spec("matplotlib") is None:
        raise StreamSVDError(
            "a figure needs matplotlib, which comes with an extra. Install it with: pip install 'streamsvd[demo]'"
        )
    if at is not None and at not in errors:
        known = ", ".join(f"{error:g}" for error in errors)
        raise click.UsageError(f"--at {at:g} is none of --errors. Pass one of {known}.")
    if at is None:
        at = USUAL_ERROR if USUAL_ERROR in errors else sorted(errors)[len(errors) // 2]
    return at


def _draw(figure: PathOrUrl, found: RateCurve, at: float, title: str) -> None:
    """The figure, there whole or not at all."""
    from streamsvd.cli.files import replacement_file
    from streamsvd.report.figures import rates

    with replacement_file(figure) as file:
        rates.draw_rates(file, found, at=at, title=title, format=figure.suffix[1:].lower())


def show(
    collection: str, found: RateCurve, figure: PathOrUrl | None, drawn: float, *, as_json: bool
) -> None:
    """A line for each error, on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.compress import run_record
    from streamsvd.cli.present import memory_line, print_facts, show_json, table_lines
    from streamsvd.engine.memory import show_bytes

    i, p = found.info, found.plan
    if as_json:
        show_json(
            "rate_curve",
            {
                "status": "done",
                "mode": found.options.mode,
                "rank": found.options.rank,
                "bytes_before": found.bytes_before,
                "rates": [asdict(rate) for rate in found.rates],
                "figure": None if figure is None else str(figure),
                "drawn_at": None if figure is None else drawn,
                "reads": found.reads,
                **run_record(found),
            },
        )
        return
    click.echo(
        f"{collection}: {p.n_blocks:,} matrices of {p.rows:,} rows, {p.columns:,} columns in all, "
        f"{show_bytes(found.bytes_before)}\n"
    )
    head, rows = rate_table(found)
    click.echo("\n".join(f"  {line}" for line in table_lines(head, rows)))
    click.echo()
    print_facts(
        [
            ("reads", f"{found.reads:.3g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("memory", memory_line(i.peak_bytes, i.projected_bytes, p.budget_bytes)),
            ("figure", "" if figure is None else f"{figure}, clusters at error {drawn:g}"),
        ]
    )


def rate_table(found: RateCurve) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and a row for each error."""
    from streamsvd.cli.present import at_most
    from streamsvd.engine.memory import show_bytes

    head = ["error", "clusters", "ranks", "kept as they are", "bytes", "times less"]
    head += ["SVD of each alone", "error of a matrix at most", "seconds"]
    rows = []
    for rate in found.rates:
        ranks = sorted({c.rank for c in rate.clusters if not c.raw})
        span = f"{ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else "") if ranks else "-"
        rows.append(
            [
                f"{rate.error:g}",
                f"{sum(not c.raw for c in rate.clusters):,}",
                span,
                f"{rate.raw:,}",
                show_bytes(rate.bytes_after),
                f"{rate.compression_ratio:.3g}",
                show_bytes(rate.bytes_alone),
                at_most(rate.block_error, 3),
                f"{rate.seconds:.3g}",
            ]
        )
    return head, rows
