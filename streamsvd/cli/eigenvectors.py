"""``streamsvd eigenvectors``: leading eigenvectors of a graph, each eigenvalue in a proved interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.graphs.options import GraphEigenvectorsOptions

if TYPE_CHECKING:
    from streamsvd.graphs.result import GraphEigenvectors


@click.command("eigenvectors", short_help="Leading eigenvectors of a graph, with proved intervals.")
@options.source
@click.option("--rank", type=int, required=True, help="Eigenvectors wanted.")
@options.record(GraphEigenvectorsOptions, "tol", "max_passes")
@options.result("values, vectors, lower and upper")
@options.record(GraphEigenvectorsOptions, "seed")
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
    """Leading eigenvectors of the normalised adjacency of SOURCE, the symmetric matrix of an undirected graph."""
    from streamsvd.cli.app import NOT_CONVERGED
    from streamsvd.cli.files import check_result_place, save_result
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_graph
    from streamsvd.cli.wording import in_options
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import NotConverged
    from streamsvd.graphs.eigenvectors import graph_eigenvectors
    from streamsvd.graphs.planning import graph_bytes
    from streamsvd.graphs.result import GraphEigenvectors

    A = open_graph(source, variable, rows, missing)
    check_result_place(out, A, overwrite=overwrite)
    code = 0
    with use_scheduler(scheduler, workers), watching(graph_bytes(A), quiet=quiet) as watch:
        try:
            found = graph_eigenvectors(
                fit_source(A, given["memory"], watch), callback=watch, **given
            )
        except NotConverged as error:
            assert isinstance(error.result, GraphEigenvectors)
            click.echo(f"streamsvd: {in_options(error.message)}", err=True)
            found, code = error.result, NOT_CONVERGED
    names = ("values", "vectors", "lower", "upper")
    save_result(
        out, found, lambda: {name: getattr(found, name) for name in names}, overwrite=overwrite
    )
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, found, out, as_json=as_json)
    return code


def show(source: str, found: GraphEigenvectors, out: Path | None, *, as_json: bool) -> None:
    """Eigenvalues and their intervals on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import (
        at_least,
        at_most,
        info_record,
        print_facts,
        round_digits,
        show_json,
        table_lines,
    )
    from streamsvd.engine.memory import show_bytes

    i, o = found.info, found.options
    if as_json:
        show_json(
            "eigenvectors",
            {
                "status": i.status.value,
                "nodes": i.n_rows,
                "isolated": found.isolated,
                "values": found.values,
                "lower": found.lower,
                "upper": found.upper,
                "failure_probability": found.certificate.failure_probability,
                **info_record(i),
                **asdict(o),
                "out": None if out is None else str(out),
            },
        )
        return
    click.echo(f"{source}: {i.n_rows:,} nodes, {o.rank} eigenvectors of D^-1/2 A D^-1/2\n")
    table = [
        [str(j + 1), round_digits(float(v), 7), at_least(float(a), 7), at_most(float(b), 7)]
        for j, (v, a, b) in enumerate(zip(found.values, found.lower, found.upper, strict=True))
    ]
    head = ["i", "eigenvalue", "at least", "at most"]
    click.echo("\n".join(f"  {line}" for line in table_lines(head, table)))
    click.echo()
    isolated = f"{found.isolated:,} nodes without edges, each an eigenvector of 0"
    chance = found.certificate.failure_probability
    print_facts(
        [
            ("proved", f"{int(found.is_resolved.sum())} of {o.rank} within {o.tol:g}"),
            ("chance", f"an upper end fails with probability at most {chance:g}" if chance else ""),
            ("isolated", isolated if found.isolated else ""),
            ("passes", f"{i.passes:.3g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
