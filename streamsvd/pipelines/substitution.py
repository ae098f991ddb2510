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


def apply_setting(table: dict[str, Any], setting: str) -> None:
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
    """The name of a step as its table has it: without one, that of its verb."""
    return entry.get("name", next((key for key in entry if key in INPUTS), None))


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
