"""``streamsvd embed``: numbers of the nodes of a graph that does not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.graphs.options import EmbedOptions

if TYPE_CHECKING:
    from streamsvd.graphs.result import Embedding


def _numbers(ctx: Any, param: Any, value: str) -> tuple[float, ...]:
    """``"0,0,1,1"`` as numbers."""
    del ctx, param
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} are no numbers. Pass several, as 0,0,1,1.") from None


@click.command("embed", short_help="Embeddings of the nodes of a graph, by random projection.")
@options.source
@options.record(EmbedOptions, "dim")
@click.option(
    "--step-weights",
    default="0,0,1,1",
    show_default=True,
    metavar="W,W,...",
    callback=_numbers,
    help="Of one step along the edges, of two, and so on.",
)
@options.record(EmbedOptions, "beta", "step", "normalize", "sparsity", "precision")
@click.option(
    "--out",
    type=options.Place(doing="write"),
    metavar="PATH",
    required=True,
    help="Folder for the result, which streamsvd.load opens; its array vectors has a row for each node.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out once it is whole.")
@options.record(EmbedOptions, "seed")
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Embed the nodes of SOURCE, the square adjacency matrix of a graph."""
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_graph
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.graphs.verb import embed, plan_embed

    A = open_graph(source, variable, rows, missing)
    asked = {name: value for name, value in given.items() if name != "overwrite"}
    with use_scheduler(scheduler, workers):
        expected = plan_embed(A, **asked, out=out).bytes_read or 0
        with watching(expected, quiet=quiet) as watch:
            A = fit_source(A, given["memory"], watch)
            found = embed(A, **given, out=out, callback=watch)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return 0


def show(source: str, found: Embedding, out: Path, *, as_json: bool) -> None:
    """What was made, on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import info_record, print_facts, show_json
    from streamsvd.engine.memory import show_bytes

    i, o = found.info, found.options
    if as_json:
        show_json(
            "embed",
            {
                "status": i.status.value,
                "nodes": i.n_rows,
                "isolated": found.isolated,
                "slabs": found.slabs,
                **info_record(i),
                **asdict(o),
                "out": str(out),
            },
        )
        return
    click.echo(f"{source}: {i.n_rows:,} nodes in {o.dim} dimensions\n")
    slabs = "all columns at once" if found.slabs == 1 else f"{found.slabs} runs of columns"
    print_facts(
        [
            ("steps", ", ".join(f"{w:g}" for w in o.step_weights) + f", {o.step}, beta {o.beta:g}"),
            (
                "isolated",
                f"{found.isolated:,} nodes without edges: their rows are 0"
                if found.isolated
                else "",
            ),
            ("passes", f"{i.passes:g}, {slabs}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", str(out)),
        ]
    )
