"""Which matrix of an AnnData object is factorised, and which of its variables take part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import require_unmasked
from streamsvd.engine.columns import mask_of
from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source

HIGHLY_VARIABLE = "highly_variable"


@dataclass(frozen=True, slots=True)
class Unset:
    """What an argument is that was left out, where None says something."""

    def __repr__(self) -> str:
        return "left out"


UNSET = Unset()


def matrix_name(layer: str | None) -> str:
    """The name of a matrix in a file of AnnData: of ``X``, or of a layer."""
    return "X" if layer is None else f"layers/{layer}"


def _name_list(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"


def _one_argument(mask_var: Any, use_highly_variable: bool | None) -> Any:
    """What the two arguments of scanpy say together.

    Raises
    ------
    SpecError
        If both are passed.
    """
    if use_highly_variable is None:
        return mask_var
    if not isinstance(mask_var, Unset):
        raise SpecError(
            "mask_var= and use_highly_variable= exclude each other. Pass mask_var= alone: None for all variables."
        )
    return HIGHLY_VARIABLE if use_highly_variable else None


def stored_mask(
    source: Source, mask_var: Any, use_highly_variable: bool | None
) -> npt.NDArray[np.bool_] | None:
    """Which variables of a file take part: a column of its ``var`` is read by its name; None for all.

    Raises
    ------
    SpecError
        If both arguments are passed, a column is absent, or is no mask.
    """
    mask_var = _one_argument(mask_var, use_highly_variable)
    if isinstance(mask_var, Unset):
        try:
            return mask_of(source, f"var/{HIGHLY_VARIABLE}")
        except SpecError:  # there is none
            return None
    return mask_of(source, f"var/{mask_var}" if isinstance(mask_var, str) else mask_var)


def variable_mask(
    adata: Any, mask_var: Any, use_highly_variable: bool | None
) -> tuple[Any, npt.NDArray[np.bool_] | None]:
    """Which variables take part, as scanpy reads its two arguments, and what it notes of that; None for all.

    Raises
    ------
    SpecError
        If both are passed, a column of ``var`` is absent, or is no truth value.
    ShapeError
        If there is not one truth value for each variable.
    """
    mask_var = _one_argument(mask_var, use_highly_variable)
    if isinstance(mask_var, Unset):
        mask_var = HIGHLY_VARIABLE if HIGHLY_VARIABLE in adata.var else None
    if mask_var is None:
        return None, None
    if isinstance(mask_var, str):
        if mask_var not in adata.var:
            raise SpecError(
                f"mask_var={mask_var!r} is no column of adata.var, which has {_name_list(adata.var.columns)}. Name one, or pass booleans."
            )
        values = np.asarray(adata.var[mask_var])
        name = f"adata.var[{mask_var!r}]"
    else:
        values, name = require_unmasked(mask_var, "mask_var"), "mask_var"
    if values.shape != (adata.n_vars,):
        raise ShapeError(
            f"{name} has shape {values.shape}, and adata {adata.n_vars:,} variables. Pass one boolean for each."
        )
    if values.dtype.kind != "b" and not all(
        isinstance(v, bool | np.bool_) for v in values.tolist()
    ):
        raise SpecError(
            f"{name} holds {values.dtype}, no truth values. Pass booleans, such as values > 0."
        )
    return mask_var, values.astype(bool)
