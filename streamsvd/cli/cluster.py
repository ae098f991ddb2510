"""``streamsvd cluster``: which matrices of a collection may share a basis, with every error certified."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.collection_run import run_on_collection
from streamsvd.cli.compress import run_record

if TYPE_CHECKING:
    from streamsvd.collections.result import ClusterResult

MOST_NAMES = 6
"""Names of a cluster that are shown."""


@click.command("cluster", short_help="Which matrices may share a basis, without storing any.")
@options.collection
@click.option(
    "--error",
    type=float,
    default=0.05,
    show_default=True,
    metavar="E",
    help="Relative error allowed.",
)
@click.option(
    "--rank", type=int, metavar="R", help="Of every basis [what takes the least storage]."
)
@click.option(
    "--mode",
    type=click.Choice(["cluster", "global", "block"]),
    default="cluster",
    show_default=True,
    help="Whose error it is: of each cluster, of all together, of every block.",
)
@click.option(
    "--method",
    type=click.Choice(["certified", "maxnorm", "residual", "incremental"]),
    default="certified",
    show_default=True,
    help="Ours, or one of the published, which need a rank.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "primal", "gram", "propose"]),
    default="auto",
    show_default=True,
    help="What is in memory: sketches, a Gram matrix, or projections.",
)
@options.weights
@options.checkpoint
@options.save_seconds
@options.seed
@options.memory
@options.machine
@options.as_json
@options.quiet
def command(
    collection: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Find which matrices of COLLECTION may share a basis, each error certified; nothing is stored.

    COLLECTION is a zarr group, a folder of .npy or .safetensors files, one .safetensors file, or an array to --cut.
    """
    from streamsvd.collections.cluster import cluster

    return run_on_collection(
        cluster,
        collection,
        show=partial(show, collection, as_json=as_json),
        as_json=as_json,
        **given,
    )


def show(collection: str, found: ClusterResult, *, as_json: bool) -> None:
    """The clusters on stdout."""
    from streamsvd.cli.present import memory_line, print_facts, show_json
    from streamsvd.engine.memory import show_bytes

    i, p = found.info, found.plan
    if as_json:
        show_json(
            "cluster",
            {
                "status": i.status.value,
                "labels": found.labels,
                "ranks": [c.rank for c in found.clusters],
                "block_errors": found.block_errors,
                "compression_ratio": found.compression_ratio,
                "reads": found.reads,
                **asdict(found.options),
                **run_record(found),
            },
        )
        return
    click.echo(
        f"{collection}: {p.n_blocks:,} matrices of {p.rows:,} rows in {len(found.clusters):,} clusters\n"
    )
    names: dict[int, list[str]] = {}
    for name, label in found.labels.items():
        names.setdefault(label, []).append(name)
    for label, c in enumerate(found.clusters):
        mine = names[label]
        more = f" and {len(mine) - MOST_NAMES:,} more" if len(mine) > MOST_NAMES else ""
        worst = max(found.block_errors[name] for name in mine)
        how = "as they are" if c.raw else f"rank {c.rank}, error at most {worst:.2g}"
        click.echo(f"  {label}: {how}: {', '.join(mine[:MOST_NAMES])}{more}")
    click.echo("")
    print_facts(
        [
            ("bytes", f"{found.compression_ratio:.3g} times less, if stored so"),
            (
                "reads",
                f"{found.reads:.3g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s, by {p.backend}",
            ),
            ("memory", memory_line(i.peak_bytes, i.projected_bytes, p.budget_bytes)),
        ]
    )
