"""``streamsvd merge``: two models of different rows as one."""

from __future__ import annotations

import click

from streamsvd.cli import options


@click.command("merge", short_help="Join two models that absorbed different rows.")
@click.argument("first")
@click.argument("second")
@click.option("--out", required=True, metavar="PATH", help="Where the joint model is made.")
@options.as_json
def command(first: str, second: str, out: str, as_json: bool) -> int:
    """Join the models FIRST and SECOND, made with the same options, as if one had absorbed the rows of both."""
    from streamsvd.cli.present import print_facts, show_json
    from streamsvd.models import merge_models

    found = merge_models(first, second, out)
    c = found.certificate
    if as_json:
        show_json(
            "merge",
            {
                "status": "merged",
                "out": out,
                "version": found.version,
                "n_rows": found.n_rows,
                "singular_values": found.s,
                "frobenius_error": c.frobenius_error,
            },
        )
        return 0
    click.echo(f"{out}: {found.n_rows:,} {found.spec.axis} of both models")
    print_facts(
        [
            (
                "error",
                f"||A - U s Vh||_F <= {c.frobenius_error:.6g}, {c.captured:.4%} of the energy is held",
            )
        ]
    )
    return 0
