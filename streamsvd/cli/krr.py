"""``streamsvd krr fit`` and ``krr predict``: kernel ridge regression on rows that do not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamsvd.cli import options


@click.group("krr", short_help="Kernel ridge regression: fit, predict.")
def command() -> None:
    """Kernel ridge regression on rows that do not fit in memory."""


@command.command("fit", short_help="Two passes over the rows, and the held-out error.")
@options.source
@click.option(
    "--y",
    "targets",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.npy",
    required=True,
    help="One target, or one row of targets, for each row.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.npz",
    required=True,
    help="Where the regression is written.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
@options.kernels
@click.option("--ridge", type=float, metavar="MU", help="Ridge [least error on the rows held out].")
@click.option(
    "--held-out",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of the rows that judge.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampling.")
@options.memory
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
    smoothness: str,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Fit targets on the rows of SOURCE."""
    import numpy as np

    from streamsvd.cli.present import facts, rounded, show_json
    from streamsvd.cli.progress import watching
    from streamsvd.cli.saved import check_place, written
    from streamsvd.drivers.kernel import kernel_ridge
    from streamsvd.drivers.opening import open as open_matrix
    from streamsvd.errors import SpecError

    check_place(out, overwrite=overwrite)
    A = open_matrix(source, variable=variable, rows=rows, missing=missing)
    try:
        y = np.load(targets, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SpecError(f"y={targets} is no .npy file of numbers: {error}.") from error
    with watching(2 * A.nbytes, quiet=quiet) as watch:
        found = kernel_ridge(A, y, smoothness=float(smoothness), callback=watch, **given)
    written(out, found.arrays())
    for sentence in found.info["warnings"]:
        click.echo(f"streamsvd: {sentence}", err=True)
    if as_json:
        show_json(
            {
                "status": "done",
                "ridge": found.ridge,
                "held_out_rmse": found.held_out_rmse,
                "features": found.feature_map.n_features,
                **found.info,
                "out": str(out),
            }
        )
        return 0
    i = found.info
    click.echo(f"{source}: {i['n_rows']:,} rows, {found.feature_map.n_features} features\n")
    errors = ", ".join(rounded(float(e), 4) for e in found.held_out_rmse)
    facts(
        [
            ("ridge", rounded(found.ridge, 4)),
            ("chosen", ", ".join(i["chosen"]) + ", on the data" if i["chosen"] else ""),
            ("error", f"{errors} root mean square on {i['held_out']:,} rows held out"),
            ("passes", f"2 in {i['elapsed_s']:.3g} s"),
            ("written", str(out)),
        ]
    )
    return 0


@command.command("predict", short_help="Predictions for all rows, as a zarr array.")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.source
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    required=True,
    help="Folder of the new zarr array, rows by targets.",
)
@click.option("--overwrite", is_flag=True, help="Replace the array at --out once it is whole.")
@options.memory
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
    memory: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Predict for the rows of SOURCE with the regression MODEL."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import watching
    from streamsvd.drivers.kernel import load_ridge
    from streamsvd.drivers.opening import open as open_matrix

    fit = load_ridge(model)
    A = open_matrix(source, variable=variable, rows=rows, missing=missing)
    with watching(A.nbytes, quiet=quiet) as watch:
        path = fit.predict_to(A, out, memory=memory, overwrite=overwrite, callback=watch)
    if as_json:
        show_json({"status": "done", "n_rows": A.shape[0], "out": str(path)})
    else:
        click.echo(f"{A.shape[0]:,} predictions: {path}")
    return 0
