"""``streamsvd sample``: rows that stand for a tall matrix, with the distortion proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.rows.options import SampleOptions

if TYPE_CHECKING:
    from streamsvd.rows.sample_rows import RowSample


@click.command("sample", short_help="Rows that stand for a tall matrix, with the distortion.")
@options.source
@options.record(SampleOptions, "size", "oversampling", "scores", "gamma", "p", "method")
@options.mask
@options.missing_values
@options.result("rows, indices, weights, chances and scores")
@options.checkpoint
@options.save_seconds
@options.record(SampleOptions, "seed")
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path | None,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Draw rows of SOURCE that stand for all of them."""
    from streamsvd.cli.app import report_checkpoint
    from streamsvd.cli.files import check_result_place, save_result
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.rows.sample_rows import sample_rows

    A = open_source(source, variable, rows, missing)
    check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
    passes = 1 if given["method"] == "online" else 2
    try:
        with (
            use_scheduler(scheduler, workers),
            watching(passes * A.nbytes, quiet=quiet) as watch,
        ):
            found = sample_rows(fit_source(A, given["memory"], watch), callback=watch, **given)
    except KeyboardInterrupt as error:
        return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    names = ("indices", "rows", "weights", "chances", "scores")
    save_result(
        out, found, lambda: {name: getattr(found, name) for name in names}, overwrite=overwrite
    )
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return 0


def show(source: str, found: RowSample, out: Path | None, *, as_json: bool) -> None:
    """The sample on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import at_most, info_record, print_facts, round_digits, show_json
    from streamsvd.engine.memory import show_bytes

    c, i, o = found.certificate, found.info, found.options
    if as_json:
        show_json(
            "sample_rows",
            {
                "status": i.status.value,
                "kept": int(found.indices.size),
                "dimension": found.dimension,
                "certificate": asdict(c),
                **info_record(i),
                **asdict(o),
                "oversampling": found.oversampling,
                "chosen_options": found.chosen_options,
                "out": None if out is None else str(out),
            },
        )
        return
    click.echo(f"{source}: {found.indices.size:,} of {i.n_rows:,} rows\n")
    norm = f" + {round_digits(c.gamma, 3)} |x|^2" if c.gamma else ""
    ends = "" if c.lower >= 1 else f"at least (1 - {at_most(c.lower, 3)}) and "
    norm_of = f" for p = {o.p:g}" if o.p != 2 else ""
    print_facts(
        [
            ("scores", f"{o.scores}{norm_of}, {round_digits(found.dimension, 4)} in all"),
            ("kept", f"{round_digits(found.oversampling, 4)} for each unit of them"),
            (
                "proved",
                f"|SAx|^2{norm} {ends}at most (1 + {at_most(c.upper, 3)}) times |Ax|^2{norm}",
            ),
            ("", f"for every x of the row space, of dimension {c.rank}"),
            ("passes", f"{i.passes:g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
