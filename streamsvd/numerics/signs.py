"""One rule for signs: the entry of largest modulus of each vector is real and positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Inexact  # shapes in signatures, for readers

Array = Any


def phases(V: Inexact[Array, "n k"]) -> Inexact[Array, " k"]:
    """Factors ``f`` of modulus one such that ``V * f`` obeys the rule; ties go to the lowest index.

    Entries within a few units of rounding of the largest tie, so that noise does not flip a sign.
    """
    xp = array_namespace(V)
    size = xp.abs(V)
    largest = xp.max(size, axis=0)
    at = xp.argmax(xp.astype(size >= largest[None, :] * (1 - 1e-9), xp.int8), axis=0)
    pivot = xp.take_along_axis(V, at[None, :], axis=0)[0, :]
    modulus = xp.abs(pivot)
    safe = xp.where(modulus > 0, modulus, xp.ones_like(modulus))
    factor = xp.conj(pivot) if xp.isdtype(V.dtype, "complex floating") else pivot
    return xp.where(modulus > 0, factor / safe, xp.ones_like(factor))
