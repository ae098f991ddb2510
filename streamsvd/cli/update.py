"""``streamsvd update``: new rows or columns into a model, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options
from streamsvd.cli.app import INTERRUPTED, StopHandler

if TYPE_CHECKING:
    from streamsvd.engine.events import Callback
    from streamsvd.models import Model, UpdateReport


@click.command("update", short_help="Absorb new rows into a model, exactly once.")
@click.argument("model", callback=options.output_place)
@options.source
@click.option(
    "--block-id", metavar="ID", help="SOURCE is one block: it enters once under this name."
)
@options.growth
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    model: str,
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Absorb what is new in SOURCE into MODEL, which is created on first use.

    Without --block-id, SOURCE is an array that grows: the rows beyond those absorbed are taken.
    """
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_for_model, require_reference
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import StoreError
    from streamsvd.models import Model

    require_reference("SOURCE", None)
    A, given = open_for_model(model, given, source, variable, rows, missing)
    try:
        with use_scheduler(scheduler, workers), watching(A.nbytes, quiet=quiet) as watch:
            done = absorb(model, fit_source(A, given["memory"], watch), watch, **given)
    except KeyboardInterrupt as interrupt:
        click.get_current_context().ensure_object(StopHandler).ignores_signals = True
        try:
            kept = Model.open(model)
        except StoreError:  # there is none yet
            raise interrupt from None
        facts = facts_of_interrupt(kept, watch.tally.n_written)
        came = f", of which {facts['absorbed']:,} are new" if facts["absorbed"] else ", as before"
        click.echo(
            f"streamsvd: interrupted; {model} holds {kept.n_rows:,} {kept.spec.axis} in version {kept.version}{came}, and "
            "the same command goes on from there.",
            err=True,
        )
        show(kept, facts, as_json=as_json)
        return INTERRUPTED
    show(Model.open(model), facts_of(done), as_json=as_json)
    return 0


def absorb(model: str, A: Any, watch: Callback, **given: Any) -> UpdateReport:
    """One update with the options of the command line."""
    from streamsvd.models import update

    wanted = {name: value for name, value in given.items() if value is not None}
    return update(model, A, callback=watch, **wanted)


def facts_of(done: UpdateReport) -> dict[str, Any]:
    """What an update did, as JSON has it."""
    return {
        "status": "skipped" if done.skip_reason else "absorbed",
        "version": done.version,
        "absorbed": done.n_absorbed,
        "skipped": done.skip_reason,
        "versions": done.versions,
        "n_rows": done.n_rows,
    }


def facts_of_interrupt(kept: Model, n_versions: int) -> dict[str, Any]:
    """What an update had done when it was interrupted; its versions are the last so many."""
    own = kept.versions[-n_versions:] if n_versions else []
    return {
        "status": "interrupted",
        "version": kept.version,
        "absorbed": sum(entry.summary.rows for entry in own),
        "skipped": "interrupted",
        "versions": n_versions,
        "n_rows": kept.n_rows,
    }


def show(model: Model, facts: dict[str, Any], *, as_json: bool) -> None:
    """What an update did, on stdout."""
    from streamsvd.cli.present import print_facts, show_json
    from streamsvd.numerics.sentences import describe_error, describe_values, describe_vectors

    what = model.spec.axis
    record = facts | {"n_rows_held": model.n_rows_held}
    n_rows = facts["n_rows"]
    reason = {
        "known": "this block is in the model already",
        "nothing new": f"no new {what}",
        "nonfinite": f"missing values: none of the {what} was absorbed",
        "interrupted": f"interrupted, {n_rows:,} {what} are in the model",
    }
    text = reason.get(facts["skipped"], f"{facts['absorbed']:,} {what} absorbed, {n_rows:,} in all")
    if model.spec.window is not None:
        text += f", {model.n_rows_held:,} held by the window"
    if model.n_rows:  # or there is nothing yet to show of it
        record |= _model_record(model)
    if as_json:
        show_json("update", record)
        return
    click.echo(f"version {facts['version']}: {text}")
    if not model.n_rows:
        return
    c = model.certificate
    print_facts(
        [
            (
                "values",
                f"{model.s[0]:.6g} .. {model.s[-1]:.6g}, {model.s.size} of them"
                if model.s.size
                else "none",
            ),
            (
                "error",
                f"||A - U s Vh||_F <= {c.frobenius_error:.6g}, {c.captured:.4%} of the energy is held",
            ),
            ("best", describe_error(c)),
            ("resolved", describe_values(c) if model.s.size else ""),
            ("vectors", describe_vectors(c)),
            ("drift", drift_line(drift_of(model))),
            ("advice", model.advice),
        ]
    )


def _model_record(model: Model) -> dict[str, Any]:
    """What a model holds and proves."""
    from streamsvd.cli.present import certificate_record

    c = model.certificate
    return {
        "rank": int(model.s.size),
        "singular_values": model.s,
        "frobenius_error": c.frobenius_error,
        "optimal_error_lower": model.optimal_error_lower,
        "excess": c.excess,
        "resolved": int(c.resolved.sum()),
        "groups": len(c.groups),
        "certificate": certificate_record(c),
        "drift": drift_of(model),
        "advice": model.advice,
    }


def drift_of(model: Model) -> dict[str, Any]:
    """How well the basis held the newest block before it came, and how far it turned."""
    if model.version == 0:  # a batch result that nothing was added to
        return {"captured": None, "largest_angle": 0.0, "angles": []}
    summary = model.summary
    largest = max(summary.angles, default=0.0)
    return {"captured": summary.captured, "largest_angle": largest, "angles": summary.angles}


def drift_line(drift: dict[str, Any]) -> str:
    """The same in words; empty for a first version."""
    if drift["captured"] is None:
        return ""
    return (
        f"the basis held {drift['captured']:.2%} of the new energy before, "
        f"and turned by {drift['largest_angle']:.2g} rad at most"
    )
