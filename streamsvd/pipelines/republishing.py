"""Results that are kept, and one of them published by hand: the one before, or one by its key."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import streamsvd
from streamsvd.errors import SpecError, StoreError, StreamSVDError
from streamsvd.pipelines.arguments import results_of
from streamsvd.pipelines.description import Pipeline, PublicationDescription, Step
from streamsvd.pipelines.findings import require_sound
from streamsvd.pipelines.history import StepHistory, read_history, write_history
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.publishing import check_link, link_target, publish
from streamsvd.pipelines.records import PipelineRecord, RunLog, Status
from streamsvd.store.results.loading import load


@dataclass(frozen=True, slots=True)
class KeptResult:
    """A result of a step that is published, or can be.

    Attributes
    ----------
    step, key
        The step, and the name of the result.
    place
        Where it is.
    time
        When it was made, in UTC, as ISO 8601.
    publication
        ``"now"``, ``"before"``, ``"taken back"``, or ``"never"``.
    """

    step: str
    key: str
    place: Path
    time: str
    publication: str


def list_results(pipeline: Pipeline) -> list[KeptResult]:
    """The results that are kept of every step that is published, the oldest first."""
    history = read_history(pipeline.state, pipeline.name)
    found = []
    names = dict.fromkeys(publication.step for publication in pipeline.publications)
    for step in (s for s in pipeline.steps if s.name in names):
        seen = history.steps.get(step.name, StepHistory())
        now = {_key_at(pipeline, publication) for publication in _publications(pipeline, step.name)}
        for place, time_ns in _results(pipeline, step).items():
            changed = datetime.fromtimestamp(time_ns // 10**9, UTC)
            found.append(
                KeptResult(
                    step.name, place.name, place, changed.isoformat(timespec="seconds"),
                    _publication(place.name, now, seen),
                )
            )  # fmt: skip
    return found


def _publication(key: str, now: set[str], seen: StepHistory) -> str:
    if key in now:
        return "now"
    if key in seen.withdrawn:
        return "taken back"
    return "before" if key in seen.published else "never"


def republish(pipeline: Pipeline, name: str = "", key: str = "") -> PipelineRecord:
    """Let the links of a step lead to a result that is kept: the one that was published before, or one by its key.

    What was published until then counts as taken back: no run publishes it by itself, until it is published by its key again.
    Not so where a result is published that is newer, or had been taken back itself.

    Parameters
    ----------
    pipeline
        As its file describes it.
    name
        The step; it may be left out where one alone is published.
    key
        Of the result, or as much of it as no other begins with; the one that was published before if left out.

    Returns
    -------
    record
        What was done; it is kept among the records of runs.

    Raises
    ------
    ConflictError
        If a run is going on.
    SpecError
        If the step is not published, or several are and none is named.
    StoreError
        If there is no such result, or the place of a link is another's.
    """
    step = _step(pipeline, name)
    with run_lock(pipeline.state):
        log, started = RunLog(pipeline.state), _now()
        history = read_history(pipeline.state, pipeline.name)
        seen = history.step(step.name)
        publications = _publications(pipeline, step.name)
        for publication in publications:
            check_link(pipeline.place(publication.to), pipeline.state)
        current = next(filter(None, (_key_at(pipeline, p) for p in publications)), "")
        place = _by_key(pipeline, step, key) if key else _before(pipeline, step, seen, current)
        try:
            require_sound(load(place), place)
        except StreamSVDError as error:
            raise StoreError(f"{place.name} of {step.name} is not published: {error}") from error
        number = log.begin(pipeline.name, started, streamsvd.__version__, "publish")
        notes = _change_history(seen, place.name, current, publications)
        published: list[str] = []
        status: Status = "failed"
        fault = ""
        try:
            write_history(pipeline.state, pipeline.name, history)
            for publication in publications:
                link = pipeline.place(publication.to)
                if publish(link, place, pipeline.state):
                    published.append(str(link))
            status = "done" if published else "unchanged"
        except BaseException as stop:
            status = "failed" if isinstance(stop, Exception) else "interrupted"
            why = str(stop) or type(stop).__name__
            fault = f"not all links of {step.name} were changed, publish again: {why}"
            raise
        finally:
            record = PipelineRecord(
                pipeline=pipeline.name, number=number, status=status, started=started, ended=_now(),
                streamsvd=streamsvd.__version__, published=tuple(published), command="publish", error=fault,
                notes=() if fault else tuple(notes),
            )  # fmt: skip
            log.end(record)
    return record


def _change_history(
    seen: StepHistory, key: str, current: str, publications: list[PublicationDescription]
) -> list[str]:
    """Write down what is published by hand; what is to be said of it."""
    name = publications[0].step
    notes = []
    goes_back = key in seen.published and key not in seen.withdrawn
    if current and current not in seen.published:
        seen.add(current, publications[0].to)
    if goes_back and current not in ("", key):
        seen.withdraw(current)
        notes.append(f"{current} of {name} was taken back: no run publishes it by itself.")
    if key not in seen.published:
        notes.append(f"{key} of {name} was never published before: its checks may not have passed.")
    seen.withdrawn = [other for other in seen.withdrawn if other != key]
    for publication in publications:
        seen.add(key, publication.to)
    return [*notes, f"{key} of {name} is published."]


def _step(pipeline: Pipeline, name: str) -> Step:
    """The step that is meant."""
    names = list(dict.fromkeys(publication.step for publication in pipeline.publications))
    if not names:
        raise SpecError(
            f"{pipeline.path.name} publishes nothing. Write [[publish]] with a step and a place."
        )
    if not name and len(names) > 1:
        raise SpecError(
            f"{pipeline.path.name} publishes {len(names)} steps. Name one of {', '.join(names)}."
        )
    wanted = name or names[0]
    if wanted not in names:
        raise SpecError(
            f"step {wanted!r} is not published by {pipeline.path.name}. Published are {', '.join(names)}."
        )
    return next(step for step in pipeline.steps if step.name == wanted)


def _publications(pipeline: Pipeline, name: str) -> list[PublicationDescription]:
    return [publication for publication in pipeline.publications if publication.step == name]


def _key_at(pipeline: Pipeline, publication: PublicationDescription) -> str:
    """Key of the result that a link leads to; empty where it leads nowhere."""
    target = link_target(pipeline.place(publication.to))
    return "" if target is None else target.name


def _results(pipeline: Pipeline, step: Step) -> dict[Path, int]:
    """What is kept of a step, and when it was made, in nanoseconds since the epoch; the oldest first."""
    folder = results_of(pipeline, step)
    found: dict[Path, int] = {}
    for place in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # a run takes old ones away meanwhile
            if "." not in place.name:
                found[place] = place.stat().st_mtime_ns
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _by_key(pipeline: Pipeline, step: Step, key: str) -> Path:
    """The result of this key."""
    places = _results(pipeline, step)
    found = [p for p in places if p.name == key] or [p for p in places if p.name.startswith(key)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(place.name for place in places) or "none"
    said = "no result" if not found else f"{len(found)} results"
    raise StoreError(
        f"{said} of {step.name} of the key {key} in {results_of(pipeline, step)}. Kept are {there}."
    )


def _before(pipeline: Pipeline, step: Step, seen: StepHistory, current: str) -> Path:
    """The result that was published before the one that is now, and was not taken back."""
    keys = seen.published
    # One that is taken back and still published is of a command that was killed: what it was to publish comes after it.
    is_known = current in keys and current not in seen.withdrawn
    earlier = keys[: keys.index(current)] if is_known else keys
    kept = {place.name: place for place in _results(pipeline, step)}
    for key in reversed(earlier):
        if key in kept and key not in seen.withdrawn and key != current:
            return kept[key]
    raise StoreError(
        f"no result of {step.name} is kept that was published before. keep = {pipeline.keep} results stay; streamsvd publish "
        f"{pipeline.path.name} lists what there is."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
