"""One run over a collection from options to printed result: what ``cluster``, ``compress`` and ``rates`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from streamsvd.cli import options
from streamsvd.cli.app import report_checkpoint
from streamsvd.info import Info


class CollectionResult(Protocol):
    """What a verb of collections returns."""

    @property
    def info(self) -> Info:
        """How it came about."""
        ...


F = TypeVar("F", bound=CollectionResult)


def run_on_collection(
    verb: Callable[..., F],
    collection: str,
    *places: Any,
    show: Callable[[F], None],
    check: Callable[[Any], None] = lambda source: None,
    row_weights: Path | None,
    column_weights: dict[str, str] | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Run, print, and return the exit code.

    Parameters
    ----------
    verb, collection, places
        The verb, and what it takes by place: the collection, and what follows it.
    show
        Prints what was found; warnings are said before.
    check
        Refuses what cannot be once the collection is open, before it is read.
    row_weights, column_weights, scheduler, workers, as_json, quiet, given
        Options of the command line; those that are left go to the verb.
    """
    from streamsvd.cli.files import weight_arguments
    from streamsvd.cli.progress import watching
    from streamsvd.engine.schedulers import use_scheduler

    with use_scheduler(scheduler, workers):
        source = options.take_collection(collection, given)
        check(source)
        given |= weight_arguments(row_weights, column_weights)
        try:
            with watching(source.pass_bytes, quiet=quiet) as watch:
                found = verb(source, *places, callback=watch, **given)
        except KeyboardInterrupt as error:
            return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    for sentence in found.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(found)
    return 0
