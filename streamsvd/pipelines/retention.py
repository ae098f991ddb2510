"""Which results stay: the newest of every step, and whatever a link leads to."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

from streamsvd.pipelines.arguments import results_of, saves_of
from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.history import PublicationHistory, read_history, write_history
from streamsvd.pipelines.publishing import link_target
from streamsvd.pipelines.row_marks import marks_of
from streamsvd.store.explanations import explain_errors


def remove_old_results(pipeline: Pipeline, places: Mapping[str, Path]) -> None:
    """Take away results that are no longer kept, and saves that nothing goes on from; after a run that ended well.

    Of a step all but the newest go. Of a step that the file names no longer all go, as it is known that this pipeline made
    them. What a link leads to that this pipeline has made stays, whether or not the file names that link now.

    Parameters
    ----------
    pipeline
        What was run, and holds its lock.
    places
        Results by step.
    """
    history = read_history(pipeline.state, pipeline.name)
    before = set(history.steps)
    for step in pipeline.steps:
        history.step(step.name)
    needed = [*places.values(), *_led_to(pipeline, history)]
    for step in pipeline.steps:
        remove_old(results_of(pipeline, step), pipeline.keep, needed)
        if (
            step.name in places
        ):  # it is made: what it saved on the way, or for other options, is of no use
            shutil.rmtree(saves_of(pipeline, step), ignore_errors=True)
    for name in before - {step.name for step in pipeline.steps}:
        folder = pipeline.state / "results" / name
        remove_old(folder, 0, needed)
        shutil.rmtree(pipeline.state / "saves" / name, ignore_errors=True)
        marks_of(pipeline, name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a link leads to something in it
            folder.rmdir()
        if not folder.exists():
            del history.steps[name]
    if set(history.steps) != before:
        write_history(pipeline.state, pipeline.name, history)


def _led_to(pipeline: Pipeline, history: PublicationHistory) -> list[Path]:
    """Results that links of this pipeline lead to: those of the file, and those that it had before."""
    links = {publication.to for publication in pipeline.publications}
    links |= {link for step in history.steps.values() for link in step.links}
    targets = (link_target(pipeline.place(link)) for link in links)
    return [target for target in targets if target is not None]


def remove_old(folder: Path, keep: int, needed: Collection[Path]) -> list[Path]:
    """Take away all but the newest results of a step, and those that are needed; what went.

    A name with a dot is of no result: it was left by a run that was killed while it wrote, or took away.
    """
    if not folder.is_dir():
        return []
    found = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    results = [p for p in found if "." not in p.name]
    held = {place.resolve() for place in needed}
    gone = [
        place for place in results[: max(len(results) - keep, 0)] if place.resolve() not in held
    ]
    for left in found:
        if left not in results:
            shutil.rmtree(left, ignore_errors=True)
    for place in gone:
        with explain_errors(place):
            aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
            place.rename(aside)  # in one step: nobody finds half a result
            shutil.rmtree(aside)
    return gone
