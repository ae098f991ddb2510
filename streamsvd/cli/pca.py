"""``streamsvd pca``: principal components with certified variances."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.cli import factoring, options


@click.command("pca", short_help="Principal components, with certified variances.")
@options.source
@factoring.accuracy
@options.memory
@factoring.transforms
@factoring.method
@options.output
@factoring.saves
@factoring.randomness
@options.machine
@options.as_json
@options.quiet
def command(source: str, **given: Any) -> int:
    """Principal components of SOURCE: rows are observations, each column less its mean."""
    from streamsvd.cli.factor_run import factorise

    return factorise(source, principal=True, **given)
