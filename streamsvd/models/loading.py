"""One door for everything that was kept: results of `svd` and `pca`, and models."""

from __future__ import annotations

import os

from streamsvd.checks.paths import local_path
from streamsvd.models import Model
from streamsvd.result import SVD
from streamsvd.store.objects import objects_at
from streamsvd.store.results.factorisation import read_result as load_result
from streamsvd.store.versions import is_model


def load(path: str | os.PathLike[str]) -> SVD:
    """A result that `svd` or `pca` kept at ``out``, or the newest version of a model; its ``U`` stays lazy.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    StoreError
        If there is no result, or one that is damaged or of a newer format.
    """
    if is_model(objects_at(path)):
        return Model.open(path).as_svd()
    return load_result(local_path(path))[0]
