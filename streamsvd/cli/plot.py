"""``streamsvd plot``: pictures of a result, in files."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.checks.paths import PathOrUrl
from streamsvd.cli import options

KINDS = ("all", "scree", "components", "scores", "biplot")


def _numbers(ctx: Any, param: Any, value: str | None) -> tuple[int, ...] | None:
    """``"0,1,2"`` as ``(0, 1, 2)``; None for none."""
    del ctx, param
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdigit() for part in parts):
        raise click.BadParameter(
            f"{value!r} are no numbers of components. Pass them with commas, from 0, such as 0,1,2."
        )
    return tuple(int(part) for part in parts)


@click.command("plot", short_help="Pictures: scree, components as maps or lines, scores.")
@click.argument("result")
@click.option(
    "--kind", type=click.Choice(KINDS), default="all", show_default=True, help="What is drawn; all: everything on one sheet."
)  # fmt: skip
@click.option(
    "--components", metavar="I,J,...", callback=_numbers, help="Numbers of the components, from 0 [the leading ones]."
)  # fmt: skip
@click.option(
    "-o", "--out", type=options.Place(dir_okay=False, doing="write"), metavar="FILE", default="plot.png", show_default=True,
    help="The picture, by its suffix: .png, .svg or .pdf.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
@options.as_json
def command(
    result: str,
    kind: str,
    components: tuple[int, ...] | None,
    out: PathOrUrl,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw RESULT, what svd, pca or rotate kept, or a model: shares with their intervals, components, scores."""
    from streamsvd.cli.present import show_json
    from streamsvd.engine.memory import show_bytes
    from streamsvd.report.plotting import plot
    from streamsvd.store.places import location_of

    plot(result, kind, components=components, out=out, overwrite=overwrite)
    size = location_of(out).size() or 0
    if as_json:
        show_json("plot", {"status": "done", "path": str(out), "bytes": size, "of": kind})
        return
    click.echo(f"written: {out} ({show_bytes(size)})")
