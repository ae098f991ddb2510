"""What others read: a link that leads to a whole result, replaced in one step; and which results are kept."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from streamsvd.errors import StoreError
from streamsvd.store.explanations import explain_errors, path_exists


def check_link(link: Path, state: Path) -> None:
    """Refuse a place that is no link of this pipeline.

    Raises
    ------
    StoreError
        If something else is there, or the link leads to results of another pipeline.
    """
    if link.is_symlink():
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


def publish(link: Path, place: Path) -> bool:
    """Let a link lead to a result, in one step; whether it led elsewhere before."""
    before = link_target(link)
    if before == place.resolve():
        return False
    with explain_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)  # of a run that was killed between the two steps
        # Folders above either may be links themselves: what is relative to their names would lead nowhere.
        fresh.symlink_to(os.path.relpath(place.resolve(), link.parent.resolve()))
        try:
            fresh.replace(link)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    return True


def remove_old(folder: Path, keep: int, needed: Collection[Path]) -> list[Path]:
    """Take away all but the newest results of a step, and those that are needed; what went.

    A name with a dot is of no result: it was left by a run that was killed while it wrote, or took away.
    """
    if not folder.is_dir():
        return []
    found = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    results = [p for p in found if "." not in p.name]
    held = {place.resolve() for place in needed}
    gone = [place for place in results[:-keep] if place.resolve() not in held]
    for left in found:
        if left not in results:
            shutil.rmtree(left, ignore_errors=True)
    for place in gone:
        with explain_errors(place):
            aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
            place.rename(aside)  # in one step: nobody finds half a result
            shutil.rmtree(aside)
    return gone
