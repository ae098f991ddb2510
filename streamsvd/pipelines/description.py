"""A pipeline as its file describes it: sources, steps, checks and what is published. Every fault is located before any work."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streamsvd.checks.paths import is_url, local_path
from streamsvd.engine.memory import parse_bytes
from streamsvd.errors import DescriptionError, SpecError, StoreError
from streamsvd.pipelines.check_descriptions import CheckDescription, check_checks
from streamsvd.pipelines.notice_fields import NoticeDescription, check_notice
from streamsvd.pipelines.report_place import report_place
from streamsvd.pipelines.source_description import SourceDescription, check_source, check_use
from streamsvd.pipelines.substitution import apply_setting, with_variables
from streamsvd.pipelines.timetable import Timing, check_timing
from streamsvd.pipelines.vocabulary import FACTORISATIONS, INPUTS, step_fields
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.writing.placing import check_local

T = TypeVar("T")
STATE_NAMES = ("lock", "runs", "results", "saves", "publications", "marks")
"""What lies in the state of a pipeline."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class PublicationDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link that leads to the result of a step, once every check has passed."""

    step: str
    to: str
    name: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of a file; steps and sources, which have names for keys, are read one by one."""

    steps: list[dict[str, Any]]
    name: str | None = None
    state: str | None = None
    keep: int = 5
    memory: int | str | None = None
    report: str | None = None
    schedule: str | None = None
    timezone: str = "UTC"
    jitter: float = 0.0
    claims: str | None = None
    sources: dict[str, Any] = {}
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

    @property
    def source(self) -> str:
        """Name of the source that it reads."""
        words = INPUTS[self.verb]
        return next(value for argument, value in self.inputs.items() if words[argument] == "source")


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
    report
        File of the page that every run writes; None for no page.
    timing
        When it runs by itself.
    """

    name: str
    path: Path
    state: Path
    keep: int
    memory: int | None
    sources: Mapping[str, SourceDescription]
    steps: tuple[Step, ...]
    checks: tuple[CheckDescription, ...]
    publications: tuple[PublicationDescription, ...]
    notices: tuple[NoticeDescription, ...]
    report: Path | None = None
    timing: Timing = Timing()  # noqa: RUF009 - it cannot change

    def place(self, text: str) -> Path:
        """A path as the file means it: relative to the folder it lies in."""
        return self.path.parent / local_path(text)

    def address(self, text: str) -> str:
        """A URL as it is written, or a path as the file means it."""
        return text if is_url(text) else str(self.place(text))


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
    place = local_path(path, "file").absolute()
    try:
        text = place.read_text(
            encoding="utf-8-sig"
        )  # some editors write a mark of their encoding first
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
    try:
        for setting in settings:
            apply_setting(table, setting)
        return _pipeline(_converted_table(with_variables(table, "$"), _File, "$"), place)
    except DescriptionError as error:
        raise DescriptionError(f"{path}: {error}") from error


def _converted_table(table: Any, kind: type[T], where: str) -> T:
    """A table as a record of a kind; a fault in it is located."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        said, _, within = str(error).replace("`", "'").partition(" - at ")
        said = said.replace("Object contains unknown", "unknown").replace("Expected", "expected")
        raise DescriptionError(
            f"{said} - at {where}{within.strip(chr(39)).removeprefix('$')}. Mend it; docs/pipelines.md names every field."
        ) from error


def _pipeline(file: _File, place: Path) -> Pipeline:
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
    sources: dict[str, SourceDescription] = {}
    for name, described in file.sources.items():
        _check_name(name, "$.sources")
        where = f"$.sources.{name}"
        sources[name] = _converted_table(described, SourceDescription, where)
        _check_address(sources[name].path, f"{where}.path")
        check_source(sources[name], where)
    for number, step in enumerate(steps):
        _check_inputs(step, f"$.steps[{number}]", sources, by_name)
    steps = [by_name[name] for name in _order_of(steps)]
    asked = [(f"checks[{i}]", check.step) for i, check in enumerate(file.checks)]
    asked += [(f"publish[{i}]", entry.step) for i, entry in enumerate(file.publish)]
    for where, step_name in asked:
        if step_name not in by_name:
            raise DescriptionError(
                f"there is no step {step_name!r} - at $.{where}.step. Steps are {', '.join(by_name)}."
            )
    check_checks(file.checks, by_name, {entry.step for entry in file.publish})
    for kind, entries in (
        ("checks", file.checks),
        ("publish", file.publish),
        ("notify", file.notify),
    ):
        _check_names(kind, entries)
    timing = Timing(file.schedule, file.timezone, file.jitter, file.claims)
    check_timing(timing)
    if timing.claims is not None:
        _check_address(timing.claims, "$.claims")
    _check_links(file.publish, place.parent)
    for number, notice in enumerate(file.notify):
        check_notice(notice, f"$.notify[{number}]")
    name = place.stem if file.name is None else file.name
    if file.name is None and not _NAME.fullmatch(name):
        raise DescriptionError(
            f'the file is called {name!r}, which is no name of a pipeline. Write name = "..." at its top, of letters, digits, - '
            "and _."
        )
    _check_name(name, "$.name")
    folder = f"{place.stem}.runs" if file.state is None else file.state
    state = place.parent / _path_of(folder, "$.state")
    read = [source.path for source in sources.values()]
    read += [
        v
        for s in steps
        for a, v in s.inputs.items()
        if INPUTS[s.verb][a] in ("model", "result") and v not in by_name
    ]
    page = report_place(file.report, place.parent, [p.to for p in file.publish], read)
    pipeline = Pipeline(
        name, place, state, file.keep, _memory_of(file.memory), sources, tuple(steps), tuple(file.checks), tuple(file.publish),
        tuple(file.notify), page, timing,
    )  # fmt: skip
    _check_outside(pipeline)
    return pipeline


def _memory_of(written: int | str | None) -> int | None:
    """Bytes as they are written; a fault is located."""
    try:
        return None if written is None else parse_bytes(written)
    except SpecError as error:
        raise DescriptionError(f"{error} - at $.memory.") from error


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


def _check_name(name: Any, where: str) -> None:
    """Refuse what is no name of a step, a source or a pipeline: names become folders."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DescriptionError(f"{name!r} is no name - at {where}. Use letters, digits, - and _.")


def _check_address(text: str, where: str) -> None:
    """Refuse what is neither a URL nor a path."""
    if not is_url(text):
        _path_of(text, where)


def _path_of(text: str, where: str) -> Path:
    """The path that a text means, which is a local one: results are published by links. A fault is located."""
    try:
        check_local(text)
        return local_path(text)
    except SpecError as error:
        raise DescriptionError(f"{error} - at {where}.") from error


def _check_names(kind: str, entries: Sequence[Any]) -> None:
    """Refuse names that are none, and one name that two tables of a list say they have."""
    names = [(number, entry.name) for number, entry in enumerate(entries) if entry.name]
    for number, name in names:
        where = f"$.{kind}[{number}].name"
        _check_name(name, where)
        if [other for _, other in names].count(name) > 1:
            raise DescriptionError(
                f"two tables have the name {name!r} - at {where}. Give each its own."
            )


def _check_links(publish: Sequence[PublicationDescription], folder: Path) -> None:
    """Refuse two links at one place, or one within what another leads to."""
    links: list[Path] = []
    for number, entry in enumerate(publish):
        where = f"$.publish[{number}].to"
        link = Path(os.path.abspath(folder / _path_of(entry.to, where)))  # noqa: PTH100 - links are not followed
        for earlier in links:
            if link == earlier:
                raise DescriptionError(
                    f"two steps are published to {entry.to} - at {where}. Give each a place of its own."
                )
            if link.is_relative_to(earlier) or earlier.is_relative_to(link):
                raise DescriptionError(
                    f"{link} and {earlier} lie one in the other - at {where}. Publish to places beside each other."
                )
        links.append(link)


def _check_outside(pipeline: Pipeline) -> None:
    """Refuse links and models within what a pipeline keeps in its state, where what is old is taken away."""
    places = [
        (entry.to, f"$.publish[{number}].to") for number, entry in enumerate(pipeline.publications)
    ]
    places += [
        (step.inputs["path"], f"model of step {step.name}")
        for step in pipeline.steps
        if step.verb == "update" and not is_url(step.inputs["path"])
    ]
    state = Path(os.path.abspath(pipeline.state))  # noqa: PTH100 - links are not followed
    for text, where in places:
        place = Path(os.path.abspath(pipeline.place(text)))  # noqa: PTH100
        if place == state or any(place.is_relative_to(state / name) for name in STATE_NAMES):
            raise DescriptionError(
                f"{text} lies in the state, {state}, where it would be taken away - at {where}. Choose a place beside it."
            )


def _check_inputs(
    step: Step, where: str, sources: Mapping[str, SourceDescription], steps: Mapping[str, Step]
) -> None:
    """Refuse names of sources and steps that are nowhere, and inputs that the verb cannot read."""
    for argument, field in INPUTS[step.verb].items():
        name, here = step.inputs[argument], f"{where}.{step.verb}.{field}"
        if field == "source" and name not in sources:
            known = ", ".join(sources) or "none"
            raise DescriptionError(f"there is no source {name!r} - at {here}. Sources are {known}.")
        if field == "source":
            _check_source_use(step, sources[name], f"$.sources.{name}", where, argument)
        if field == "result" and name in steps and steps[name].verb not in FACTORISATIONS:
            raise DescriptionError(
                f"step {name!r} is {steps[name].verb}, which has no certificate to verify - at {here}. Name a step of "
                f"{', '.join(FACTORISATIONS)}."
            )
        if field in ("y", "b") and not name.endswith(".npy"):
            raise DescriptionError(
                f"{name!r} is no .npy file - at {here}. Write the array with numpy.save, and its path here."
            )
        if field in ("result", "model") and name not in steps:
            _check_address(name, here)
    for name in step.needs:
        if name not in steps:
            raise DescriptionError(
                f"there is no step {name!r} - at {where}.needs. Steps are {', '.join(steps)}."
            )


def _check_source_use(
    step: Step, described: SourceDescription, source: str, where: str, argument: str
) -> None:
    """Refuse a source that the verb cannot read as it is described, and weights that are said twice."""
    check_use(described, source, step.verb, is_collection=argument == "collection")
    weighs = described.transform is not None and described.transform.weights is not None
    if weighs and "column_weights" in step.options:
        raise DescriptionError(
            f"column_weights are said here, and weights by {source}.transform - at {where}.{step.verb}.column_weights. Leave one of "
            "them out."
        )


def _order_of(steps: Sequence[Step]) -> list[str]:
    """Names of steps, each after what it needs, and of those that may come next the first in the file."""
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
    ready: set[str] = set()
    while sorter.is_active():
        ready.update(sorter.get_ready())
        first = next(step.name for step in steps if step.name in ready)
        ready.remove(first)
        order.append(first)
        sorter.done(first)
    return order


def before(step: Step, names: Collection[str]) -> tuple[str, ...]:
    """Steps that come before one: those it names, and that whose result it reads."""
    read = [
        value for argument, value in step.inputs.items() if INPUTS[step.verb][argument] == "result"
    ]
    return tuple(dict.fromkeys((*step.needs, *(name for name in read if name in names))))
