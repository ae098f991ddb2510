"""One factorisation from options to printed result: what ``svd`` and ``pca`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from streamsvd.cli.app import INTERRUPTED, NOT_CONVERGED, StopHandler, report_checkpoint
from streamsvd.cli.files import check_result_place
from streamsvd.cli.present import result_record, show_json, show_result
from streamsvd.cli.progress import watching
from streamsvd.cli.sources import fit_note, fit_source, open_source, option_weights
from streamsvd.cli.wording import in_options
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.errors import NotConverged, SpecError
from streamsvd.factor.pca import pca
from streamsvd.factor.plan import Plan
from streamsvd.factor.result import PCA, SVD
from streamsvd.factor.svd import plan_svd, svd
from streamsvd.numerics.scalings import plain_scale
from streamsvd.store.writing.files import array_in


def factorise(
    source: str,
    *,
    principal: bool,
    variable: str | None,
    rows: Any,
    missing: str,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    u: bool,
    out: Path | None,
    overwrite: bool,
    seed: int,
    delta: float,
    save_seconds: float,
    **given: Any,
) -> int:
    """Run, print, and return the exit code."""
    if u and out is None:
        raise click.UsageError("--u writes the left factor to disk; say where with --out PATH.")
    with use_scheduler(scheduler, workers):
        A = open_source(source, variable, rows, missing, weighs=False)
        given = option_weights(A, matrix_arguments(given)) | {"u": u, "out": out}
        center = given.pop("center", True)
        plan = plan_svd(A, center=center, **given)
        run = {name: given[name] for name in given if name != "memory"}
        run |= {"overwrite": overwrite, "seed": seed, "delta": delta, "plan": plan}
        run["save_seconds"] = save_seconds
        result: SVD | PCA
        if fit_note(A, given["memory"]):  # a pass comes before the verb looks at its place
            check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
        try:
            with watching(round(plan.passes * plan.nbytes), quiet=quiet) as watch:
                A = fit_source(A, given["memory"], watch)
                if principal:
                    result = pca(A, **run, callback=watch)
                else:
                    result = svd(A, center=center, **run, callback=watch)
        except NotConverged as error:
            partial = error.result
            assert isinstance(partial, SVD | PCA)
            _print_outcome(
                in_options(error.message).partition(" The result so far")[0],
                out,
                "the partial result is",
            )
            show(partial, plan, out, as_json=as_json)
            return NOT_CONVERGED
        except KeyboardInterrupt as error:
            click.get_current_context().ensure_object(StopHandler).ignores_signals = True
            if watch.tally.result_path is None or out is None:
                return report_checkpoint(error, given["checkpoint"], as_json=as_json)
            from streamsvd.store.results.reader import read_result

            kept = read_result(out)
            _print_outcome("interrupted", out, "the result of the last whole pass is")
            show(kept, plan, out, as_json=as_json)
            return INTERRUPTED
    show(result, plan, out, as_json=as_json)
    return 0


def show(result: SVD | PCA, plan: Plan, out: Path | None, *, as_json: bool) -> None:
    """The result on stdout, what it warns of on stderr."""
    for sentence in result.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    if as_json:
        show_json("pca" if isinstance(result, PCA) else "svd", result_record(result, plan, out))
    else:
        show_result(result, plan, out)


def matrix_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a verb: weights of rows in place of the file that holds them, and one scale of the two options that say it.

    Raises
    ------
    SpecError
        If a file holds no array of numbers.
    """
    loaded: dict[str, Any] = {}
    scaling = given.pop("scaling", None)
    if scaling is not None:
        loaded["scale"] = plain_scale(scaling)
    path = given.get("row_weights")
    if path is None:
        return given | loaded
    try:
        loaded["row_weights"] = array_in(path, "row_weights").astype(np.float64)
    except (ValueError, TypeError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(
            f"row_weights={path} is no .npy file of numbers: {error}. Write it with numpy.save."
        ) from error
    return given | loaded


def _print_outcome(message: str, out: Path | None, what: str) -> None:
    where = (
        f"; {what} in {out}." if out is not None else "; nothing was written as there was no --out."
    )
    click.echo(f"streamsvd: {message.rstrip('.')}{where}", err=True)
