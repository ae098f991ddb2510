"""Results that commands are given."""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError


def load_factorisation(place: str) -> Any:
    """The factorisation at a place: a result of svd or pca, or a model.

    Raises
    ------
    SpecError
        If something else is there.
    StoreError
        If nothing is.
    """
    from streamsvd.factor.result import SVD
    from streamsvd.store.results.loading import load

    found = load(place)
    if not isinstance(found, SVD):
        raise SpecError(
            f"{place} holds a {type(found).__name__}, which has no components of rows. Pass a result of svd or pca, or a model."
        )
    return found
