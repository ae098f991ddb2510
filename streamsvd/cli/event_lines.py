"""Events of runs as lines on stderr: a sentence for people, or a JSON object for programs."""

from __future__ import annotations

import io
import json
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

import click

from streamsvd.pipelines.journal import Journal, JournalEntry, ignore_entry
from streamsvd.store.results.values import plain_json


class JsonStream(io.TextIOBase):
    """A stderr whose every line is a JSON object: events as they are told, and what else is said as messages.

    Parameters
    ----------
    plain
        The stream behind it.
    """

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain
        self._begun = ""
        self._lock = threading.RLock()

    def write(self, text: str, /) -> int:
        """Lines that are no events: each becomes one, as soon as it is whole."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if said := line.removeprefix("streamsvd: ").strip():
                    self.take(JournalEntry("message", "", said))
        return len(text)

    def flush(self) -> None:
        """What is whole is on its way."""
        self.plain.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def take(self, entry: JournalEntry) -> None:
        """One event, one line."""
        line = {
            "time": _now(), "level": entry.level, "event": entry.event, "pipeline": entry.pipeline, "text": entry.text,
            **entry.facts,
        }  # fmt: skip
        with self._lock:
            self.plain.write(json.dumps(plain_json(line), allow_nan=False) + "\n")
            self.plain.flush()


def log_format(choice: str) -> str:
    """What ``auto`` means: text where somebody looks."""
    if choice != "auto":
        return choice
    return "text" if sys.stderr.isatty() else "json"


def journal_of(choice: str | None) -> Journal:
    """Who writes events down as was chosen; nobody where nothing was. From now on all of stderr is so, until the command ends."""
    if choice is None:
        return ignore_entry
    if log_format(choice) == "text":
        return _write_text
    stream = sys.stderr if isinstance(sys.stderr, JsonStream) else JsonStream(sys.stderr)
    sys.stderr = stream
    return stream.take


def _write_text(entry: JournalEntry) -> None:
    name = f"{entry.pipeline}: " if entry.pipeline else ""
    mark = {"warning": "warning: ", "error": "error: "}.get(entry.level, "")
    click.echo(f"streamsvd: {_now()} {name}{mark}{entry.text}", err=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
