"""How a result is made again: the command, what was asked, and the release."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from streamsvd import __version__
from streamsvd.numerics.step_records import RowStepRecord
from streamsvd.report.parts import Cell, Section, Table
from streamsvd.store.results.values import is_array
from streamsvd.verbs import VERBS

PLACES = frozenset({"out", "checkpoint", "overwrite"})
"""Options that say where, not what."""
OUT = frozenset(
    (
        "svd", "pca", "cells", "rotate", "top_eigenvectors", "nystrom", "kernel_ridge", "sample_rows", "lstsq", "embed", "eigenvectors",
    )
)  # fmt: skip
"""Verbs whose command keeps its result."""
NO_RELEASE = ("release that made it", f"it is not kept; this page was made by {__version__}")
SOURCE = "SOURCE"
"""In the place of a matrix whose name a result does not know."""


def option_words(options: Any, left_out: Iterable[str] = ()) -> list[str]:
    """The options of a command that differ from their defaults.

    An array stands for the file that it was in.
    """
    words: list[str] = []
    for f in fields(options) if is_dataclass(options) else ():
        value = getattr(options, f.name)
        if f.name in PLACES or f.name in left_out or value is None or _is_default(value, f.default):
            continue
        flag = f"--{f.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif is_array(value):
            words += [flag, f"{f.name.upper()}.npy"]
        elif isinstance(value, tuple | list):
            words += [flag, ",".join(str(part) for part in value)]
        else:
            words += [flag, str(value)]
    return words


def _is_default(value: Any, default: Any) -> bool:
    return default is not MISSING and not is_array(value) and bool(value == default)


def command_line(
    verb: str, source: str, options: Any, *, nonfinite: str = "raise", after: Iterable[str] = ()
) -> str:
    """The command that does the same again.

    Parameters
    ----------
    verb, source
        The verb, and what it reads; `SOURCE` where nobody knows.
    options
        The record of what was asked.
    nonfinite
        What a missing value was, where the record of the options does not say it.
    after
        Words behind everything.
    """
    command = (
        VERBS[verb].command if verb in VERBS else verb
    )  # those that read no matrix are not listed
    words = ["streamsvd", *command.split(), source or SOURCE]
    words += option_words(options, ("center",) if verb == "pca" else ())
    if nonfinite != "raise" and not hasattr(options, "nonfinite"):
        words += ["--nonfinite", nonfinite]
    words += [*after, *(("--out", "again") if verb in OUT else ())]
    return shlex.join(words)


def steps_text(records: Sequence[RowStepRecord]) -> str:
    """Steps of rows as they are written, with what they counted."""
    return ", ".join(record.text for record in records)


def step_words(records: Sequence[RowStepRecord]) -> list[str]:
    """The option that asks for steps of rows; of those that know of each column, that they count it again."""
    texts = [record.text for record in records]
    return ["--steps", ",".join(texts)] if texts else []


def options_table(options: Any) -> list[Table]:
    """What was asked, and what it would have been otherwise."""
    if not is_dataclass(options):
        return []
    rows = []
    for f in fields(options):
        value = getattr(options, f.name)
        default = "–" if f.default is MISSING else show_option(f.default)
        text = show_option(value)
        rows.append(
            [
                Cell(f.name),
                Cell(text),
                Cell(default),
                Cell("default" if text == default else "asked"),
            ]
        )
    return [Table("Options", ["option", "value", "default", "which"], rows)]


def show_option(value: Any) -> str:
    """A value in a table; of an array its shape."""
    if is_array(value):
        return f"array of shape {' × '.join(map(str, value.shape))}, {value.dtype}"
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return ", ".join(show_option(part) for part in value)
    return str(value)


def reproduce_section(
    command: str, *, options: Any, release: str, seed: int | None, texts: Iterable[str] = ()
) -> Section:
    """The last section of a page."""
    facts = [("release that made it", release or "not known")]
    if seed is not None:
        facts.append(("seed", str(seed)))
    said = list(texts)
    if SOURCE in shlex.split(command):
        said.append(
            f"The result does not say where its matrix lies: write that in the place of {SOURCE}."
        )
    if ".npy" in command:
        said.append(
            "Arrays that were passed stand as files of their names; their values are those of the options."
        )
    return Section("How to make it again", said, facts, (), options_table(options), [command])
