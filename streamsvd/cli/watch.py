"""``streamsvd watch``: a model that follows an array while it grows."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import FAILED, report
from streamsvd.cli.wording import in_options

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(ctx: Any, param: Any, value: str) -> float:
    """``"60s"``, ``"5m"``, ``"1h"`` in seconds."""
    del ctx, param
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", value.strip())
    if not found or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is no time. Pass one such as 60s, 5m or 1h.")
    return float(found[1]) * UNITS[found[2] or "s"]


@click.command("watch", short_help="Follow a growing array with a model.")
@options.source
@click.argument("model", callback=options.output_place)
@click.option(
    "--every", default="60s", show_default=True, callback=seconds, help="Time between looks."
)
@click.option(
    "--looks", type=click.IntRange(min=1), metavar="N", help="Stop after N looks [never]."
)
@options.growth
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    model: str,
    variable: str | None,
    rows: Any,
    missing: str,
    every: float,
    looks: int | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Absorb into MODEL what is new in SOURCE, again and again, until stopped.

    A look that fails because a store cannot be read is reported, and the next one tries again. Stopping at any
    moment loses nothing.
    """
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_for_model, require_reference
    from streamsvd.cli.update import absorb, facts_of, show
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import StoreError
    from streamsvd.models import Model

    require_reference("SOURCE", None)
    done, failed = 0, False
    try:
        while True:
            began = time.monotonic()
            failed = False
            try:
                A, asked = open_for_model(model, given, source, variable, rows, missing)
                with (
                    use_scheduler(scheduler, workers),
                    watching(A.nbytes, quiet=quiet) as progress,
                ):
                    A = fit_source(A, given["memory"], progress)
                    update = absorb(model, A, progress, **asked)
                if update.n_absorbed or as_json:
                    show(Model.open(model), facts_of(update), as_json=as_json)
            except StoreError as error:
                report(type(error).__name__, in_options(str(error)), FAILED, as_json=as_json)
                failed = True
            done += 1
            if looks is not None and done >= looks:
                return FAILED if failed else 0
            time.sleep(max(0.0, every - (time.monotonic() - began)))
    except KeyboardInterrupt:
        click.echo(
            "streamsvd: stopped; the model holds every block that was reported, and the same command goes on from there.",
            err=True,
        )
        return 0
