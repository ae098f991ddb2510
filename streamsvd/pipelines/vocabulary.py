"""Words that the file of a pipeline may use: verbs with their inputs and options, and quantities of checks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Literal

from streamsvd.verbs import VERBS

Quantity = Literal[
    "width", "error", "captured", "angle", "drift", "change", "residual", "rmse", "ratio", "rows", "missing", "passes",
    "bytes", "seconds", "age", "schema",
]  # fmt: skip
"""What a check may ask of a step: see `streamsvd.pipelines.quantities`."""


INPUTS: Mapping[str, Mapping[str, str]] = {
    "svd": {"A": "source"},
    "pca": {"A": "source"},
    "cells": {"A": "source"},
    "update": {"path": "model", "block": "source"},
    "verify": {"path": "result", "A": "source"},
    "top_eigenvectors": {"A": "source"},
    "nystrom": {"X": "source"},
    "kernel_ridge": {"X": "source", "y": "y"},
    "sample_rows": {"A": "source"},
    "lstsq": {"A": "source", "b": "b"},
    "embed": {"A": "source"},
    "cluster": {"collection": "source"},
    "compress": {"collection": "source"},
    "rate_curve": {"collection": "source"},
}
"""Verbs that can be steps: their inputs, by argument, and how a step names each."""
FACTORISATIONS = ("svd", "pca", "update")
"""Verbs whose results `verify` can hold against their source."""
COLLECTIONS = ("cluster", "compress", "rate_curve")
"""Verbs that read a collection, which has no columns."""
COUNTS = frozenset({"rows", "passes", "bytes", "seconds", "age"})
PROOFS = frozenset({"width", "error", "captured", "angle"})
COMPARISONS = frozenset({"drift", "change"})
"""Quantities that are measured from what is published."""
LEADING = frozenset({"width", "drift", "change"})
"""Quantities that may be asked of the leading directions alone."""
_OWN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(FACTORISATIONS, PROOFS | COMPARISONS | {"missing"}),
    "cells": PROOFS | COMPARISONS,
    "verify": PROOFS,
    "top_eigenvectors": frozenset({"width", "captured", "angle"}) | COMPARISONS,
    "nystrom": frozenset({"error"}),
    "kernel_ridge": frozenset({"error", "residual", "rmse"}),
    "sample_rows": frozenset({"error"}),
    "lstsq": frozenset({"error", "residual"}),
    "embed": frozenset(),
    **dict.fromkeys(COLLECTIONS, frozenset({"error", "ratio"})),
}
QUANTITIES: Mapping[str, frozenset[str]] = {
    verb: COUNTS | _OWN[verb] | (frozenset() if verb in COLLECTIONS else {"schema"})
    for verb in INPUTS
} | {"compress": _OWN["compress"] | {"rows", "seconds", "age"}}
"""Which quantities the result of each verb has."""
WITH_COLUMNS = (*FACTORISATIONS, "cells", "top_eigenvectors", "sample_rows")
"""Verbs whose results tell how many columns their matrix had."""
OURS = frozenset(
    {"callback", "checkpoint", "save_seconds", "out", "overwrite", "plan", "append", "replay"}
)
"""Arguments that the pipeline gives: places are its own, and a step that was killed goes on by itself."""
MODEL_OPTIONS = (
    "rank",
    "tol",
    "buffer",
    "max_rank",
    "center",
    "axis",
    "forget",
    "window",
    "robust",
    "u",
    "seed",
    "delta",
)
"""What a model is made with, which `update` takes beside its own options."""


def step_fields(verb: str) -> tuple[str, ...]:
    """What the table of a verb may say."""
    function = VERBS[verb].resolve("function")
    arguments = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    options = [name for name in arguments if name not in OURS and name not in INPUTS[verb]]
    return (*INPUTS[verb].values(), *options, *(MODEL_OPTIONS if verb == "update" else ()))
