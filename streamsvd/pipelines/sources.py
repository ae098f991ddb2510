"""Inputs of a step: what is opened, and the files that options name."""

from __future__ import annotations

from typing import Any

from streamsvd.checks.paths import is_url, local_path, split_inside
from streamsvd.engine.opening import open as open_matrix
from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.digests import digest_of, model_version, newest_time
from streamsvd.pipelines.source_description import SourceDescription
from streamsvd.pipelines.transforms import transform_source
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.store.collections import open_collection
from streamsvd.store.explanations import path_exists
from streamsvd.store.writing.files import array_in

__all__ = [
    "ARRAYS", "MATRICES", "address", "digest_of", "is_there", "model_version", "newest_time", "open_input", "option_addresses",
    "option_value",
]  # fmt: skip

ARRAYS = frozenset({"b", "y", "row_weights", "column_weights", "mask"})
"""Arguments that a step may give as the path of a ``.npy`` file, or as a table of such paths."""
MATRICES = frozenset({"inputs"})
"""Arguments that are matrices, which the verb opens by their address."""


def address(pipeline: Pipeline, described: SourceDescription) -> str:
    """Where a source is: a URL, or a path as the file means it."""
    return pipeline.address(described.path)


def is_there(pipeline: Pipeline, described: SourceDescription) -> bool:
    """Whether a source is there; of a URL that is known when it is opened."""
    where = address(pipeline, described)
    return is_url(where) or path_exists(split_inside(local_path(where))[0])


def open_input(pipeline: Pipeline, step: Step, name: str) -> Any:
    """A matrix, transformed as its table says; of verbs that read a collection, this or its address.

    Means that are subtracted may not be known yet: `streamsvd.pipelines.transforms.fit_inputs` finds them.

    Raises
    ------
    StoreError
        If nothing is there.
    SpecError
        If its transform cannot be made.
    """
    described = pipeline.sources[name]
    where = address(pipeline, described)
    if not is_there(pipeline, described):
        raise StoreError(
            f'{where} does not exist. Make it, mend its path, or write absent = "skip" where steps are to wait for it.'
        )
    if "collection" in INPUTS[step.verb]:
        told = described.collection_options
        return open_collection(where, **told) if told else where  # type: ignore[arg-type]  # checked as the file was read
    source = open_matrix(where, missing=described.missing, **described.matrix_options)
    return transform_source(pipeline, step, name, source)


def option_value(pipeline: Pipeline, name: str, value: Any) -> Any:
    """What an option means: the array in a file, or the address of a matrix, where it names one."""
    if isinstance(value, dict):
        return {key: option_value(pipeline, name, item) for key, item in value.items()}
    if _is_file(name, value):
        return array_in(pipeline.place(value), name)
    return pipeline.address(value) if _is_matrix(name, value) else value


def option_addresses(pipeline: Pipeline, name: str, value: Any) -> list[str]:
    """Where the files that an option names are."""
    if isinstance(value, dict):
        return [a for item in value.values() for a in option_addresses(pipeline, name, item)]
    named = _is_file(name, value) or _is_matrix(name, value)
    return [pipeline.address(value)] if named else []


def _is_file(name: str, value: Any) -> bool:
    return name in ARRAYS and isinstance(value, str) and value.endswith(".npy")


def _is_matrix(name: str, value: Any) -> bool:
    return name in MATRICES and isinstance(value, str)
