"""``streamsvd cells``: from counts of cells to principal components of the genes that vary most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.single_cell.options import CellsOptions

if TYPE_CHECKING:
    from streamsvd.single_cell.result import CellsResult


@click.command("cells", short_help="Counts of cells: sums, variable genes, components.")
@options.source
@options.record(CellsOptions, "genes", "rank", "flavor", "target", "mito", "span", "tol")
@click.option("--layer", metavar="NAME", help="Layer of AnnData that has the counts [X].")
@options.memory
@click.option(
    "--out", type=options.Place(doing="write"), metavar="PATH", help="Folder for the result (zarr)."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace the result at --out once the new one is whole."
)
@options.checkpoint
@options.save_seconds
@options.record(CellsOptions, "seed")
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    layer: str | None,
    out: Path | None,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    save_seconds: float,
    **given: Any,
) -> int:
    """Principal components of the genes of SOURCE that vary most, after normalising and logarithms.

    SOURCE has counts, cells by genes: an .h5ad file, a zarr store of AnnData, any matrix.
    """
    from streamsvd.cli.app import NOT_CONVERGED, report_checkpoint
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, layer_variable, open_source
    from streamsvd.cli.wording import in_options
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import NotConverged
    from streamsvd.single_cell.result import CellsResult
    from streamsvd.single_cell.verb import cells, plan_cells

    code = 0
    with use_scheduler(scheduler, workers):
        A = open_source(source, layer_variable(variable, layer), rows, missing)
        plan = plan_cells(A, **given, out=out)
        with watching(plan.bytes_read or 0, quiet=quiet, passes=int(plan.passes or 0)) as watch:
            try:
                found = cells(
                    fit_source(A, given["memory"], watch), **given, out=out, overwrite=overwrite,
                    save_seconds=save_seconds, callback=watch,
                )  # fmt: skip
            except NotConverged as error:
                assert isinstance(error.result, CellsResult)
                click.echo(f"streamsvd: {in_options(error.message)}", err=True)
                found, code = error.result, NOT_CONVERGED
            except KeyboardInterrupt as error:
                return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {in_options(sentence)}", err=True)
    show(source, found, plan.budget_bytes, out, as_json=as_json)
    return code


def show(source: str, found: CellsResult, budget: int, out: Path | None, *, as_json: bool) -> None:
    """What was counted, and the components, on stdout."""
    from dataclasses import asdict

    import numpy as np

    from streamsvd.cli.present import (
        at_most,
        certificate_record,
        info_record,
        memory_line,
        print_facts,
        round_digits,
        show_json,
        table_lines,
        variance_rows,
    )
    from streamsvd.engine.memory import show_bytes

    i, c, cells, genes = found.info, found.certificate, found.cells, found.genes
    m, n = cells.total_counts.size, genes.means.size
    kept, mt = int(genes.highly_variable.sum()), int(genes.mt.sum())
    counts, counted = (
        [float(each) for each in np.quantile(values, (0.0, 0.5, 1.0))]
        for values in (cells.total_counts, cells.n_genes_by_counts)
    )
    shares = cells.pct_counts_mt[cells.total_counts > 0]
    share = float(np.median(shares)) if shares.size else 0.0
    if as_json:
        show_json(
            "cells",
            {
                "status": i.status.value,
                "criterion": i.criterion,
                "cells": m,
                "genes": n,
                "kept_genes": kept,
                "mt_genes": mt,
                "total_counts": counts,
                "n_genes_by_counts": counted,
                "pct_counts_mt": share,
                "singular_values": found.s,
                "explained_variance": found.explained_variance,
                "explained_variance_ratio": found.explained_variance_ratio,
                "certificate": certificate_record(c),
                "route": i.route,
                "seed": i.seed,
                **info_record(i),
                "budget_bytes": budget,
                "options": asdict(found.options),
                "out": None if out is None else str(out),
            },
        )
        return
    click.echo(f"{source}: {m:,} cells, {n:,} genes")
    click.echo(f"{i.status.value}: {found.rank} components of the {kept:,} genes that vary most\n")
    head, rows = variance_rows(found)
    click.echo("\n".join(f"  {line}" for line in table_lines(head, rows)))
    click.echo()
    ends = "{:,.6g} to {:,.6g}, half of the cells have {:,.6g} at least"
    print_facts(
        [
            ("counts", ends.format(counts[0], counts[2], counts[1]) + " in all"),
            ("found", ends.format(counted[0], counted[2], counted[1]) + " genes"),
            (
                "mito",
                f"{mt:,} genes, {round_digits(share, 3)} % of the counts of a cell in the median"
                if mt
                else f"no name of a gene begins with {found.options.mito}",
            ),
            ("width", f"every interval within {at_most(c.relative_width, 2)} of its upper end"),
            (
                "passes",
                f"{i.passes:.3g}: {show_bytes(i.bytes_read)} read in {i.elapsed_s:.3g} s",
            ),
            ("memory", memory_line(i.peak_bytes, i.projected_bytes, budget)),
            ("written", "" if out is None else str(out)),
        ]
    )
