"""A result as a Dataset: components and scores in the dimensions of the data, variances with their certified ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd import __version__
from streamsvd.factor.exports.climatology import climatology_variables
from streamsvd.factor.exports.coordinates import writable_attributes
from streamsvd.factor.exports.labelled import (
    RowScores,
    fitting_labels,
    result_labels,
    without_dropped,
)
from streamsvd.factor.exports.layout import DatasetLayout
from streamsvd.factor.exports.lazy_matrix import ArrayParts
from streamsvd.factor.exports.spectrum import spectrum_columns
from streamsvd.labels import Labels

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD
    from streamsvd.factor.rotation_result import Rotation

TITLES = {
    "singular_values": "singular value",
    "explained_variance": "explained variance",
    "explained_variance_ratio": "share of the total variance",
}
ENDS = {"": "", "_lower": ", lower end of its interval", "_upper": ", upper end of its interval"}


def result_dataset(result: SVD) -> Any:
    """The Dataset of a result: see `streamsvd.factor.export_methods.ExportMethods.to_xarray`."""
    labels, U = result_labels(result), result.U
    layout = DatasetLayout.of(labels, result.rank, has_rows=U is not None)
    components = without_dropped(result, result.Vh)
    variables = {"components": layout.components(components, "components: right singular vectors")}
    units, prep = writable_attributes(labels.attributes), result.preparation
    for name, values, title in (
        ("mean", result.mean, "mean that was subtracted"),
        ("scale", result.scale, "what columns were divided by"),
    ):
        if values is not None:
            attributes = {**units, "long_name": title}
            variables[name] = layout.along_columns(without_dropped(result, values), attributes)
    if (weights := prep.get("column_weights")) is not None:
        said = {"long_name": "factors of the columns"}
        variables["column_weights"] = layout.along_columns(weights, said)
    for name, values in spectrum_columns(result).items():
        end = next((end for end in ("_lower", "_upper") if name.endswith(end)), "")
        variables[name] = layout.along_modes(values, TITLES[name.removesuffix(end)] + ENDS[end])
    if U is not None:
        scores, title = RowScores.of(result), "scores: the rows on the components"
        variables["scores"] = layout.scores(scores, title, is_lazy=scores.is_lazy)
        if (weights := prep.get("row_weights")) is not None:
            said = {"long_name": "weights of the rows"}
            variables["row_weights"] = layout.along_rows(weights, said)
    if result.climatology is not None:
        variables |= climatology_variables(result.climatology, layout)
    return layout.dataset(variables, _attributes(result, labels))


def rotation_dataset(rotation: Rotation) -> Any:
    """The Dataset of a rotation: see `streamsvd.factor.rotation_result.Rotation.to_xarray`."""
    scores = rotation.scores
    rows = int(rotation.info.n_rows if scores is None else scores.shape[0])
    labels = fitting_labels(rotation.labels, (rows, int(rotation.components.shape[1])))
    layout = DatasetLayout.of(labels, rotation.rank, has_rows=scores is not None)
    variables = {
        "components": layout.components(rotation.components, "rotated components"),
        "variance": layout.along_modes(rotation.variance, "variance of the rotated component"),
        "variance_ratio": layout.along_modes(
            rotation.variance_ratio, "its share of the total variance"
        ),
    }
    if scores is not None:
        variables["scores"] = layout.scores(
            ArrayParts(scores), "scores: the rows on the rotated components",
            is_lazy=not isinstance(scores, np.ndarray),
        )  # fmt: skip
    attributes = {
        "variable": labels.name,
        "units": labels.attributes.get("units"),
        "rank": rotation.rank,
        "method": rotation.options.method,
        "status": rotation.info.status.value,
        "criterion": rotation.criterion,
        "total_variance": rotation.total_variance,
        "streamsvd": __version__,
    }
    return layout.dataset(variables, writable_attributes(attributes))


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
