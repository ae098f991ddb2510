"""What others read: a link that leads to a whole result, replaced in one step, and owned by one pipeline."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.history import read_history, write_history
from streamsvd.store.explanations import explain_errors, path_exists

LEFT = ".publishing-"
"""How the name begins of a link that is not in its place yet."""


def check_link(link: Path, state: Path) -> None:
    """Refuse a place that is no link of this pipeline.

    Raises
    ------
    StoreError
        If something else is there, or the link leads to results of another pipeline.
    """
    with explain_errors(link):
        is_link = link.is_symlink()
    if is_link:
        target = _target(link)
        if not target.is_relative_to(state.resolve()):
            raise StoreError(
                f"{link} leads to {target}, which is of another pipeline. Publish to another place, or take the link away."
            )
    elif path_exists(link, "write"):
        raise StoreError(
            f"{link} is there and no link: it will not be replaced. Publish to another place."
        )


def link_target(link: Path) -> Path | None:
    """Where a link leads; None where there is none, or what it led to is gone."""
    if not link.is_symlink():
        return None
    target = _target(link)
    return target if target.exists() else None


def _target(link: Path) -> Path:
    """Where a link leads, whether or not anything is there."""
    return Path(os.path.realpath(link.parent / link.readlink()))  # which bears links in a circle


def publish(link: Path, place: Path, state: Path) -> bool:
    """Let a link lead to a result, in one step; whether it led elsewhere before.

    A link that is not there yet is made where it will be, which succeeds once: of two pipelines that publish to one place the
    second is refused, however close they come.

    Parameters
    ----------
    link, place
        The link, and the result.
    state
        Of the pipeline that publishes: it replaces links into it, and no others.

    Raises
    ------
    StoreError
        If something else is there, or the link is another pipeline's.
    """
    is_ours = (
        link.is_symlink()
    )  # as it was before it was looked at whose it is: what comes later is not replaced
    check_link(link, state)
    if link_target(link) == place.resolve():
        return False
    with explain_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        _sweep(link, state)
        # Folders above either may be links themselves: what is relative to their names would lead nowhere.
        target = os.path.relpath(place.resolve(), link.parent.resolve())
        if not is_ours:
            try:
                link.symlink_to(target)
            except FileExistsError:
                check_link(link, state)  # it says whose it is
                raise
            return True
        fresh = link.with_name(f"{LEFT}{uuid.uuid4().hex}")
        fresh.symlink_to(target)
        try:
            fresh.replace(link)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    return True


def _sweep(link: Path, state: Path) -> None:
    """Take away what a run of this pipeline left that was killed before it put its link in place."""
    home = state.resolve()
    for path in link.parent.iterdir():
        is_left = path.name.startswith(LEFT) and path.is_symlink()
        if is_left and _target(path).is_relative_to(home):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def publish_results(
    pipeline: Pipeline, places: Mapping[str, Path], published: list[str]
) -> list[str]:
    """Let every link lead to the newest result of its step, unless that was taken back.

    Parameters
    ----------
    pipeline
        What is run, and holds its lock.
    places
        Results by step.
    published
        Receives every link that leads elsewhere now, as soon as it does.

    Returns
    -------
    notes
        A sentence for each result that was not published because it had been taken back.

    Notes
    -----
    What is about to be published is written down first: a kill between the two leaves links that the next run replaces.
    """
    history = read_history(pipeline.state, pipeline.name)
    notes, wanted = [], []
    for publication in pipeline.publications:
        link, place = pipeline.place(publication.to), places.get(publication.step)
        check_link(link, pipeline.state)
        if place is None:
            continue
        seen = history.step(publication.step)
        before = link_target(link)
        if place.name in seen.withdrawn:
            leads = "leads nowhere" if before is None else f"goes on leading to {before.name}"
            notes.append(
                f"{place.name} of {publication.step} was taken back and is not published: {link} {leads}. streamsvd publish "
                f"{pipeline.path.name} {publication.step} --to {place.name} publishes it after all."
            )
        elif before != place.resolve():
            if before is not None and before.name not in seen.published:
                seen.add(before.name, publication.to)
            seen.add(place.name, publication.to)
            wanted.append((link, place))
    if wanted:
        write_history(pipeline.state, pipeline.name, history)
    for link, place in wanted:
        if publish(link, place, pipeline.state):
            published.append(str(link))
    return notes
