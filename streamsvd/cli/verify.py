"""``streamsvd verify``: the objects of a model, or a result held against its source in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import FAILED

if TYPE_CHECKING:
    from streamsvd.models.verify import Verification


@click.command("verify", short_help="Check a model, or certify a result anew in one pass.")
@click.argument("result")
@click.argument("source", required=False)
@options.details
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
    result: str,
    source: str | None,
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
    """Check every object of the model RESULT; with SOURCE, certify RESULT anew against what it was made of.

    Exit code 1 if an object is damaged, or if the certificate does not agree with the source.
    """
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, is_weighted_as_read, open_source
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.models.verify import verify

    sound = _check_objects(result, as_json=as_json, last=source is None)
    if source is None or not sound:
        return 0 if sound else FAILED
    with use_scheduler(scheduler, workers):
        A = open_source(
            source, variable, rows, missing, weighs=is_weighted_as_read(result), kept=result
        )
        with watching(A.nbytes, quiet=quiet) as watch:
            found = verify(
                result,
                fit_source(A, memory, watch),
                memory=memory,
                seed=seed,
                delta=delta,
                callback=watch,
            )
    _show(found, result, as_json=as_json)
    return 0 if found.agrees else FAILED


def _check_objects(result: str, *, as_json: bool, last: bool) -> bool:
    """Whether every object of a model is what was written; a plain result has only its source to tell."""
    from streamsvd.checks.paths import is_url, local_path
    from streamsvd.cli.present import show_json
    from streamsvd.errors import StoreError
    from streamsvd.store.explanations import path_exists
    from streamsvd.store.objects import objects_at
    from streamsvd.store.versions import ModelStore, check_store, is_model

    objects = objects_at(result)
    if not is_url(result) and not path_exists(local_path(result)):
        raise StoreError(f"{result} does not exist. Check the path.")
    if not is_model(objects) and not objects.names("log"):
        if last:
            raise click.UsageError(
                f"{result} is no model, so that only its source can tell whether it is right: "
                "streamsvd verify RESULT SOURCE."
            )
        return True
    damage, whole = check_store(ModelStore(objects))
    if as_json and (damage or last):
        records = [{"key": d.key, "reason": d.reason, "version": d.version} for d in damage]
        status = "damaged" if damage else "intact"
        show_json("damage", {"status": status, "damage": records, "newest_intact_version": whole})
    elif damage:
        found = f"the newest version that is whole is {whole}" if whole else "no version is whole"
        click.echo(f"{result} is damaged; {found}")
        for one in damage:
            click.echo(f"  - {one}")
        click.echo("streamsvd repair goes back to it" if whole else "restore it from a copy")
    elif not as_json:
        click.echo(f"{result} is intact at version {whole}")
    return not damage


def _show(found: Verification, result: str, *, as_json: bool) -> None:
    from streamsvd.cli.present import at_most, certificate_record, print_facts, show_json

    if as_json:
        show_json(
            "verification",
            {
                "status": "agrees" if found.agrees else "disagrees",
                "findings": found.findings,
                "certificate": certificate_record(found.certificate),
                "stored": certificate_record(found.stored_certificate),
                "passes": found.info.passes,
                "elapsed_s": found.info.elapsed_s,
            },
        )
        return
    verdict = "agrees with its source" if found.agrees else "does not agree with its source"
    click.echo(f"{result} {verdict}")
    for finding in found.findings:
        click.echo(f"  - {finding}")
    fresh, stored = found.certificate, found.stored_certificate
    print_facts(
        [
            (
                "error",
                f"<= {at_most(fresh.frobenius_error, 6)} in this pass, "
                f"<= {at_most(stored.frobenius_error, 6)} stored",
            ),
            ("best", f"{_excess(fresh)} in this pass, {_excess(stored)} stored"),
            (
                "values",
                f"{fresh.resolved_count} resolved to {fresh.tol:g} in this pass, {stored.resolved_count} to "
                f"{stored.tol:g} stored",
            ),
            ("first", f"{_interval(fresh)} in this pass, {_interval(stored)} stored"),
            ("passes", f"{found.info.passes:.3g} in {found.info.elapsed_s:.3g} s"),
        ]
    )


def _excess(certificate: Any) -> str:
    """How far the error is from the best of the rank."""
    import numpy as np

    from streamsvd.numerics.sentences import percent

    if not np.isfinite(certificate.excess):
        return "nothing proved of the best error"
    return f"at most {percent(certificate.excess)} above the best error"


def _interval(certificate: Any) -> str:
    from streamsvd.cli.present import at_least, at_most

    return f"[{at_least(certificate.sigma_lower[0], 7)}, {at_most(certificate.sigma_upper[0], 7)}]"
