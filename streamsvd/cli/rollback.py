"""``streamsvd rollback``: an earlier version of a model again."""

from __future__ import annotations

import click

from streamsvd.cli import options


@click.command("rollback", short_help="Make an earlier version of a model the newest.")
@click.argument("model")
@click.argument("version", type=int)
@options.as_json
def command(model: str, version: int, as_json: bool) -> int:
    """Make VERSION of MODEL the newest one; blocks absorbed since then can be sent again."""
    from streamsvd.cli.present import show_json
    from streamsvd.models import Model

    found = Model.open(model).rollback(version)
    if as_json:
        show_json(
            "rollback",
            {
                "status": "rolled back",
                "to": version,
                "version": found.version,
                "n_rows": found.n_rows,
            },
        )
    else:
        click.echo(
            f"version {found.version} is version {version} again: {found.n_rows:,} {found.spec.axis}"
        )
    return 0
