"""A pipeline as its file describes it: sources, steps, checks and what is published. Every fault is located before any work."""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from streamsvd.errors import DescriptionError, StoreError
from streamsvd.store.explanations import raise_access_error
from streamsvd.verbs import VERBS

Quantity = Literal[
    "width", "error", "captured", "drift", "rows", "missing", "passes", "bytes", "seconds", "age"
]
"""What a check may ask of a step: see `streamsvd.pipelines.checks`."""

INPUTS: Mapping[str, Mapping[str, str]] = {
    "svd": {"A": "source"},
    "pca": {"A": "source"},
    "update": {"path": "model", "block": "source"},
    "verify": {"path": "result", "A": "source"},
    "top_eigenvectors": {"A": "source"},
    "nystrom": {"X": "source"},
    "kernel_ridge": {"X": "source", "y": "y"},
    "sample_rows": {"A": "source"},
    "lstsq": {"A": "source", "b": "b"},
    "cluster": {"collection": "source"},
    "compress": {"collection": "source"},
    "rate_curve": {"collection": "source"},
}
"""Verbs that can be steps: their inputs, by argument, and how a step names each."""
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
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class SourceDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix or a collection: where it is, and what `streamsvd.open` is to be told of it."""

    path: str
    variable: str | None = None
    rows: str | int | list[str] | None = None
    missing: Literal["error", "fill"] = "error"
    absent: Literal["fail", "skip"] = "fail"


class CheckDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a result must satisfy before it is published."""

    step: str
    quantity: Quantity
    at_most: float | None = None
    at_least: float | None = None


class PublicationDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link that leads to the result of a step, once every check has passed."""

    step: str
    to: str


class NoticeDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that is told how a run ended: the record is its input."""

    command: list[str]
    when: Literal["always", "failure", "change"] = "failure"
    seconds: float = 30.0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of a file; steps have a verb for a key and are read by hand."""

    steps: list[dict[str, Any]]
    name: str | None = None
    state: str | None = None
    keep: int = 5
    sources: dict[str, SourceDescription] = {}
    checks: list[CheckDescription] = []
    publish: list[PublicationDescription] = []
    notify: list[NoticeDescription] = []


@dataclass(frozen=True, slots=True)
class Step:
    """One verb, with its inputs and options.

    Attributes
    ----------
    name, verb
        Its own, and that of the verb.
    inputs
        Of each argument that is an input: the name of a source, of a step, or a place.
    options
        The other arguments, as they were written.
    needs
        Steps that come before it.
    """

    name: str
    verb: str
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a file says, checked as far as no data are needed.

    Attributes
    ----------
    name, path
        Its name, and its file.
    state
        Folder of its records, results and saves.
    keep
        Results of a step that are kept, beside those that are published.
    sources, steps, checks, publications, notices
        As described; steps in an order in which each comes after what it needs.
    """

    name: str
    path: Path
    state: Path
    keep: int
    sources: Mapping[str, SourceDescription]
    steps: tuple[Step, ...]
    checks: tuple[CheckDescription, ...]
    publications: tuple[PublicationDescription, ...]
    notices: tuple[NoticeDescription, ...]

    def place(self, text: str) -> Path:
        """A path as the file means it: relative to the folder it lies in."""
        return self.path.parent / Path(text).expanduser()


def read_pipeline(path: str | os.PathLike[str], settings: Sequence[str] = ()) -> Pipeline:
    """The pipeline in a TOML file.

    Parameters
    ----------
    path
        The file. ``${NAME}`` in a text is a variable of the environment, ``${NAME:-text}`` one that may be left out.
    settings
        Texts ``key=value`` that replace what the file says, such as ``"steps.eof.pca.rank=10"``.

    Raises
    ------
    StoreError
        If the file cannot be read.
    DescriptionError
        If it is no pipeline; the fault is located, as in ``at $.steps[1].svd``.
    """
    place = Path(path).expanduser().absolute()
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist. Pass the file of a pipeline.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise_access_error(error, place)
        raise DescriptionError(
            f"{path} is no text: {error}. Pass the file of a pipeline."
        ) from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{path} is no TOML: {error}. Mend that line.") from error
    for setting in settings:
        _apply_setting(table, setting)
    table = _with_variables(table, "$")
    try:
        file = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise DescriptionError(
            f"{path}: {error}. Mend it; docs/pipelines.md names every field."
        ) from error
    try:
        return _checked(file, place)
    except DescriptionError as error:
        raise DescriptionError(f"{path}: {error}") from error


def _checked(file: _File, place: Path) -> Pipeline:
    """The pipeline, with its steps in order and every name known."""
    if file.keep < 1:
        raise DescriptionError(
            f"keep={file.keep} would keep no result - at $.keep. Pass at least 1."
        )
    steps = [_step(table, number) for number, table in enumerate(file.steps)]
    if not steps:
        raise DescriptionError(
            "there are no steps - at $.steps. Write one, such as [[steps]] with name and svd."
        )
    by_name = {step.name: step for step in steps}
    if len(by_name) < len(steps):
        names = [step.name for step in steps]
        twice = next(name for name in names if names.count(name) > 1)
        raise DescriptionError(
            f"two steps have the name {twice!r} - at $.steps. Give each its own."
        )
    for name in file.sources:
        _check_name(name, "$.sources")
    for number, step in enumerate(steps):
        _check_inputs(step, f"$.steps[{number}]", file.sources, by_name)
    steps = [by_name[name] for name in _ordered(steps)]
    asked = [(f"checks[{i}]", check.step) for i, check in enumerate(file.checks)]
    asked += [(f"publish[{i}]", entry.step) for i, entry in enumerate(file.publish)]
    for where, step_name in asked:
        if step_name not in by_name:
            raise DescriptionError(
                f"there is no step {step_name!r} - at $.{where}.step. Steps are {', '.join(by_name)}."
            )
    for number, check in enumerate(file.checks):
        if check.at_most is None and check.at_least is None:
            raise DescriptionError(
                f"nothing is asked - at $.checks[{number}]. Pass at_most or at_least."
            )
    name = file.name or place.stem
    _check_name(name, "$.name")
    state = place.parent / (Path(file.state).expanduser() if file.state else f"{place.stem}.runs")
    return Pipeline(
        name, place, state, file.keep, file.sources, tuple(steps), tuple(file.checks), tuple(file.publish),
        tuple(file.notify),
    )  # fmt: skip


def _step(table: Mapping[str, Any], number: int) -> Step:
    """A step of its table: a name, what it needs, and one verb."""
    where = f"$.steps[{number}]"
    verbs = [key for key in table if key in INPUTS]
    for key in table:
        if key not in INPUTS and key not in ("name", "needs"):
            raise DescriptionError(
                f"unknown field {key!r} - at {where}. Its fields are name, needs, and one of {', '.join(INPUTS)}."
            )
    if len(verbs) != 1:
        found = " and ".join(verbs) if verbs else "none"
        raise DescriptionError(
            f"a step has one verb, found {found} - at {where}. Write one of {', '.join(INPUTS)}."
        )
    verb = verbs[0]
    options = table[verb]
    if not isinstance(options, dict):
        raise DescriptionError(
            f"expected a table, found {options!r} - at {where}.{verb}. Write {verb} = {{source = ...}}."
        )
    name = table.get("name", verb)
    _check_name(name, f"{where}.name")
    needs = table.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(n, str) for n in needs):
        raise DescriptionError(
            f'expected a list of names of steps, found {needs!r} - at {where}.needs. Write it as ["..."].'
        )
    known = step_fields(verb)
    for key in options:
        if key not in known:
            raise DescriptionError(
                f"unknown field {key!r} - at {where}.{verb}. Its fields are {', '.join(known)}."
            )
    named = INPUTS[verb]
    for word in named.values():
        value = options.get(word)
        if not isinstance(value, str) or not value:
            found = "nothing" if value is None else repr(value)
            raise DescriptionError(
                f"expected a name or a path, found {found} - at {where}.{verb}.{word}. Write it as a text."
            )
    inputs = {argument: options[word] for argument, word in named.items()}
    rest = {key: value for key, value in options.items() if key not in named.values()}
    return Step(name, verb, inputs, rest, tuple(needs))


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


def _check_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DescriptionError(f"{name!r} is no name - at {where}. Use letters, digits, - and _.")


def _check_inputs(
    step: Step, where: str, sources: Mapping[str, SourceDescription], steps: Mapping[str, Step]
) -> None:
    """Refuse names of sources and steps that are nowhere."""
    named = INPUTS[step.verb]
    for argument, field in named.items():
        if field == "source" and step.inputs[argument] not in sources:
            known = ", ".join(sources) or "none"
            raise DescriptionError(
                f"there is no source {step.inputs[argument]!r} - at {where}.{step.verb}.source. Sources are {known}."
            )
    for name in step.needs:
        if name not in steps:
            raise DescriptionError(
                f"there is no step {name!r} - at {where}.needs. Steps are {', '.join(steps)}."
            )


def _ordered(steps: Sequence[Step]) -> list[str]:
    """Names of steps, each after what it needs; otherwise in the order of the file."""
    names = {step.name for step in steps}
    graph = {step.name: before(step, names) for step in steps}
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(map(str, error.args[1]))
        raise DescriptionError(
            f"steps need one another in a circle: {circle} - at $.steps. Take one of these needs out."
        ) from None
    order: list[str] = []
    position = {step.name: number for number, step in enumerate(steps)}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        order += ready
        sorter.done(*ready)
    return order


def before(step: Step, names: Collection[str]) -> tuple[str, ...]:
    """Steps that come before one: those it names, and that whose result it reads."""
    read = [
        value for argument, value in step.inputs.items() if INPUTS[step.verb][argument] == "result"
    ]
    return tuple(dict.fromkeys((*step.needs, *(name for name in read if name in names))))


def _apply_setting(table: dict[str, Any], setting: str) -> None:
    """Replace one value; a step is found by its name."""
    key, equals, text = setting.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise DescriptionError(
            f"set={setting!r} is no key=value. Write it as steps.NAME.VERB.OPTION=VALUE or sources.NAME.path=PLACE."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a text without quotes
    place: Any = table
    for depth, name in enumerate(path[:-1]):
        where = "$" + "".join(f".{part}" for part in path[:depth])
        if isinstance(place, list):
            found = next(
                (entry for entry in place if isinstance(entry, dict) and _name_of(entry) == name),
                None,
            )
        else:
            found = place.setdefault(name, {}) if isinstance(place, dict) else None
        if not isinstance(found, dict | list):
            raise DescriptionError(
                f"set={setting!r} leads nowhere: there is no {name!r} at {where}. Check the key."
            )
        place = found
    if not isinstance(place, dict):
        raise DescriptionError(
            f"set={setting!r} leads to a list, not to a value. Name a field of one of its tables."
        )
    place[path[-1]] = value


def _name_of(entry: Mapping[str, Any]) -> Any:
    return entry.get("name", next((key for key in entry if key in INPUTS), None))


def _with_variables(value: Any, where: str) -> Any:
    """The same with variables of the environment in its texts."""
    if isinstance(value, dict):
        return {key: _with_variables(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        name: str = match[1]
        otherwise: str | None = match[2]
        if name in os.environ:
            return os.environ[name]
        if otherwise is None:
            raise DescriptionError(
                f"the environment has no variable {name} - at {where}. Set it, or write ${{{name}:-...}} with what is meant "
                "without it."
            )
        return otherwise

    return _VARIABLE.sub(found, value)


QUANTITIES: tuple[str, ...] = get_args(Quantity)
