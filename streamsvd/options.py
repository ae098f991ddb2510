"""Options records: what a verb may be asked, with the sentence that explains each field.

A record is a frozen data class. Its fields are the arguments of the verb and the options of its command; a plan holds it; a
checkpoint and a stored result are keyed by it.
"""

from __future__ import annotations

from dataclasses import MISSING, field, fields
from typing import Any, Literal, get_args

from streamsvd.errors import SpecError

Policy = Literal["raise", "zero", "mean", "drop_columns"]
"""What a missing value of a matrix is."""
POLICIES: tuple[Policy, ...] = get_args(Policy)
BlockPolicy = Literal["raise", "zero", "mean", "skip_block"]
"""What a missing value in a block of a model is."""
BLOCK_POLICIES: tuple[BlockPolicy, ...] = get_args(BlockPolicy)
TOL = 1e-3
"""Relative width of an interval at which a value counts as resolved, where nothing else was asked."""
EXCESS_TOL = 1e-2
"""Excess of the error over the best of the rank that is good enough where values cannot be told apart, unless another was
asked."""


def option(default: Any = MISSING, help: str = "", *, decides: bool = True) -> Any:
    """A field of an options record, with its default and the sentence that ``--help`` shows.

    One that ``decides`` nothing of what is found, such as a place, may differ where a run goes on from a checkpoint.
    """
    return field(default=default, metadata={"help": help, "decides": decides})


def make_plain(record: Any) -> None:
    """Numbers of numpy in a record that is being made, as those of Python: what is stored, and no type that overflows."""
    for f in fields(record):
        value = getattr(record, f.name)
        if hasattr(value, "item") and getattr(value, "shape", None) == ():
            object.__setattr__(record, f.name, value.item())


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
