"""``streamsvd lstsq``: least squares with a tall matrix, and how far the solution may be off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.rows.options import LeastSquaresOptions

if TYPE_CHECKING:
    from streamsvd.rows.lstsq import LeastSquaresResult


@click.command("lstsq", short_help="Least squares, with the error of the solution.")
@options.source
@click.option(
    "--b",
    "sides",
    type=options.ARRAY,
    metavar="FILE.npy",
    required=True,
    help="One right-hand side, or one row of several, for each row.",
)
@options.record(LeastSquaresOptions, "method", "ridge", "tol")
@options.mask
@options.missing_values
@options.result("x, residual_norm and forward_error")
@options.checkpoint
@options.save_seconds
@options.record(LeastSquaresOptions, "seed")
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    sides: Path,
    out: Path | None,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Solve for the x that brings SOURCE times x nearest to b."""
    from streamsvd.cli.app import NOT_CONVERGED, report_checkpoint
    from streamsvd.cli.files import check_result_place, read_npy, save_result
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.cli.wording import in_options
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import NotConverged
    from streamsvd.rows.lstsq import LeastSquaresResult, lstsq

    A = open_source(source, variable, rows, missing)
    check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
    b = read_npy("b", sides)
    code = 0
    with use_scheduler(scheduler, workers), watching(A.nbytes, quiet=quiet) as watch:
        try:
            found = lstsq(fit_source(A, given["memory"], watch), b, callback=watch, **given)
        except NotConverged as error:
            assert isinstance(error.result, LeastSquaresResult)
            click.echo(f"streamsvd: {in_options(error.message)}", err=True)
            found, code = error.result, NOT_CONVERGED
        except KeyboardInterrupt as error:
            return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    names = ("x", "residual_norm", "forward_error")
    save_result(
        out, found, lambda: {name: getattr(found, name) for name in names}, overwrite=overwrite
    )
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {in_options(sentence)}", err=True)
    show(source, found, out, as_json=as_json)
    return code


def show(source: str, found: LeastSquaresResult, out: Path | None, *, as_json: bool) -> None:
    """The solution on stdout; without ``--out`` and with ``--json`` it is in the object."""
    from dataclasses import asdict

    from streamsvd.cli.present import at_most, info_record, print_facts, round_digits, show_json
    from streamsvd.engine.memory import show_bytes

    i = found.info
    if as_json:
        show_json(
            "lstsq",
            {
                "status": i.status.value,
                "outcome": found.outcome,
                **({"x": found.x} if out is None else {}),
                "residual_norm": found.residual_norm,
                "forward_error": found.forward_error,
                "proved": found.is_proved,
                "iterations": found.iterations,
                "rank": found.rank,
                **info_record(i),
                **asdict(found.options),
                "gradients": found.gradients,
                "out": None if out is None else str(out),
            },
        )
        return
    click.echo(f"{source}: {i.n_rows:,} rows, {found.x.shape[0]:,} unknowns, rank {found.rank}\n")
    said = "proved" if found.is_proved else "by estimate"
    print_facts(
        [
            (
                "method",
                f"{found.options.method}: {found.outcome}"
                + (f" after {found.iterations} iterations" if found.iterations else ""),
            ),
            ("residual", ", ".join(round_digits(float(r), 4) for r in found.residual_norm)),
            (
                "error",
                f"|x - x*| <= {', '.join(at_most(float(e), 2) for e in found.forward_error)}, {said}",
            ),
            ("passes", f"{i.passes:g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
