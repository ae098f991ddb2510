"""Arguments that several verbs of rows check alike, before anything is read."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.protocols import Source


def check_real(source: Source) -> None:
    """Refuse complex rows.

    Raises
    ------
    SpecError
        If they are.
    """
    if source.dtype.kind == "c":
        raise SpecError(
            f"{source.name} is complex, and real rows are needed here. Stack real and imaginary parts."
        )


def check_seed(seed: Any) -> None:
    """Refuse what is no seed of the hash.

    Raises
    ------
    SpecError
        If it is not an integer from 0 to ``2^63 - 1``.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise SpecError(f"seed={seed!r} is no seed. Pass an integer from 0 to 2^63 - 1.")


def check_numbers(**given: Any) -> None:
    """Refuse what is no real number; None is left to others.

    Raises
    ------
    SpecError
        Naming the argument.
    """
    for name, value in given.items():
        number = isinstance(value, int | float | np.floating | np.integer)
        if value is not None and (isinstance(value, bool) or not number):
            raise SpecError(f"{name}={value!r} is not a number. Pass one.")


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """An integer of at least so much, of any integer type.

    Raises
    ------
    SpecError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SpecError(f"{name}={value!r} is no count. Pass an integer of at least {least}.")
    return int(value)
