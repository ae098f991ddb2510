"""A result in an AnnData object, where scanpy and what is built on it look for principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import require_unmasked
from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.exports.labelled import RowScores, result_labels
from streamsvd.factor.exports.spectrum import spectrum_columns
from streamsvd.labels import Coordinate, Dimension, TextValues

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

KEYS = ("X_pca", "PCs", "pca")
"""Where scanpy puts scores, components and variances: in ``obsm``, ``varm`` and ``uns``."""


@dataclass(frozen=True, slots=True, eq=False)
class CellKeys:
    """Under which names, and with which parameters beside them.

    Attributes
    ----------
    key_added
        One name for all three; None for those of scanpy.
    layer
        The layer that was factorised; None for ``X``.
    mask_var
        What chose the variables: the name of a column of ``var``, or booleans; None where nothing did.
    """

    key_added: str | None = None
    layer: str | None = None
    mask_var: Any = None

    @property
    def names(self) -> tuple[str, str, str]:
        """Of scores, components and variances."""
        return KEYS if self.key_added is None else (self.key_added,) * 3


def fill_annotations(result: SVD, adata: Any, keys: CellKeys, scores: Any = None) -> None:
    """Write scores, components and variances into an AnnData object."""
    check_annotated(adata)
    _check_agreement(result, adata)
    rows = RowScores.of(result).read() if scores is None else require_unmasked(scores, "scores")
    if rows.shape != (adata.n_obs, result.rank):
        raise ShapeError(
            f"scores have shape {rows.shape}, and {adata.n_obs:,} observations with {result.rank} components are there. Pass "
            "transform of the same rows."
        )
    # the types of scanpy: scores in single precision, components in that of the data unless some variables are left out
    single = (
        getattr(_values(adata, keys.layer), "dtype", None) == np.float32 and keys.mask_var is None
    )
    components = np.nan_to_num(result.Vh, nan=0.0).T.astype(np.float32 if single else np.float64)
    spectrum = spectrum_columns(result)
    obsm, varm, uns = keys.names
    adata.obsm[obsm] = rows.astype(np.float32)
    adata.varm[varm] = components
    adata.uns[uns] = {
        "params": _parameters(result, keys),
        "variance": spectrum["explained_variance"],
        "variance_ratio": spectrum["explained_variance_ratio"],
    }


def check_annotated(adata: Any) -> None:
    """Refuse what is no AnnData object.

    Raises
    ------
    SpecError
        It says what was passed.
    """
    wanted = ("obsm", "varm", "uns", "obs_names", "var_names", "n_obs", "n_vars")
    if not all(hasattr(adata, name) for name in wanted):
        raise SpecError(
            f"{type(adata).__module__}.{type(adata).__qualname__} is no AnnData object. Pass one, such as anndata.read_h5ad(path)."
        )


def _values(adata: Any, layer: str | None) -> Any:
    return adata.X if layer is None else adata.layers.get(layer)


def _parameters(result: SVD, keys: CellKeys) -> dict[str, Any]:
    """What scanpy notes of a run."""
    found: dict[str, Any] = {
        "zero_center": bool(result.preparation.get("center", result.mean is not None)),
        "use_highly_variable": isinstance(keys.mask_var, str)
        and keys.mask_var == "highly_variable",
        "mask_var": keys.mask_var,
    }
    return found if keys.layer is None else {**found, "layer": keys.layer}


def _check_agreement(result: SVD, adata: Any) -> None:
    """Refuse an object of other observations or variables, or of the same in another order.

    Raises
    ------
    ShapeError
        If there are more, or fewer.
    SpecError
        If names differ; it says the first that does.
    """
    labels = result_labels(result)
    m, n = labels.shape
    if (m, n) != (adata.n_obs, adata.n_vars):
        raise ShapeError(
            f"the result is of {m:,} x {n:,}, and adata has {adata.n_obs:,} observations of {adata.n_vars:,} variables. Pass the object "
            "that was factorised."
        )
    sides = (
        ("observation", labels.rows, labels.row_coordinates, adata.obs_names),
        ("variable", labels.columns, labels.column_coordinates, adata.var_names),
    )
    for what, dimensions, coordinates, names in sides:
        its = _names(dimensions, coordinates)
        if its is not None:
            _check_names(what, its, np.asarray(names, dtype=object))


def _names(
    dimensions: Sequence[Dimension], coordinates: Sequence[Coordinate]
) -> npt.NDArray[np.object_] | None:
    """The texts along one dimension that name its entries; None where nothing does."""
    along = [c for c in coordinates if len(dimensions) == 1 and c.dims == (dimensions[0].name,)]
    found = next((c for c in along if c.name == dimensions[0].name), None)
    return found.values.values if found and isinstance(found.values, TextValues) else None


def _check_names(what: str, its: npt.NDArray[np.object_], names: npt.NDArray[np.object_]) -> None:
    differ = its != names.astype(str).astype(object)
    if differ.any():
        at = int(np.argmax(differ))
        moved = (
            ""
            if set(its) != set(names)
            else " They are the same in another order: sort one like the other."
        )
        raise SpecError(
            f"{what} {at:,} of adata is {names[at]!r}, and that of the result is {its[at]!r} ({int(differ.sum()):,} of {its.size:,} "
            f"differ).{moved or ' Pass the object that was factorised.'}"
        )
