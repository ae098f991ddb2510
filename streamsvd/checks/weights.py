"""Weights as a caller wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamsvd.errors import ShapeError, SpecError

if TYPE_CHECKING:
    from streamsvd.typing import Real


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


def check_weights(given: Any, count: int, name: str, what: str) -> Real | None:
    """Weights that may be: as many as rows or columns, finite, not negative, of squares that float64 holds, and not all 0.

    Raises
    ------
    ShapeError, SpecError
        It says which is not.
    """
    import numpy as np

    if given is None:
        return None
    weights: Real | None = weight_array(given, name, what)
    assert weights is not None
    if weights.shape != (count,):
        raise ShapeError(
            f"{name} has shape {weights.shape}, the matrix has {count:,} {what}. Pass one weight for each."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        bad = int(np.argmax(~np.isfinite(weights) | (weights < 0)))
        raise SpecError(
            f"{name}[{bad}] is {weights[bad]}; weights must be finite and not negative. Set it to 0 to leave "
            f"that one of the {what} out."
        )
    if (weights > 0).any() and not 1e-100 <= weights[weights > 0].min() <= weights.max() <= 1e100:
        raise SpecError(
            f"{name} run from {weights[weights > 0].min():g} to {weights.max():g}; their squares leave the range "
            "of float64. Bring the positive ones between 1e-100 and 1e100."
        )
    if not weights.any():
        raise SpecError(
            f"{name} are all zero: nothing would be left. Pass at least one positive weight."
        )
    return weights
