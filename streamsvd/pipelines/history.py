"""What a pipeline has published, and what was taken back by hand: a file in its state, replaced in one step.

Runs read it: what was taken back is not published again by itself, whatever becomes of the records of runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streamsvd.errors import StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.objects import objects_at

FOLDER = "publications"


class StepHistory(msgspec.Struct, kw_only=True):
    """Of one step.

    Attributes
    ----------
    published
        Keys of the results that were published, the newest last, each once.
    withdrawn
        Keys of those that were taken back.
    links
        Where they were published to, as the file said.
    """

    published: list[str] = []
    withdrawn: list[str] = []
    links: list[str] = []

    def add(self, key: str, link: str) -> None:
        """A result is published at a link."""
        self.published = [*(k for k in self.published if k != key), key]
        if link not in self.links:
            self.links.append(link)

    def withdraw(self, key: str) -> None:
        """A result is taken back."""
        if key not in self.withdrawn:
            self.withdrawn.append(key)


class PublicationHistory(msgspec.Struct, kw_only=True):
    """Of all steps that a pipeline has made, by name; steps that its file names no longer, too."""

    steps: dict[str, StepHistory] = {}

    def step(self, name: str) -> StepHistory:
        """That of a step, which is there from now on."""
        return self.steps.setdefault(name, StepHistory())


def read_history(state: Path, name: str) -> PublicationHistory:
    """What a pipeline has published.

    Parameters
    ----------
    state, name
        Its folder, and its name.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    objects = objects_at(state)
    try:
        found: Any = objects.read(_key(name))
    except FileNotFoundError:
        return PublicationHistory()
    try:
        return msgspec.json.decode(found, type=PublicationHistory)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StoreError(
            f"{objects.name}/{_key(name)} does not say what was published and taken back: {error}. Restore it, or take it away: "
            "then nothing counts as taken back."
        ) from error


def write_history(state: Path, name: str, history: PublicationHistory) -> None:
    """Keep what a pipeline has published; when this returns, it survives a power cut."""
    objects = objects_at(state)
    with explain_errors(objects.name, "what was published before stays."):
        objects.replace(_key(name), msgspec.json.encode(history, order="sorted"))


def _key(name: str) -> str:
    return f"{FOLDER}/{name}.json"
