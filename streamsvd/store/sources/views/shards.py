"""Which sources make up a matrix: a list of them, a pattern of names, or the files of a folder, in the natural order of names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.foreign import FOREIGN_SUFFIXES
from streamsvd.checks.paths import is_url, local_path
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.sources.kinds import KINDS, ZARR_METADATA

MAGIC = "*?["
"""Signs that make a text a pattern of names."""
OWN_RECORDS = ("model.json", "collection.json")
ZARR_TITLE, FOLDER = "zarr", "a folder"


@dataclass(frozen=True, eq=False)
class ShardList:
    """The parts of a matrix.

    Attributes
    ----------
    folder
        That names are relative to; None where some are no local files.
    names
        Of files; where there is no folder, URLs and objects too.
    remarks
        What was left out.
    name
        How messages call all of it; empty where it has no name of its own.
    """

    folder: Path | None
    names: tuple[Any, ...]
    remarks: tuple[str, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        name = self.names[index]
        return name if self.folder is None else self.folder / name

    @property
    def originals(self) -> list[Any]:
        """What it is read from: of files in one folder that folder."""
        if self.folder is None:
            return list(self.names)
        return [self.folder] if len(self.names) > 1 else [self[0]]


def shard_list(source: Any) -> ShardList:
    """The parts that a list, a pattern or a folder stands for.

    Raises
    ------
    ShapeError
        If there are none.
    SpecError
        If an entry of a list is a number.
    StoreError
        If a folder holds several kinds of files.
    """
    if isinstance(source, FilePattern):
        return source.shards
    return folder_shards(source) if isinstance(source, Path) else _given_shards(source)


def _given_shards(given: Sequence[Any]) -> ShardList:
    if not given:
        raise ShapeError(
            f"an empty {type(given).__name__} has no rows. Pass the sources that are to be stacked."
        )
    names = []
    for index, value in enumerate(given):
        if isinstance(value, int | float | complex | np.generic | list | tuple):
            raise SpecError(
                f"entry {index} of the {type(given).__name__} is {type(value).__name__}, and sources are stacked. Of numbers, pass "
                "numpy.asarray(x)."
            )
        if type(value).__module__.partition(".")[0] == "dask":
            raise SpecError(
                f"entry {index} of the {type(given).__name__} is an array of dask. Pass dask.array.concatenate(x)."
            )
        plain = isinstance(value, str | os.PathLike) and not is_url(value)
        names.append(local_path(value, f"entry {index}").absolute() if plain else value)
    if not all(isinstance(name, Path) for name in names):
        return ShardList(None, tuple(names))
    folder = names[0].parent
    while not all(name.is_relative_to(folder) for name in names):
        folder = folder.parent
    return ShardList(folder, tuple(str(name.relative_to(folder)) for name in names))


@dataclass(frozen=True)
class FilePattern:
    """A pattern of names, such as ``shards/*.npy``: the files that have them, without hidden ones."""

    path: Path

    @property
    def shards(self) -> ShardList:
        """The files, in natural order.

        Raises
        ------
        StoreError
            If there are none.
        """
        folder = self.path.parent
        while is_pattern(folder):
            folder = folder.parent
        with explain_errors(folder, doing="read"):
            matching = folder.glob(str(self.path.relative_to(folder)))
            paths = [path.relative_to(folder) for path in matching]
        found = [str(path) for path in paths if not _is_hidden(path)]
        if not found:
            raise StoreError(
                f"no file matches {self.path}. Check the pattern, and the folder that it begins with."
            )
        return ShardList(folder, tuple(sorted(found, key=natural_order)), (), str(self.path))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def is_pattern(path: Path) -> bool:
    """Whether the text of a path has signs of a pattern."""
    return any(sign in str(path) for sign in MAGIC)


def is_shard_folder(path: Path) -> bool:
    """Whether a folder is none of zarr, nor a record made here, and holds a file that is a matrix of its own."""
    if not path.is_dir() or any(
        os.path.lexists(path / name) for name in (*ZARR_METADATA, *OWN_RECORDS)
    ):
        return False
    try:
        return any(kind and not kind.startswith(FOLDER) for _, kind in _entries(path))
    except OSError:
        return False


def folder_shards(folder: Path) -> ShardList:
    """The files of one kind in a folder, in natural order; hidden ones and records of writers are left out.

    Raises
    ------
    StoreError
        If it holds files of another kind too; it names one of each.
    """
    with explain_errors(folder, doing="read"):
        entries = sorted(_entries(folder), key=lambda entry: natural_order(entry[0]))
    chosen: list[str] = []
    rest: list[str] = []
    title = ""
    for name, kind in entries:
        if not kind:
            rest.append(name)
            continue
        if title and kind != title:
            raise StoreError(
                f"{folder} holds {chosen[0]} and {name}, which are not of one kind. Choose some by a pattern, such as "
                f"'{folder}/*{(folder / chosen[0]).suffix}'."
            )
        title = kind
        chosen.append(name)
    return ShardList(folder, tuple(chosen), _remarks(folder, rest), str(folder))


def _remarks(folder: Path, rest: Sequence[str]) -> tuple[str, ...]:
    if not rest:
        return ()
    most = ", ".join(rest[:5]) + (f" and {len(rest) - 5:,} more" if len(rest) > 5 else "")
    return (f"{folder} holds files that are no matrices and are left out: {most}.",)


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Names in a folder, each with its kind; an empty one for what is left out."""
    for path in folder.iterdir():
        yield path.name, _kind_title(path)


def _kind_title(path: Path) -> str:
    """What a file is; empty where that is no matrix."""
    if path.name.startswith((".", "_")):
        return ""
    name = path.name.lower()
    for kind in KINDS:
        if kind.suffixes and name.endswith(kind.suffixes) and not path.is_dir():
            return ZARR_TITLE if ".zip" in kind.suffixes else kind.title
    if path.is_dir():
        inside = any((path / name).exists() for name in ZARR_METADATA)
        return ZARR_TITLE if inside else f"{FOLDER} {path.name}"
    suffix = path.suffix.lower()
    return f"a file {suffix}" if suffix in DATA_SUFFIXES else ""


DATA_SUFFIXES = {suffix for suffix in FOREIGN_SUFFIXES if suffix not in (".txt", ".dat")}
"""Ends of names of data that are not read: such a file is not left out without a word."""


def natural_order(name: str) -> list[tuple[int, str]]:
    """A key by which ``part-2`` comes before ``part-10``."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
