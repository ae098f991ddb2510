"""``streamsvd nystrom``: rows that stand for a kernel matrix, in one pass, and the error certified in a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import report_checkpoint
from streamsvd.kernels.options import NystromOptions

if TYPE_CHECKING:
    from streamsvd.kernels.nystrom import NystromResult

KERNEL_OPTIONS = (
    "kernel", "n_centres", "length", "degree", "offset", "smoothness", "scale", "budget", "mode",
)  # fmt: skip
"""Fields that both verbs of kernels have."""


@click.command("nystrom", short_help="Rows that stand for a kernel matrix, with the error.")
@options.source
@options.record(NystromOptions, *KERNEL_OPTIONS)
@options.mask
@options.missing_values
@options.record(NystromOptions, "gamma", "certify")
@click.option(
    "--start",
    type=options.Place(),
    metavar="PATH",
    help="Go on from this dictionary with the new rows; kernel and sampling are its own.",
)
@options.device
@options.result("its arrays")
@options.checkpoint
@options.save_seconds
@options.record(NystromOptions, "seed")
@options.memory
@options.machine
@options.as_json
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    start: Path | None,
    out: Path | None,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Choose rows of SOURCE that stand for its kernel matrix, and make a feature map of them."""
    from streamsvd.cli.files import check_result_place, save_result
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.kernels.nystrom import load_nystrom, nystrom

    if start is not None:
        check_left_out(ctx, start)
    with use_scheduler(scheduler, workers):
        A = open_source(source, variable, rows, missing)
        check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
        passes = 2 if given["certify"] and start is None else 1
        try:
            with watching(passes * A.nbytes, quiet=quiet) as watch:
                A = fit_source(A, given["memory"], watch)
                if start is None:
                    found = nystrom(A, callback=watch, **given)
                else:
                    known = load_nystrom(start)
                    found = known.update(
                        A, device=given["device"], memory=given["memory"], callback=watch
                    )
        except KeyboardInterrupt as error:
            return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    save_result(out, found, found.arrays, overwrite=overwrite)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return 0


DICTIONARY_OPTIONS = (
    *KERNEL_OPTIONS, "gamma", "seed", "certify", "checkpoint", "save_seconds", "mask", "nonfinite",
)  # fmt: skip


def check_left_out(ctx: click.Context, start: Path) -> None:
    """Refuse options that say again, or otherwise, how a dictionary was made.

    Raises
    ------
    SpecError
        It names the option.
    """
    from click.core import ParameterSource

    from streamsvd.errors import SpecError

    for name in DICTIONARY_OPTIONS:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise SpecError(
                f"{name}={ctx.params[name]} was passed, but {start} says how its rows were chosen. Leave the option out, or "
                "begin anew without --start."
            )


def show(source: str, found: NystromResult, out: Path | None, *, as_json: bool) -> None:
    """The result on stdout."""
    from dataclasses import asdict

    from msgspec import to_builtins

    from streamsvd.cli.present import at_most, print_facts, round_digits, show_json
    from streamsvd.engine.memory import show_bytes
    from streamsvd.kernels.files import dictionary_record

    c, i = found.certificate, found.info
    if as_json:
        show_json(
            "nystrom",
            {
                "status": "done",
                "centres": found.centres,
                "dictionary": int(found.indices.size),
                "features": found.feature_map.n_features,
                "effective_dimension": found.effective_dimension,
                "gamma": found.gamma,
                "certificate": asdict(c),
                **to_builtins(dictionary_record(found)),
                "out": None if out is None else str(out),
            },
        )
        return
    k = found.sampling.kernel
    scale = (
        f", length {round_digits(k.length, 4)}" if k.name in ("rbf", "laplacian", "matern") else ""
    )
    picked = ", ".join(found.chosen_options)
    click.echo(
        f"{source}: {i.n_rows:,} rows, {found.centres.size} centres of {found.indices.size} in the dictionary\n"
    )
    bound = (
        f"||K - K_C||_2 <= trace(K - K_C) <= {at_most(c.trace_error, 4)}, of a trace of {round_digits(c.trace, 4)}"
        if c.trace_error < float("inf")
        else "nothing is proved without a second pass"
    )
    print_facts(
        [
            ("kernel", f"{k.name}{scale}"),
            ("chosen", f"{picked}, on the data" if picked else ""),
            (
                "gamma",
                f"{round_digits(found.gamma, 4)}, effective dimension about {found.effective_dimension:.4g}",
            ),
            ("error", bound),
            ("", f"spectral norm about {at_most(c.spectral_estimate, 2)} by estimate"),
            ("passes", f"{i.passes:g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
