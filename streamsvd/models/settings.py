"""Settings of a model that begins: where it may be made, and what it is made with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from streamsvd.checks.paths import is_url, local_path
from streamsvd.errors import SpecError
from streamsvd.factor.result import SVD
from streamsvd.models.columns import stored_mask
from streamsvd.models.mathematics.incremental import default_buffer
from streamsvd.models.options import make_spec
from streamsvd.models.state import check_result, kept_columns, narrow_result, refuse_base
from streamsvd.models.weights import stored_weights
from streamsvd.store.explanations import explain_errors, path_exists
from streamsvd.store.objects import objects_at
from streamsvd.store.results.reader import read_result
from streamsvd.store.versions import DEFAULT_KEEP, FOLDER, VERSIONS, ModelSettings, StoredWeights


def is_vacant(path: str | os.PathLike[str]) -> bool:
    """Whether nothing is there yet."""
    if is_url(path):
        return not objects_at(path).names("log")
    place = local_path(path)
    if not path_exists(place):
        return True
    if not place.is_dir():
        return False
    # One that was killed while it made the model leaves temporary files, and drafts that nobody refers to.
    with explain_errors(place, doing="list"):
        return all(
            p.name.startswith("model.json.") or (p.name == VERSIONS and _only_drafts(p))
            for p in place.iterdir()
        )


def _only_drafts(folder: Path) -> bool:
    return all(FOLDER.fullmatch(p.name) for p in folder.iterdir())


def new_settings(
    *, keep: int = DEFAULT_KEEP, mask: Any = None, column_weights: Any = None, **options: Any
) -> ModelSettings:
    """What a model that has seen nothing is made with."""
    if keep < 2:
        raise SpecError(f"keep={keep} leaves nothing to return to. Pass keep >= 2.")
    spec = make_spec(**{"rank": None} | options)
    weights = stored_weights(column_weights, spec)
    return ModelSettings(1, spec, keep, False, stored_mask(mask, spec), weights)


def settings_of_result(path: Path) -> ModelSettings:
    """Settings of a batch result, as if it had been a model from the beginning."""
    result: SVD = read_result(path, "svd", "pca")
    weights = result.preparation.get("column_weights")
    # A column left out has a scale all the same, by which it would come back: refused as without one.
    refuse_base(result)
    columns = kept_columns(result)
    if columns is not None:
        result = narrow_result(result, columns)
    check_result(result, str(path))
    rank = max(result.rank, 1)
    spec = make_spec(
        rank=rank,
        buffer=default_buffer(rank, result.Vh.shape[1]),
        center=bool(result.preparation.get("center")),
        u=result.U is not None,
        seed=result.info.seed,
    )
    spec = msgspec.structs.replace(spec, width=result.Vh.shape[1], scaled=result.scale is not None)
    return ModelSettings(
        1, spec, DEFAULT_KEEP, True, column_weights=None if weights is None else StoredWeights()
    )
