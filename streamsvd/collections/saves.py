"""Checkpoints of runs over a collection."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from streamsvd.collections.planning import CollectionPlan
from streamsvd.collections.weights import Weights
from streamsvd.engine.saves import Saves, check_seconds, identity
from streamsvd.store.collections import Collection


def open_collection_saves(
    place: str | os.PathLike[str] | None,
    source: Collection,
    plan: CollectionPlan,
    weights: Weights,
    kinds: tuple[type, ...],
    seconds: float,
    **further: Any,
) -> Saves | None:
    """Saves at a place, of this run and no other; None where there is no place.

    Parameters
    ----------
    place, seconds
        Where, and least time between two saves.
    source, plan, weights
        What is read, what was asked, and how: a run with others is refused.
    kinds
        Data classes among what is found.
    **further
        What else must be the same.

    Raises
    ------
    SpecError
        If what was saved is of another run; it names what differs.
    StoreError
        If what was saved cannot be read.
    """
    check_seconds(seconds)
    if place is None:
        return None
    run = {
        "source": source.name, "blocks": len(source.members), "members": members_digest(source), "zeros": source.zeros,
        "values": values_digest(source), **identity(plan.options), "backend": plan.backend, "spans": plan.spans,
        **weights.digests(), **further,
    }  # fmt: skip
    return Saves.at(place, plan.verb, run, {kind.__name__: kind for kind in kinds}, seconds)


def members_digest(source: Collection) -> str:
    """Of names, shapes, views and types."""
    found = hashlib.blake2b(digest_size=8)
    for m in source.members:
        layout = m.layout
        found.update(
            repr((m.name, layout.array_shape, layout.columns, layout.is_transposed, m.dtype.str, m.kind)).encode()
        )  # fmt: skip
    return found.hexdigest()


def values_digest(source: Collection) -> str:
    """Of the first part, one in the middle and the last: of the same collection it is the same."""
    found, count = hashlib.blake2b(digest_size=8), len(source.parts)
    for number in sorted({0, count // 2, count - 1}):
        for values in source.parts[number].read():
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
