"""One door for everything that was kept: results of every verb, models, collections, streams, files of earlier releases."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import is_url, local_path, place_of
from streamsvd.errors import StoreError
from streamsvd.store.checkpoints.checkpoint import holds_saves
from streamsvd.store.collections.archive import CompressedStore
from streamsvd.store.explanations import path_exists, raise_access_error
from streamsvd.store.objects import objects_at
from streamsvd.store.results.kinds import (
    COLLECTION_HOME,
    FILE_HOMES,
    MODEL_HOME,
    STREAM_HOME,
    from_home,
)
from streamsvd.store.results.reader import is_result, read_result
from streamsvd.store.versions import is_model


def load(path: str | os.PathLike[str]) -> Any:
    """What was kept at a place: whatever it is.

    Parameters
    ----------
    path
        A folder, or the URL of a place in an object store; or a ``.npz`` file of a dictionary or a kernel ridge regression that
        an earlier release wrote.

    Returns
    -------
    result
        Of a verb, as it was handed back; a ``U`` stays a zarr array that is read where it is used. Of a model the factors of
        its newest version, an `SVD`. A `CompressedCollection`, or a `TopEigenvectorStream`.

    Raises
    ------
    StoreError
        If there is nothing of the kind, or it is damaged, of a kind that this release does not know, or of a newer format.

    Notes
    -----
    Cost: reads the arrays of a result but for ``U``; of a model or a collection what says what is in it.
    """
    place = None if is_url(path) else local_path(path)
    if place is not None and path_exists(place) and not place.is_dir():
        return _load_file(place)
    if is_model(objects_at(path)):
        return from_home(MODEL_HOME).open(path).as_svd()
    if CompressedStore.from_address(path).is_there():
        return from_home(COLLECTION_HOME)(path)
    where = place_of(path)
    if not is_result(where) and holds_saves(path):
        return from_home(STREAM_HOME).load(path)
    return read_result(where)


def _load_file(path: Path) -> Any:
    """What is in a file of arrays, as its names tell."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as kept:
            names = set(kept.namelist())
    except Exception as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is a file, and no .npz file of arrays. Pass the folder that a result was saved to."
        ) from error
    for name, home in FILE_HOMES.items():
        if {"record.npy", f"{name}.npy"} <= names:
            return from_home(home)(path)
    raise StoreError(
        f"{path} holds arrays alone, and not how they came about. numpy.load reads them; save a result with its method save."
    )
