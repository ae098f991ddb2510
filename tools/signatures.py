"""What the reference makes of docstrings: an extension of griffe, named in ``mkdocs.yml``.

- Where one sentence explains several parameters, ``rank, tol, memory``, griffe gives all the type and the default of the first;
  each has its own in the signature.
- References are written as for Sphinx, ``.. [1] Author``: Markdown has a list of numbers.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Docstrings as a page of Markdown wants them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend that of one object."""
        if obj.docstring is None:
            return
        obj.docstring.value = re.sub(
            r"^( *)\.\. \[(\d+)\]", r"\1\2.", obj.docstring.value, flags=re.M
        )
        for section in obj.docstring.parsed if obj.is_function else ():
            if section.kind is griffe.DocstringSectionKind.parameters:
                for each in section.value:
                    if each.name in obj.parameters:
                        own = obj.parameters[each.name]
                        each.annotation, each.value = own.annotation, own.default
