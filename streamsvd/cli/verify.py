"""``streamsvd verify``: a stored result held against its source again, in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import FAILED

if TYPE_CHECKING:
    from streamsvd.drivers.verify import Verification


@click.command("verify", short_help="Certify a stored result anew, in one pass.")
@click.argument("result", type=click.Path(path_type=Path))
@options.source
@options.memory
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Of the probes; take another than the run's.",
)
@click.option(
    "--delta",
    type=float,
    default=1e-6,
    show_default=True,
    help="Probability that a fresh upper bound fails.",
)
@options.machine
@options.as_json
@options.quiet
def command(
    result: Path,
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    memory: str | None,
    seed: int,
    delta: float,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Certify the stored RESULT anew against the SOURCE it was made of; exit code 1 if they disagree."""
    from streamsvd.cli.progress import watching
    from streamsvd.drivers.opening import open as open_matrix
    from streamsvd.drivers.verify import verify
    from streamsvd.engine.schedulers import scheduled

    with scheduled(scheduler, workers):
        A = open_matrix(source, variable=variable, rows=rows, missing=missing)
        with watching(A.nbytes, quiet=quiet) as watch:
            found = verify(result, A, memory=memory, seed=seed, delta=delta, callback=watch)
    _show(found, result, as_json=as_json)
    return 0 if found.agrees else FAILED


def _show(found: Verification, result: Path, *, as_json: bool) -> None:
    from streamsvd import __version__
    from streamsvd.cli.present import certificate_record, facts, show_json

    if as_json:
        show_json(
            {
                "status": "agrees" if found.agrees else "disagrees",
                "findings": found.findings,
                "certificate": certificate_record(found.certificate),
                "stored": certificate_record(found.stored),
                "passes": found.passes,
                "elapsed_s": found.elapsed_s,
                "version": __version__,
            }
        )
        return
    verdict = "agrees with its source" if found.agrees else "does not agree with its source"
    click.echo(f"{result} {verdict}")
    for finding in found.findings:
        click.echo(f"  - {finding}")
    fresh, stored = found.certificate, found.stored
    facts(
        [
            (
                "error",
                f"<= {fresh.frobenius_error:.6g} in this pass, <= {stored.frobenius_error:.6g} stored",
            ),
            ("first", f"{_interval(fresh)} in this pass, {_interval(stored)} stored"),
            ("passes", f"{found.passes:.3g} in {found.elapsed_s:.3g} s"),
        ]
    )


def _interval(certificate: Any) -> str:
    return f"[{certificate.sigma_lower[0]:.7g}, {certificate.sigma_upper[0]:.7g}]"
