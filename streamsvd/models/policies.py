"""Missing values of a model's blocks: refused, filled as a piece comes, or a reason to skip the block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.sizes import check_size
from streamsvd.engine.missing import check_policy
from streamsvd.engine.reader import find_nonfinite
from streamsvd.errors import NonFiniteError, SpecError
from streamsvd.models.block_reader import PieceReader
from streamsvd.numerics.columns import original_column
from streamsvd.options import BLOCK_POLICIES
from streamsvd.store.versions import ModelSpec
from streamsvd.typing import Matrix

EARLIER_SPELLINGS = {"skip-block": "skip_block", "impute-mean": "mean"}
"""Policies as releases up to 0.1 wrote them; they mean the same."""


def current_spelling(policy: Any) -> Any:
    """A policy as it is written now."""
    return EARLIER_SPELLINGS.get(policy, policy) if isinstance(policy, str) else policy


def check_block_policy(policy: Any, spec: ModelSpec) -> None:
    """Refuse policies that are unknown, or that this model cannot follow.

    Raises
    ------
    SpecError
        It says what to pass instead.
    """
    if policy == "drop_columns":
        raise SpecError(
            'nonfinite="drop_columns" would change the columns of a model with a block, and its earlier blocks are gone. Pass '
            'mask="auto" with the first block, which leaves out the columns that have no value, or a mask= of the columns '
            "to keep."
        )
    check_policy(policy, BLOCK_POLICIES)
    if policy == "mean" and not spec.center:
        raise SpecError(
            'nonfinite="mean" needs the mean that center=True keeps. Begin the model with center=True, or pass "zero" or '
            '"skip_block".'
        )


def treat_missing(
    rows: Matrix,
    reader: PieceReader,
    start: int,
    policy: str,
    mean: Matrix | None,
    *,
    centred: bool,
) -> Matrix | None:
    """The rows with missing values treated as the policy says; None if the block is to be skipped.

    Parameters
    ----------
    rows, reader, start
        A piece, what reads it, and where it begins in the source.
    policy
        One that `check_block_policy` has let through.
    mean
        Of what the model knows, in the units of the data; None if it knows nothing yet.
    centred
        Whether the model keeps a mean that may take the place of a NaN.

    Raises
    ------
    NonFiniteError
        If there is an Inf, or a NaN under ``"raise"``; it names row, column and chunk.
    SpecError
        If a column has no value and no mean yet.
    """
    check_size(rows, reader.source.name)
    found = find_nonfinite(rows)
    if found is None:
        return rows
    bad = found if policy == "raise" else find_nonfinite(rows, nan_counts=False)
    if bad is not None:
        raise _refusal(bad, reader, start, centred=centred)
    if policy == "skip_block":
        return None
    holes = np.isnan(rows)
    if policy == "zero":
        return np.asarray(np.where(holes, rows.dtype.type(0), rows))
    if mean is None:
        mean = _first_mean(rows, holes, reader)
    # in double precision: rounded to the type of the data, it would be the mean of another matrix
    return np.asarray(np.where(holes, mean[None, :], rows))


def _refusal(
    bad: tuple[str, int, int], reader: PieceReader, start: int, *, centred: bool
) -> NonFiniteError:
    """The error of an entry, which is one of the source however its rows were turned."""
    value, i, j = bad
    row, column = (start + i, j) if reader.axis == "rows" else (j, start + i)
    remedy = "Mend the data."
    if value == "NaN":
        fill = '"zero" or "mean"' if centred else 'or "zero"'
        comma = "," if centred else ""
        remedy = f'Mend the data, or pass nonfinite="skip_block"{comma} {fill}.'
    return NonFiniteError(value, row, column, reader.source.locate(row, column), remedy)


def _first_mean(rows: Matrix, holes: npt.NDArray[np.bool_], reader: PieceReader) -> Matrix:
    """Means of the first rows of all, over what is there."""
    empty = holes.all(axis=0)
    if empty.any():
        raise SpecError(
            f"column {original_column(reader.source, int(np.argmax(empty)))} has no value in the first {rows.shape[0]:,} rows, and the model knows no mean of it yet. "
            "Leave the column out with mask=, or begin with a block that has values in its first rows."
        )
    return np.asarray(np.nanmean(rows, axis=0, dtype=np.result_type(rows.dtype, np.float64)))
