"""Types and defaults in the reference, where a docstring explains several parameters at once: an extension of griffe.

Of ``rank, tol, memory`` it takes those of ``rank`` for all three. Each has its own in the signature.
"""

from __future__ import annotations

from typing import Any

import griffe


class OwnTypes(griffe.Extension):
    """Every parameter of a docstring with the type and the default of its own."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Mend the parameters of one function."""
        sections = func.docstring.parsed if func.docstring else []
        for section in sections:
            if section.kind is griffe.DocstringSectionKind.parameters:
                for each in section.value:
                    if each.name in func.parameters:
                        own = func.parameters[each.name]
                        each.annotation, each.value = own.annotation, own.default
