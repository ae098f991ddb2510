"""``streamsvd rotate``: components of a result turned to simple structure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.factor.rotation_options import RotationOptions

if TYPE_CHECKING:
    from streamsvd.factor.rotation_result import Rotation


@click.command("rotate", short_help="Turn components to simple structure: varimax, promax.")
@click.argument("result")
@options.record(RotationOptions)
@options.result("components, variance, rotation, correlation and, where there are any, scores")
@options.as_json
def command(result: str, out: Path | None, overwrite: bool, as_json: bool, **given: Any) -> int:
    """Rotate the leading components of RESULT, what svd or pca kept, or a model; in memory, no matrix is read."""
    from streamsvd.checks.paths import is_url, local_path
    from streamsvd.cli.app import NOT_CONVERGED
    from streamsvd.cli.files import check_result_place, save_result
    from streamsvd.cli.wording import in_options
    from streamsvd.errors import NotConverged
    from streamsvd.factor.rotation import rotate
    from streamsvd.factor.rotation_result import Rotation
    from streamsvd.store.results.loading import load

    read = () if is_url(result) else (local_path(result),)
    check_result_place(out, *read, overwrite=overwrite)
    code = 0
    try:
        found = rotate(load(result), **given)
    except NotConverged as error:
        assert isinstance(error.result, Rotation)
        click.echo(f"streamsvd: {in_options(error.message)}", err=True)
        found, code = error.result, NOT_CONVERGED
    save_result(out, found, lambda: _arrays(found), overwrite=overwrite)
    _show(found, out, as_json=as_json)
    return code


def _arrays(found: Rotation) -> dict[str, Any]:
    """What a ``.npz`` file holds."""
    import numpy as np

    arrays = {name: getattr(found, name) for name in ("components", "variance", "rotation", "correlation")}  # fmt: skip
    return arrays if found.scores is None else arrays | {"scores": np.asarray(found.scores)}


def _pairs(matrix: Any) -> Any:
    """Complex numbers, which JSON has not, as pairs of real and imaginary part."""
    import numpy as np

    return np.stack([matrix.real, matrix.imag], axis=-1) if np.iscomplexobj(matrix) else matrix


def _show(found: Rotation, out: Path | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from streamsvd.cli.present import show_json
    from streamsvd.factor.tables import plain_table

    if as_json:
        record = {
            "status": found.info.status.value, "variance": found.variance, "variance_ratio": found.variance_ratio,
            "variance_before": found.variance_before, "rotation": _pairs(found.rotation), "correlation": _pairs(found.correlation),
            "criterion": found.criterion, "iterations": found.iterations, "elapsed_s": found.info.elapsed_s, **asdict(found.options),
            "out": None if out is None else str(out),
        }  # fmt: skip
        show_json("rotation", record)
        return
    click.echo(f"{found!r}\n")
    rows = [
        (str(i + 1), f"{after:.6g}", f"{100 * share:.4g}", f"{before:.6g}")
        for i, (after, share, before) in enumerate(
            zip(found.variance, found.variance_ratio, found.variance_before, strict=True)
        )
    ]
    click.echo(plain_table(("component", "variance", "share %", "before"), rows))
    if out is not None:
        click.echo(f"\nwritten: {out}")
