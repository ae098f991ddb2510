"""Weights of the columns of a model: settled with the first block, in every other the same.

What a model factorises is ``A diag(weights)``: a block is multiplied before it enters, so that every identity of the ledger is that of
the weighted rows. A column of weight 0 is 0 there, whatever stands in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamsvd.checks.weights import check_weights, weight_array
from streamsvd.engine.weights import column_weight_array
from streamsvd.errors import SpecError
from streamsvd.models.state import ModelState
from streamsvd.models.stored_labels import pack_labels, pack_numbers, unpack_numbers, with_labels
from streamsvd.numerics.columns import describe_columns
from streamsvd.protocols import Source
from streamsvd.store.versions import ModelSpec, StoredCoordinate, StoredWeights
from streamsvd.typing import Real

NAME = "column_weights"


def stored_weights(weights: Any, spec: ModelSpec) -> StoredWeights | None:
    """Weights as a model without blocks keeps them.

    Raises
    ------
    SpecError
        If they are no weights, or columns are what arrives.
    """
    if weights is None:
        return None
    refuse_weights_of_columns(weights, spec)
    if isinstance(weights, str):
        return StoredWeights(name=weights)
    if isinstance(weights, Mapping):
        names = {str(k): v for k, v in weights.items() if isinstance(v, str)}
        given = {str(k): v for k, v in weights.items() if not isinstance(v, str)}
        arrays = {name: pack_numbers(weight_array(v, NAME, "columns")) for name, v in given.items()}
        along = tuple(
            StoredCoordinate(name, c.numbers, c.texts, c.units, c.calendar)
            for name, v in given.items()
            for c in pack_labels(v)[1]
            if c.name in ("", name)
        )
        return StoredWeights(along=names, arrays=arrays, coordinates=along)
    dims, coordinates = pack_labels(weights)
    numbers = pack_numbers(weight_array(weights, NAME, "columns"))
    return StoredWeights(arrays={"": numbers}, dims=dims, coordinates=coordinates)


def restore_weights(stored: StoredWeights | None) -> Any:
    """The weights again, as the caller wrote them."""
    if stored is None or stored.name:
        return None if stored is None else stored.name
    arrays = {name: unpack_numbers(numbers) for name, numbers in stored.arrays.items()}
    if "" in arrays:
        return with_labels(arrays[""], stored.dims, stored.coordinates)
    along = {
        name: with_labels(values, (name,), tuple(c for c in stored.coordinates if c.name == name))
        for name, values in arrays.items()
    }
    return {**stored.along, **along} or None


def refuse_weights_of_columns(weights: Any, spec: ModelSpec) -> None:
    """Refuse weights where columns are what arrives.

    Raises
    ------
    SpecError
        It says what to do.
    """
    if spec.axis == "columns" and weights is not None:
        raise SpecError(
            "column_weights= are of columns that stay, and here columns arrive. Multiply them before, or let rows grow."
        )


def all_weights(source: Source, given: Any) -> Real | None:
    """One weight for each column of a block, checked; None for none."""
    weights = column_weight_array(source, given)
    return None if weights is None else check_weights(weights, source.shape[1], NAME, "columns")


def first_weights(source: Source, stored: StoredWeights | None, given: Any) -> Real | None:
    """Weights of all columns of the first block: the model's, or those of the call.

    Raises
    ------
    SpecError
        If both were passed and differ.
    """
    known, asked = all_weights(source, restore_weights(stored)), all_weights(source, given)
    if known is None or asked is None:
        return asked if known is None else known
    _refuse_other(known, asked, "created")
    return known


def check_same_weights(source: Source, given: Any, state: ModelState) -> None:
    """Refuse weights that differ from those of the model, in columns that it keeps.

    Raises
    ------
    SpecError
        Naming the columns.
    """
    asked = all_weights(source, given)
    if asked is None:
        return
    ones = np.ones(asked.size if state.columns is None else state.columns.indices.size)
    mine = ones if state.weights is None else state.weights
    if state.columns is not None:
        asked, mine = (
            np.where(state.columns.keep_mask, asked, 0.0),
            state.columns.spread(mine, 0.0),
        )
    _refuse_other(mine, asked, "begun")


def _refuse_other(mine: Real, asked: Real, done: str) -> None:
    other = np.flatnonzero(mine != asked)
    if other.size:
        j = int(other[0])
        raise SpecError(
            f"column_weights differ from those that the model was {done} with, at {describe_columns(other)}: {asked[j]:g} was "
            f"asked for the first, the model has {mine[j]:g}. Leave column_weights= out: the model remembers them; or begin "
            "another model."
        )
