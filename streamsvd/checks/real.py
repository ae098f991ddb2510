"""What the rows must be that several verbs take, seen before anything is read."""

from __future__ import annotations

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
