"""``streamsvd nystrom``: rows that stand for a kernel matrix, in one pass, and the error certified in a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options

if TYPE_CHECKING:
    from streamsvd.drivers.kernel import Nystrom


@click.command("nystrom", short_help="Rows that stand for a kernel matrix, with the error.")
@options.source
@options.kernels
@click.option("--gamma", type=float, metavar="G", help="Ridge [the smallest the budget allows].")
@click.option(
    "--certify/--no-certify", default=True, help="A second pass sums the exact trace of the error."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.npz",
    help="Write dictionary and feature map there.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampling.")
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
    smoothness: str,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Choose rows of SOURCE that stand for its kernel matrix, and make a feature map of them."""
    from streamsvd.cli.progress import watching
    from streamsvd.cli.saved import check_place, written
    from streamsvd.drivers.kernel import nystrom
    from streamsvd.drivers.opening import open as open_matrix

    check_place(out, overwrite=overwrite)
    A = open_matrix(source, variable=variable, rows=rows, missing=missing)
    passes = 2 if given["certify"] else 1
    with watching(passes * A.nbytes, quiet=quiet) as watch:
        found = nystrom(A, smoothness=float(smoothness), callback=watch, **given)
    if out is not None:
        arrays = {
            "indices": found.indices, "rows": found.rows, "weights": found.weights, "centres": found.centres,
            "centre_rows": found.feature_map.centres, "whitening": found.feature_map.whitening,
        }  # fmt: skip
        written(out, arrays)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return 0


def show(source: str, found: Nystrom, out: Path | None, *, as_json: bool) -> None:
    """The result on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import at_most, facts, rounded, show_json
    from streamsvd.engine.memory import show_bytes

    c, i = found.certificate, found.info
    if as_json:
        show_json(
            {
                "status": "done",
                "centres": found.centres,
                "dictionary": int(found.indices.size),
                "features": found.feature_map.n_features,
                "effective_dimension": found.effective_dimension,
                "gamma": found.gamma,
                "certificate": asdict(c),
                **asdict(i),
                "out": None if out is None else str(out),
            }
        )
        return
    k = i.kernel
    scale = (
        f", length {rounded(k['length'], 4)}" if k["name"] in ("rbf", "laplacian", "matern") else ""
    )
    picked = ", ".join(i.chosen)
    click.echo(
        f"{source}: {i.n_rows:,} rows, {found.centres.size} centres of {found.indices.size} in the dictionary\n"
    )
    bound = (
        f"||K - K_C||_2 <= trace(K - K_C) <= {at_most(c.trace_error, 4)}, of a trace of {rounded(c.trace, 4)}"
        if c.trace_error < float("inf")
        else "nothing is proved without a second pass"
    )
    facts(
        [
            ("kernel", f"{k['name']}{scale}"),
            ("chosen", f"{picked}, on the data" if picked else ""),
            (
                "gamma",
                f"{rounded(found.gamma, 4)}, effective dimension about {found.effective_dimension:.4g}",
            ),
            ("error", bound),
            ("", f"spectral norm about {at_most(c.spectral_estimate, 2)} by estimate"),
            ("passes", f"{i.passes}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
