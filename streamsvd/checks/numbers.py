"""Options that are whole numbers, numbers or seeds: checked before anything is read, in one wording."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from streamsvd.errors import SpecError


def is_number(value: Any) -> bool:
    """Whether it is a real number of any type, also of numpy, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Whether it is a whole number of any type, also of numpy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_integer(name: str, value: Any, *, least: int | None = None) -> int:
    """An integer of any integer type as a plain one, not below the least where there is one.

    Raises
    ------
    SpecError
        If it is none.
    """
    integer = is_integer(value)
    if least is None and not integer:
        raise SpecError(f"{name}={value!r} is not an integer. Pass a whole number.")
    if least is not None and (not integer or value < least):
        raise SpecError(f"{name}={value!r} is no count. Pass an integer of at least {least}.")
    return int(value)


def check_seed(seed: Any, *, name: str = "seed") -> int:
    """A seed of the hash, as a plain integer.

    Raises
    ------
    SpecError
        If it is not an integer from 0 to ``2^63 - 1``; generators have a state, and equal options could not mean equal bits.
    """
    integer = is_integer(seed)
    if not integer or not 0 <= seed < 2**63:
        raise SpecError(f"{name}={seed!r} is no seed. Pass an integer from 0 to 2^63 - 1.")
    return int(seed)


def check_numbers(**given: Any) -> None:
    """Refuse what is no real number; None is left to others.

    Raises
    ------
    SpecError
        Naming the argument.
    """
    for name, value in given.items():
        if value is not None and not is_number(value):
            raise SpecError(f"{name}={value!r} is not a number. Pass one.")
