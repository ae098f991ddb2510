"""The matrix of an AnnData object that is factorised, with its names, and the variables that take part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_object, foreign_advice
from streamsvd.checks.masks import require_unmasked
from streamsvd.engine.opening import as_source
from streamsvd.errors import ShapeError, SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.protocols import Source

HIGHLY_VARIABLE = "highly_variable"


@dataclass(frozen=True, slots=True)
class Unset:
    """What an argument is that was left out, where None says something."""

    def __repr__(self) -> str:
        return "left out"


UNSET = Unset()


def matrix_of(adata: Any, layer: str | None) -> Source:
    """The matrix: ``X``, or a layer.

    Raises
    ------
    SpecError
        If there is none, or it is sparse.
    """
    if layer is None:
        found, name = adata.X, "adata.X"
        if found is None:
            raise SpecError(f"adata has no X. Pass layer=, one of {_name_list(adata.layers)}.")
    else:
        if layer not in adata.layers:
            raise SpecError(
                f"layer={layer!r} is none of adata, which has {_name_list(adata.layers)}. Name one of them, or leave it out for X."
            )
        found, name = adata.layers[layer], f"adata.layers[{layer!r}]"
    advice = foreign_advice(found)
    if advice is not None and advice[0] == "sparse":
        check_object(found, name)
    return as_source(found)


def _name_list(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"


def labels_of(adata: Any, layer: str | None) -> Labels:
    """Names of observations and variables."""
    return Labels(
        "X" if layer is None else layer,
        {},
        (Dimension("obs", adata.n_obs),),
        (Dimension("var", adata.n_vars),),
        (
            Coordinate.of("obs", ["obs"], np.asarray(adata.obs_names, dtype=object)),
            Coordinate.of("var", ["var"], np.asarray(adata.var_names, dtype=object)),
        ),
    )


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
    if use_highly_variable is not None:
        if not isinstance(mask_var, Unset):
            raise SpecError(
                "mask_var= and use_highly_variable= exclude each other. Pass mask_var= alone: None for all variables."
            )
        mask_var = HIGHLY_VARIABLE if use_highly_variable else None
    elif isinstance(mask_var, Unset):
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
