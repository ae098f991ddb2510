"""Weights as a caller wrote them."""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError


def weight_array(given: Any, name: str, what: str) -> Any:
    """Weights as numbers in float64, of whatever shape; None for none.

    Raises
    ------
    SpecError
        If they are masked, or no real numbers.
    """
    if given is None:
        return None
    try:
        import numpy as np  # the command line asks for help without it

        from streamsvd.checks.masks import require_unmasked

        found = require_unmasked(given, name)
        if np.iscomplexobj(found):
            raise TypeError("they are complex")
        return found.astype(np.float64, copy=False)
    except SpecError:
        raise
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{name} are no numbers: {error}. Pass one number for each of the {what}."
        ) from None
