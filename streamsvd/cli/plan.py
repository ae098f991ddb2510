"""``streamsvd plan``: passes, bytes, memory and time of a factorisation, before any of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options

if TYPE_CHECKING:
    from streamsvd.factor.candidates import Speeds
    from streamsvd.factor.plan import Plan


@click.command("plan", short_help="Passes, bytes, memory and time, before any of it.")
@options.source
@options.accuracy
@options.memory
@options.center
@options.transforms
@options.method
@click.option("--u/--no-u", default=False, help="With the left factor.")
@click.option(
    "--calibrate", is_flag=True, help="Measure this machine and the source first (about 2 s)."
)
@options.machine
@options.as_json
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    u: bool,
    calibrate: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """What `svd` would do, and what it would cost; reads no data unless asked to calibrate."""
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import say
    from streamsvd.cli.run import with_weights
    from streamsvd.engine.opening import open as open_matrix
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.factor.calibration import measure_speeds
    from streamsvd.factor.verb import plan_svd

    with use_scheduler(scheduler, workers):
        A = open_matrix(source, variable=variable, rows=rows, missing=missing)
        for text in getattr(A, "remarks", ()):
            say(text)
        # U goes to disk from the command line: any path stands for that.
        given = with_weights(given) | {"u": u, "out": "U" if u else None}
        plan = plan_svd(A, **given)
        rates = measure_speeds(A, plan) if calibrate else None
        if rates is not None:
            plan = plan_svd(A, **given, rates=rates)
    if as_json:
        show_json(plan_record(plan, rates))
        return
    click.echo(plan.explain())
    if rates is not None:
        click.echo("  measured   " + show_rates(rates))


def show_rates(rates: Speeds) -> str:
    """Speeds of one core in one line."""
    return (
        f"a core reads {rates.read / 1e9:.2f} GB/s, multiplies {rates.single / 1e9:.0f} GFLOP/s in single and "
        f"{rates.double / 1e9:.0f} in double precision"
    )


def plan_record(plan: Plan, rates: Speeds | None) -> dict[str, Any]:
    """What ``plan --json`` prints."""
    layout = plan.layout
    return {
        "status": "planned",
        "name": plan.name,
        "shape": plan.shape,
        "dtype": plan.dtype,
        "nbytes": plan.nbytes,
        "passes": plan.passes,
        "bytes_read": plan.bytes_read,
        "projected_bytes": plan.projected_bytes,
        "budget_bytes": plan.budget_bytes,
        "seconds": plan.seconds,
        "route": plan.route,
        "block": plan.block,
        "probes": plan.probes,
        "basis": plan.basis,
        "sample_rows": plan.sample_rows,
        "workers": plan.workers,
        "at_once": plan.at_once,
        "prefetch": plan.prefetch,
        "device": plan.device,
        "tasks": plan.tasks,
        "axis": layout.axis,
        "panel": layout.panel,
        "unit": layout.unit,
        "tile": layout.tile,
        "spans": len(layout.spans),
        "request": keyed_fields(
            plan.request, fills_or_weights="masked", has_zero_weights="blanked"
        ),
        "alternatives": [asdict(alternative) for alternative in plan.alternatives],
        "rates": None if rates is None else asdict(rates),
    }
