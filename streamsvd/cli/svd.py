"""``streamsvd svd``: leading singular triplets with their certificate."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.cli import factoring, options


@click.command("svd", short_help="Leading singular triplets, with the proof.")
@options.source
@factoring.accuracy
@options.memory
@factoring.center
@factoring.transforms
@factoring.method
@options.output
@factoring.saves
@factoring.randomness
@options.machine
@options.as_json
@options.quiet
def command(source: str, **given: Any) -> int:
    """Leading singular triplets of SOURCE, as accurate as asked, with the proof."""
    from streamsvd.cli.factor_run import factorise

    return factorise(source, principal=False, **given)
