"""What the text of a pipeline leaves open: settings of the command line, and variables of the environment."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from streamsvd.errors import DescriptionError
from streamsvd.pipelines.vocabulary import INPUTS

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
LISTS = ("steps", "checks", "publish", "notify")
"""Fields of a file that are lists of tables."""


def apply_setting(table: dict[str, Any], setting: str) -> None:
    """Replace one value; steps, checks, publications and notices are found by their names."""
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
            found = _entry(place, path[0], name, setting)
        else:
            empty: Any = [] if place is table and name in LISTS else {}
            found = place.setdefault(name, empty) if isinstance(place, dict) else None
        if not isinstance(found, dict | list):
            names = ", ".join(_names(place, path[0])) if isinstance(place, list) else ""
            remedy = f"There are {names}." if names else "Check the key."
            raise DescriptionError(
                f"set={setting!r} leads nowhere: there is no {name!r} at {where}. {remedy}"
            )
        place = found
    if not isinstance(place, dict):
        raise DescriptionError(
            f"set={setting!r} leads to a list, not to a value. Name a field of one of its tables."
        )
    place[path[-1]] = value


def _names(entries: list[Any], kind: str) -> list[str]:
    """Names of the tables in a list."""
    found = (default_name(kind, entry) for entry in entries if isinstance(entry, dict))
    return [name for name in found if name]


def _entry(entries: list[Any], kind: str, name: str, setting: str) -> Any:
    """The table of this name in a list; None where there is none.

    Raises
    ------
    DescriptionError
        If several have it.
    """
    found = [e for e in entries if isinstance(e, dict) and default_name(kind, e) == name]
    if len(found) > 1 and kind != "steps":  # two steps of one name are a fault of their own
        raise DescriptionError(
            f"set={setting!r} may mean {len(found)} tables at $.{kind}: give each a name, such as name = {name + '-2'!r}."
        )
    return found[0] if found else None


def default_name(kind: str, entry: Mapping[str, Any]) -> str:
    """The name of a table in a list as it says, or that it has without saying so; empty where it has none.

    Of a step that of its verb; of a check those of its step and its quantity; of a publication that of its step; of a notice
    that of its program.

    Parameters
    ----------
    kind
        ``"steps"``, ``"checks"``, ``"publish"`` or ``"notify"``.
    entry
        The table as the file has it.
    """
    if entry.get("name"):
        return str(entry["name"])
    if kind == "checks":
        return f"{entry.get('step')}-{entry.get('quantity')}"
    if kind == "publish":
        return str(entry.get("step", ""))
    if kind == "notify":
        command = entry.get("command")
        return str(command[0]).rpartition("/")[2] if isinstance(command, list) and command else ""
    return next((key for key in entry if key in INPUTS), "")


def with_variables(value: Any, where: str) -> Any:
    """The same with variables of the environment in its texts."""
    if isinstance(value, dict):
        return {key: with_variables(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [with_variables(item, f"{where}[{number}]") for number, item in enumerate(value)]
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
