"""A result as a Dataset: components and scores in the dimensions of the data, variances with their certified ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from streamsvd import __version__
from streamsvd.factor.exports.coordinates import coordinate_variables, writable_attributes
from streamsvd.factor.exports.labelled import RowScores, free_name, result_labels, without_dropped
from streamsvd.factor.exports.lazy_matrix import lazy_variable
from streamsvd.factor.exports.spectrum import spectrum_columns
from streamsvd.labels import MODE, Labels

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

TITLES = {
    "singular_values": "singular value",
    "explained_variance": "explained variance",
    "explained_variance_ratio": "share of the total variance",
}
ENDS = {"": "", "_lower": ", lower end of its interval", "_upper": ", upper end of its interval"}


def result_dataset(result: SVD) -> Any:
    """The Dataset of a result: see `streamsvd.factor.export_methods.ExportMethods.to_xarray`."""
    labels = result_labels(result)
    rows = tuple(d.name for d in labels.rows) if result.U is not None else ()
    columns = tuple(d.name for d in labels.columns)
    shown = labels.coordinates if rows else labels.column_coordinates
    here = tuple(c for c in shown if c.dims and set(c.dims) <= {*rows, *columns})
    coordinates = coordinate_variables(here)
    mode = free_name(MODE, rows, columns, coordinates)
    coordinates[mode] = xr.Variable(
        (mode,), np.arange(1, result.rank + 1), {"long_name": "number of the component"}
    )
    variables = {
        **_column_variables(result, labels, columns, mode),
        **_spectrum_variables(result, mode),
        **(_row_variables(result, labels, rows, mode) if rows else {}),
    }
    named = {free_name(n, rows, columns, coordinates): v for n, v in variables.items()}
    return xr.Dataset(named, coordinates, _attributes(result, labels))


def _column_variables(
    result: SVD, labels: Labels, columns: tuple[str, ...], mode: str
) -> dict[str, Any]:
    """What belongs to columns, in the shape of their dimensions."""
    extents = tuple(d.length for d in labels.columns)
    units = writable_attributes(labels.attributes)
    flat: dict[str, tuple[Any, dict[str, Any]]] = {
        "mean": (result.mean, {**units, "long_name": "mean that was subtracted"}),
        "scale": (result.scale, {**units, "long_name": "what columns were divided by"}),
        "column_weights": (
            result.preparation.get("column_weights"),
            {"long_name": "factors of the columns"},
        ),
    }
    components = without_dropped(result, result.Vh).reshape(result.rank, *extents)
    found = {
        "components": xr.Variable(
            (mode, *columns), components, {"long_name": "components: right singular vectors"}
        )
    }
    for name, (values, attributes) in flat.items():
        if values is not None:
            there = (
                np.asarray(values) if name == "column_weights" else without_dropped(result, values)
            )
            found[name] = xr.Variable(columns, there.reshape(extents), attributes)
    return found


def _spectrum_variables(result: SVD, mode: str) -> dict[str, Any]:
    """Singular values, variances and shares, with their ends."""
    found = {}
    for name, values in spectrum_columns(result).items():
        end = next((end for end in ("_lower", "_upper") if name.endswith(end)), "")
        title = TITLES[name.removesuffix(end)] + ENDS[end]
        found[name] = xr.Variable((mode,), values, {"long_name": title})
    return found


def _row_variables(result: SVD, labels: Labels, rows: tuple[str, ...], mode: str) -> dict[str, Any]:
    """What belongs to rows, in the shape of their dimensions."""
    extents = tuple(d.length for d in labels.rows)
    scores = RowScores.of(result)
    values = (
        lazy_variable(scores, extents, (result.rank,))
        if scores.is_lazy
        else scores.read().reshape(*extents, result.rank)
    )
    title = {"long_name": "scores: the rows on the components"}
    found = {"scores": xr.Variable((*rows, mode), values, title)}
    weights = result.preparation.get("row_weights")
    if weights is not None:
        found["row_weights"] = xr.Variable(
            rows, np.asarray(weights).reshape(extents), {"long_name": "weights of the rows"}
        )
    return found


def _attributes(result: SVD, labels: Labels) -> dict[str, Any]:
    """What is proved, and of what."""
    c, info = result.certificate, result.info
    return writable_attributes(
        {
            "variable": labels.name,
            "units": labels.attributes.get("units"),
            "rank": result.rank,
            "status": info.status.value,
            "certificate": c.kind.value,
            "frobenius_norm": c.frobenius_norm,
            "frobenius_error": c.frobenius_error,
            "spectral_error": c.spectral_error,
            "excess": c.excess,
            "failure_probability": c.failure_probability,
            "degrees_of_freedom": info.freedom,
            "centered": bool(result.preparation.get("center", result.mean is not None)),
            "scaled": result.scale is not None,
            "rows": info.n_rows,
            "passes": info.passes,
            "warnings": list(info.warnings),
            "streamsvd": __version__,
        }
    )
