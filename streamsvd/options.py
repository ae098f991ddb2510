"""Options records: what a verb may be asked, with the sentence that explains each field.

A record is a frozen data class. Its fields are the arguments of the verb and the options of its command; a plan holds it; a
checkpoint and a stored result are keyed by it.
"""

from __future__ import annotations

from dataclasses import MISSING, field, fields
from typing import Any

from streamsvd.errors import SpecError


def option(default: Any = MISSING, help: str = "", *, decides: bool = True) -> Any:
    """A field of an options record, with its default and the sentence that ``--help`` shows.

    One that ``decides`` nothing of what is found, such as a place, may differ where a run goes on from a checkpoint.
    """
    return field(default=default, metadata={"help": help, "decides": decides})


def help_of(record: type, name: str) -> str:
    """The sentence of a field."""
    sentence: str = next(f.metadata["help"] for f in fields(record) if f.name == name)
    return sentence


def from_plain(record: type, values: dict[str, Any], where: str) -> Any:
    """A record of values that were stored.

    Raises
    ------
    SpecError
        If a field is unknown; it names it, and where it stands.
    """
    known = [f.name for f in fields(record)]
    for name in values:
        if name not in known:
            raise SpecError(
                f"{where} has the option {name}, which {record.__name__} of this release does not know. Its options are "
                f"{', '.join(known)}. Read it with the release that wrote it, or a newer one."
            )
    return record(**values)
