"""Which files are served: those of a folder that have a schedule, taken up as they come, change and go."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streamsvd.errors import DescriptionError, SpecError, StoreError, StreamSVDError
from streamsvd.pipelines.description import Pipeline, read_pipeline
from streamsvd.pipelines.timetable import Timetable, read_timetable
from streamsvd.store.explanations import explain_errors, path_exists

Mark = tuple[int, int, int]
"""Time, size and number of a file: by it a file that is another is seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A pipeline that is to be served.

    Attributes
    ----------
    file, pipeline, timetable
        Its file, what that says, and its times.
    settings
        What replaces words of the file.
    """

    file: Path
    pipeline: Pipeline
    timetable: Timetable
    settings: tuple[str, ...] = ()


@dataclass(slots=True)
class Look:
    """What one look at the files found.

    Attributes
    ----------
    offers
        All pipelines that are to be served, by their files.
    faults
        Files that cannot be served, and why; each fault is here once, when it is first seen.
    """

    offers: dict[Path, Offer] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)


class Offers(Protocol):
    """Where pipelines to serve come from."""

    def first(self) -> Look:
        """What was found at the beginning."""
        ...

    def look(self) -> Look:
        """What is there now."""
        ...


class FileOffer:
    """One file, with a schedule that may be given beside it.

    Parameters
    ----------
    file, settings
        As `streamsvd.pipelines.description.read_pipeline` takes them.

    Raises
    ------
    DescriptionError
        If it is no pipeline, or has no schedule.
    """

    def __init__(self, file: Path, settings: Sequence[str]) -> None:
        self._file, self._settings = file, tuple(settings)
        self._last = self._read()
        self._mark = _mark_of(file)

    def first(self) -> Look:
        """The file as it was."""
        return Look({self._file: self._last})

    def look(self) -> Look:
        """The file as it is now; while it is broken, as it was."""
        found, mark = Look(), _mark_of(self._file)
        if mark != self._mark:
            self._mark = mark
            try:
                self._last = self._read()
            except StreamSVDError as error:
                found.faults[self._file] = f"{error} The last version that was right goes on."
        found.offers[self._file] = self._last
        return found

    def _read(self) -> Offer:
        return _offer(self._file, self._settings)


class FolderOffers:
    """All files ``*.toml`` of a folder that have a schedule.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    StoreError
        If it is no folder, or no file in it has a schedule that can be served.
    DescriptionError
        If two files have the same name of a pipeline, or the same state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._marks: dict[Path, Mark | None] = {}
        self._read: dict[Path, Offer] = {}
        self._clashes: dict[Path, str] = {}
        if not path_exists(folder):
            raise StoreError(f"{folder} does not exist. Pass a folder of pipelines.")
        if not folder.is_dir():
            raise StoreError(
                f"{folder} is no folder. Pass the folder that it lies in, or run it by: streamsvd run {folder} --cron '0 3 * * *'"
            )
        self._first = self.look()
        if self._clashes:
            raise DescriptionError(next(iter(self._clashes.values())))
        if not self._first.offers and not self._first.faults:
            raise StoreError(
                f"{folder} has no file *.toml with a schedule. Write schedule = '0 3 * * *' into one, above its tables."
            )
        if not self._first.offers:
            said = "; ".join(self._first.faults.values())
            raise DescriptionError(f"no file of {folder} can be served: {said}")

    def first(self) -> Look:
        """What was found at the beginning, with its faults."""
        return self._first

    def look(self) -> Look:
        """What is there now. A file that breaks is not served until it is mended."""
        faults: dict[Path, str] = {}
        with explain_errors(self.folder, doing="list"):
            files = sorted(p for p in self.folder.glob("*.toml") if not p.name.startswith("."))
        for file in set(self._marks) - set(files):
            for table in (self._marks, self._read, self._clashes):
                table.pop(file, None)
        for file in files:
            mark = _mark_of(file)
            if file in self._marks and self._marks[file] == mark:
                continue
            self._marks[file] = mark
            self._read.pop(file, None)
            try:
                if _has_schedule(file):
                    self._read[file] = _offer(file, ())
            except StreamSVDError as error:
                faults[file] = str(error)
        offers: dict[Path, Offer] = {}
        for file in (file for file in files if file in self._read):
            if clash := _clash(self._read[file], offers.values()):
                if self._clashes.get(file) != clash:
                    faults[file] = clash
                self._clashes[file] = clash
            else:
                self._clashes.pop(file, None)
                offers[file] = self._read[file]
        return Look(offers, faults)


def _clash(offer: Offer, others: Iterable[Offer]) -> str:
    """Why a pipeline cannot be served beside others; empty where it can."""
    mine = offer.pipeline
    for other in others:
        its = other.pipeline
        if its.name == mine.name:
            return (
                f"{offer.file} and {other.file} both describe a pipeline of the name {mine.name!r}. Write another name = '...' into "
                "one of them."
            )
        if os.path.realpath(its.state) == os.path.realpath(mine.state):
            return f"{offer.file} and {other.file} both keep their runs in {mine.state}. Write another state = '...' into one of them."
    return ""


def _mark_of(file: Path) -> Mark | None:
    """By what a file that changed is seen; None where none is to be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _has_schedule(file: Path) -> bool:
    """Whether a file says when it is run; others, pipelines or not, are none of ours."""
    try:
        return "schedule" in tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # who reads it for good says what is wrong


def _offer(file: Path, settings: tuple[str, ...]) -> Offer:
    """The pipeline of a file, with its times."""
    pipeline = read_pipeline(file, settings)
    timing = pipeline.timing
    if timing.schedule is None:
        raise SpecError(
            f"{file} has no schedule. Write schedule = '0 3 * * *' into it, or pass cron='0 3 * * *'."
        )
    try:
        timetable = read_timetable(timing.schedule, timing.timezone)
    except DescriptionError as error:
        raise DescriptionError(f"{file}: {error}") from error
    return Offer(file, pipeline, timetable, settings)
