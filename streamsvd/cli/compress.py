"""``streamsvd compress``: a collection of matrices stored as bases that they share, with every error certified."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.collection_run import run_on_collection

if TYPE_CHECKING:
    from streamsvd.collections.rates import RateCurve
    from streamsvd.collections.result import ClusterResult, CompressionReport


def _principal(ctx: Any, param: Any, value: str | None) -> Any:
    """``"0.3"`` as 0.3."""
    del ctx, param
    if value is None or value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter("pass an error, or auto.") from None


@click.command("compress", short_help="Store matrices as bases that they share.")
@options.collection
@click.option("--error", type=float, metavar="E", help="Relative error allowed [0.05].")
@click.option(
    "--rank", type=int, metavar="R", help="Of every basis [what takes the least storage]."
)
@click.option(
    "--mode",
    type=click.Choice(["cluster", "global", "block"]),
    help="Whose error it is: of each cluster, of all together, of every block [cluster].",
)
@click.option(
    "--method",
    type=click.Choice(["certified", "maxnorm", "residual", "incremental"]),
    help="Ours, or one of the published, which need a rank [certified].",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "primal", "gram", "propose"]),
    default="auto",
    show_default=True,
    help="What is in memory: sketches, a Gram matrix, or projections.",
)
@click.option(
    "--principal",
    metavar="P|auto",
    callback=_principal,
    help="Share bases within this larger error, and store what they leave in whole numbers [no residuals].",
)
@options.weights
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    callback=options.output_place,
    help="Folder or URL of the compressed collection.",
)
@click.option("--append", is_flag=True, help="Add to the collection at --out.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the collection at --out once the new one is whole."
)
@options.checkpoint
@options.save_seconds
@options.seed
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    collection: str,
    out: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Store the matrices of COLLECTION as bases that they share, each error certified.

    COLLECTION is a zarr group, a folder of .npy or .safetensors files, one .safetensors file, or an array to --cut.
    """
    from streamsvd.collections.compression import compress

    return run_on_collection(
        compress,
        collection,
        out,
        show=partial(show, collection, as_json=as_json),
        as_json=as_json,
        **given,
    )


def run_record(found: ClusterResult | CompressionReport | RateCurve) -> dict[str, Any]:
    """What verbs of collections say of how a result came about, for JSON."""
    from streamsvd.cli.present import info_record

    plan = found.plan
    return {
        **info_record(found.info),
        "n_blocks": plan.n_blocks,
        "rows": plan.rows,
        "columns": plan.columns,
        "backend": plan.backend,
        "budget_bytes": plan.budget_bytes,
        "zeros": found.zeros,
        "seed": found.info.seed,
        "input_bytes": found.input_bytes,
    }


def show(collection: str, done: CompressionReport, *, as_json: bool) -> None:
    """What was stored, on stdout."""
    from streamsvd.cli.compressed_facts import cluster_facts
    from streamsvd.cli.present import keyed_fields, memory_line, print_facts, show_json
    from streamsvd.engine.memory import show_bytes

    i, p = done.info, done.plan
    if as_json:
        show_json(
            "compression",
            {
                "status": "done",
                "out": done.path,
                "version": done.version,
                "clusters": [keyed_fields(c, n_residuals="coded") for c in done.clusters],
                "labels": done.labels,
                "block_errors": done.block_errors,
                "bytes_before": done.bytes_before,
                "bytes_after": done.bytes_after,
                "compression_ratio": done.compression_ratio,
                "reads": done.reads,
                **run_record(done),
            },
        )
        return
    click.echo(
        f"{collection}: {p.n_blocks:,} matrices of {p.rows:,} rows, {p.columns:,} columns in all\n"
    )
    print_facts(
        [
            *cluster_facts(done.clusters, done.block_errors),
            (
                "bytes",
                f"{show_bytes(done.bytes_before)} -> {show_bytes(done.bytes_after)}, {done.compression_ratio:.3g} times less",
            ),
            (
                "reads",
                f"{done.reads:.3g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s, by {p.backend}",
            ),
            ("memory", memory_line(i.peak_bytes, i.projected_bytes, p.budget_bytes)),
            (
                "written",
                f"{Path(done.path) if '://' not in done.path else done.path}, version {done.version}",
            ),
        ]
    )
