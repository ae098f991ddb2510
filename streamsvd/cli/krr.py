"""``streamsvd krr fit`` and ``krr predict``: kernel ridge regression on rows that do not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options
from streamsvd.cli.nystrom import KERNEL_OPTIONS
from streamsvd.kernels.options import KernelRidgeOptions


@click.group("krr", short_help="Kernel ridge regression: fit, predict.")
def command() -> None:
    """Kernel ridge regression on rows that do not fit in memory."""


@command.command("fit", short_help="Two passes over the rows, and the held-out error.")
@options.source
@click.option(
    "--y",
    "targets",
    type=options.ARRAY,
    metavar="FILE.npy",
    required=True,
    help="One target, or one row of targets, for each row.",
)
@options.result("its arrays", required=True)
@options.record(KernelRidgeOptions, *KERNEL_OPTIONS)
@options.mask
@options.missing_values
@options.record(KernelRidgeOptions, "ridge", "held_out", "solver", "tol", "max_passes")
@options.device
@options.checkpoint
@options.save_seconds
@options.record(KernelRidgeOptions, "seed")
@options.memory
@options.machine
@options.as_json
@options.quiet
def fit(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    targets: Path,
    out: Path,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Fit targets on the rows of SOURCE."""
    from msgspec import to_builtins

    from streamsvd.cli.app import NOT_CONVERGED, report_checkpoint
    from streamsvd.cli.files import check_result_place, read_npy, save_result
    from streamsvd.cli.present import print_facts, round_digits, show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.cli.wording import in_options
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import NotConverged
    from streamsvd.kernels.files import ridge_record
    from streamsvd.kernels.ridge import KernelRidgeResult, kernel_ridge

    y = read_npy("y", targets)
    code = 0
    with use_scheduler(scheduler, workers):
        A = open_source(source, variable, rows, missing)
        check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
        try:
            with watching(2 * A.nbytes, quiet=quiet) as watch:
                found = kernel_ridge(
                    fit_source(A, given["memory"], watch), y, callback=watch, **given
                )
        except NotConverged as error:
            assert isinstance(error.result, KernelRidgeResult)
            found, code = error.result, NOT_CONVERGED
            said = in_options(error.message).partition("; the regression so far")[0]
            click.echo(f"streamsvd: {said}; the regression so far is in {out}.", err=True)
        except KeyboardInterrupt as error:
            return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    save_result(out, found, found.arrays, overwrite=overwrite)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    if as_json:
        show_json(
            "kernel_ridge",
            {
                "status": "not converged" if code else "done",
                "ridge": found.ridge,
                "held_out_rmse": found.held_out_rmse,
                "features": found.feature_map.n_features,
                **to_builtins(ridge_record(found)),
                "out": str(out),
            },
        )
        return code
    i = found.info
    click.echo(f"{source}: {i.n_rows:,} rows, {found.feature_map.n_features} features\n")
    errors = ", ".join(round_digits(float(e), 4) for e in found.held_out_rmse)
    print_facts(
        [
            ("ridge", round_digits(found.ridge, 4)),
            (
                "chosen",
                ", ".join(found.chosen_options) + ", on the data" if found.chosen_options else "",
            ),
            (
                "error",
                f"{errors} root mean square on {found.n_held_out:,} rows held out"
                if found.n_held_out
                else "not judged: no row was held out",
            ),
            (
                "residual",
                f"{found.residuals[-1]:.2g} of the right-hand side" if found.residuals else "",
            ),
            ("passes", f"{i.passes:g} in {i.elapsed_s:.3g} s, {found.solver}"),
            ("written", str(out)),
        ]
    )
    return code


@command.command("predict", short_help="Predictions for all rows, as a zarr array.")
@click.argument("model", type=options.RESULT)
@options.source
@options.zarr_array("Folder of the new zarr array, rows by targets.")
@options.device
@options.memory
@options.machine
@options.as_json
@options.quiet
def predict(
    model: Path,
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path,
    overwrite: bool,
    device: str,
    memory: str | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Predict for the rows of SOURCE with the regression MODEL."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source, require_reference
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.kernels.ridge import load_ridge

    require_reference("a prediction")
    fit = load_ridge(model)
    with use_scheduler(scheduler, workers):
        A = open_source(source, variable, rows, missing)
        with watching(A.nbytes, quiet=quiet) as watch:
            path = fit.predict_to(
                fit_source(A, memory, watch),
                out,
                device=device,
                memory=memory,
                overwrite=overwrite,
                callback=watch,
            )
    if as_json:
        show_json("predictions", {"status": "done", "n_rows": A.shape[0], "out": str(path)})
    else:
        click.echo(f"{A.shape[0]:,} predictions: {path}")
    return 0
