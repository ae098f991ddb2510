"""What a step hands to its verb, and the key that a result has for what was asked and read."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from streamsvd.checks.paths import is_url, local_path
from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline, Step, before
from streamsvd.pipelines.sources import (
    address,
    digest_of,
    is_there,
    open_input,
    option_addresses,
    option_value,
)
from streamsvd.pipelines.transforms import source_identity, weight_options
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.store.explanations import path_exists
from streamsvd.store.sources.views.adjusted import stored_rows
from streamsvd.verbs import VERBS


def results_of(pipeline: Pipeline, step: Step) -> Path:
    """Folder of the results of a step."""
    return pipeline.state / "results" / step.name


def saves_of(pipeline: Pipeline, step: Step) -> Path:
    """Folder of what a step saves while it is made."""
    return pipeline.state / "saves" / step.name


def is_waiting(pipeline: Pipeline, step: Step) -> bool:
    """Whether a source of the step may be absent, and is; or that of a step that comes before it."""
    by_name = {s.name: s for s in pipeline.steps}
    for argument, value in step.inputs.items():
        if INPUTS[step.verb][argument] == "source":
            described = pipeline.sources[value]
            if described.absent == "skip" and not is_there(pipeline, described):
                return True
    return any(is_waiting(pipeline, by_name[name]) for name in before(step, by_name))


def step_inputs(pipeline: Pipeline, step: Step, places: Mapping[str, str]) -> list[Any]:
    """What the verb is given first, in its order.

    Parameters
    ----------
    pipeline, step
        The step, and where it belongs.
    places
        Of the steps before it: where their results, or their models, are.

    Raises
    ------
    StoreError
        If one of them is not there.
    """
    found: list[Any] = []
    for argument, value in step.inputs.items():
        word = INPUTS[step.verb][argument]
        if word == "source":
            found.append(open_input(pipeline, step, value))
        elif word == "result":
            found.append(places[value] if value in places else _result_at(pipeline, value))
        elif word == "model":
            found.append(pipeline.address(value))
        else:
            found.append(option_value(pipeline, word, value))
    return found


def _result_at(pipeline: Pipeline, text: str) -> str:
    """Where a result is that no step makes."""
    where = pipeline.address(text)
    if not is_url(where) and not path_exists(local_path(where)):
        raise StoreError(
            f"{where} does not exist, and no step is named {text!r}. Name a step, or mend the path."
        )
    return where


def step_options(pipeline: Pipeline, step: Step, inputs: Sequence[Any]) -> dict[str, Any]:
    """The options, with the arrays that files hold, and weights that the table of a source asks for."""
    said = {name: option_value(pipeline, name, value) for name, value in step.options.items()}
    return said | weight_options(pipeline, step, inputs)


def accepts(step: Step, name: str, part: Literal["function", "plan"] = "function") -> bool:
    """Whether the verb of a step, or its plan, takes an argument; what is held in memory as it comes is not saved."""
    if name == "checkpoint" and step.options.get("method") == "online":
        return False
    return name in inspect.signature(VERBS[step.verb].resolve(part)).parameters


def step_key(
    pipeline: Pipeline,
    step: Step,
    inputs: list[Any],
    earlier: Mapping[str, str],
    digests: dict[str, str] | None = None,
) -> str:
    """Digest of what is asked, of what is read, and of the steps before it.

    Memory is no part of it: it changes how a result is made, and not what it is.

    Parameters
    ----------
    pipeline, step, inputs
        The step, and what it hands to its verb.
    earlier
        Keys of the steps that were made.
    digests
        Takes the digests of sources, by their names.
    """
    names = {s.name for s in pipeline.steps}
    read: list[Any] = []
    for (argument, value), opened in zip(step.inputs.items(), inputs, strict=True):
        word = INPUTS[step.verb][argument]
        if word == "source":
            described = pipeline.sources[value]
            means = (described.variable, described.rows, described.missing, *described.numbers)
            digest = digest_of(address(pipeline, described), stored_rows(opened))
            read.append([digest, *means, *source_identity(described, opened)])
            if digests is not None:
                digests[value] = digest
        elif word == "model":
            read.append(pipeline.address(value))
        elif word != "result" or value not in names:
            read.append(digest_of(pipeline.address(value)))
    options = {name: value for name, value in sorted(step.options.items()) if name != "memory"}
    named = [
        digest_of(where)
        for name, value in options.items()
        for where in option_addresses(pipeline, name, value)
    ]
    asked = {
        "verb": step.verb, "options": options, "read": read, "files": named,
        "needs": [earlier.get(name, "") for name in before(step, names)],
    }  # fmt: skip
    return hashlib.blake2b(
        msgspec.json.encode(asked, order="deterministic"), digest_size=8
    ).hexdigest()
