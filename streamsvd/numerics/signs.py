"""Signs of vectors: the entry of largest modulus is real and positive; of a factorisation that goes on, those of the one before.

Vectors ``v_i`` are known but for a factor of modulus one. Alone, each takes the one that makes its entry of largest modulus
positive: a rule that needs nothing else, but flips a vector when another of its entries becomes the largest. Where there are earlier
vectors ``w_j`` of the same matrix with fewer rows, each follows one of them: ``w_j* v_i`` is made real and positive. That is ``w_i``, or,
where two have changed places, the one that holds more than half of ``v_i`` while ``w_i`` holds less than a quarter. Both are shares of
``|w_j* v_i|^2``, whose sum over j is at most one, so no more than one earlier vector can hold more than half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Inexact  # shapes in signatures, for readers

Array = Any
CLEAR_OVERLAP = 1e-6
"""Overlaps below this say nothing of a sign: the rule of the largest entry decides."""


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


def phases_after(V: Inexact[Array, "n k"], earlier: Inexact[Array, "n l"]) -> Inexact[Array, " k"]:
    """Factors ``f`` of modulus one such that ``V * f`` follows earlier vectors; those that follow none obey the rule of `phases`.

    Notes
    -----
    Cost: one product of both, ``2 n k l`` flops.
    """
    xp = array_namespace(V)
    f = phases(V)
    both = min(V.shape[1], earlier.shape[1])
    if both == 0:
        return f
    products = xp.conj(earlier).T @ V
    own = xp.concat([xp.linalg.diagonal(products), xp.zeros_like(f[both:])])
    at = xp.argmax(xp.abs(products), axis=0)
    largest = xp.take_along_axis(products, at[None, :], axis=0)[0, :]
    moved = (xp.abs(own) < 0.5) & (xp.abs(largest) ** 2 > 0.5)
    overlap = xp.where(moved, largest, own)
    size = xp.abs(overlap)
    clear = size > CLEAR_OVERLAP
    turn = xp.conj(overlap) if xp.isdtype(V.dtype, "complex floating") else overlap
    return xp.where(clear, turn / xp.where(clear, size, xp.ones_like(size)), f)
