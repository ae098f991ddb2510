"""``streamsvd svd``: leading singular triplets with their certificate."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.cli import options


@click.command("svd", short_help="Leading singular triplets, with the proof.")
@options.source
@options.accuracy
@options.memory
@options.center
@options.transforms
@options.method
@options.output
@options.randomness
@options.machine
@options.as_json
@options.quiet
def command(source: str, **given: Any) -> int:
    """Leading singular triplets of SOURCE, as accurate as asked, with the proof."""
    from streamsvd.cli.run import factorise

    return factorise(source, principal=False, **given)
