"""``streamsvd repair``: back to the newest version that is whole."""

from __future__ import annotations

import click

from streamsvd.cli import options


@click.command("repair", short_help="Drop to the newest intact version of a model.")
@click.argument("model")
@options.as_json
def command(model: str, as_json: bool) -> int:
    """Check every object of MODEL and make its newest intact version the newest one."""
    from streamsvd.cli.present import show_json
    from streamsvd.models import repair_model

    found, damage = repair_model(model)
    if as_json:
        show_json(
            "repair",
            {
                "status": "repaired" if damage else "intact",
                "version": found.version,
                "n_rows": found.n_rows,
                "damage": [
                    {"key": d.key, "reason": d.reason, "version": d.version} for d in damage
                ],
            },
        )
        return 0
    if not damage:
        click.echo(f"{model} is intact at version {found.version}; nothing was changed")
        return 0
    click.echo(
        f"{model} is at version {found.version} with {found.n_rows:,} {found.spec.axis}; damaged were"
    )
    for one in damage:
        click.echo(f"  - {one}")
    return 0
