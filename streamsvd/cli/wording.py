"""Messages of the library, which speaks of Python arguments, in the words of the command line.

Which words are options is asked of the commands themselves, so that a new option is spelt right by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import click

from streamsvd.cli.commands import verbs

VALUE = r"""("[^"]*"|'[^']*'|\([^)]*\)|-?\w[\w.+-]*\w|-?\w|(?=[\s,;.)]))"""


def in_options(message: str) -> str:
    """``memory=268435456`` becomes ``--memory 268435456``, ``overwrite=True`` becomes ``--overwrite``.

    Examples
    --------
    >>> in_options('Pass overwrite=True (--overwrite), nonfinite="mean" or max_passes=20.')
    'Pass --overwrite, --nonfinite mean or --max-passes 20.'
    """
    names = _option_names()
    text = re.sub(rf"(?<![\w'-])({'|'.join(names)})={VALUE}", _option, message)
    long = "|".join(name for name in names if "_" in name)  # short ones are words of any sentence
    text = re.sub(rf"(?<![\w-])({long})\b", _flag, text)
    text = re.sub(r"(--[\w-]+) \(\1\)", r"\1", text)
    text = text.replace(" of streamsvd.open.", ".")  # here it is an option of the verb
    if text != message:
        text = re.sub(r'"([\w.-]+)"', r"\1", text)  # values need no quotes here
    return re.sub(r"\.\.(?=\s|$)", ".", text)


@cache
def _option_names() -> tuple[str, ...]:
    """The options of all commands, as arguments of Python, the longest first."""
    found = {name for command in _commands(verbs) for name in _names_of(command)}
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def _commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command)
        elif command is not None:
            yield command


def _names_of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for flag in parameter.opts:
                yield flag.lstrip("-").replace("-", "_")


def _flag(match: re.Match[str]) -> str:
    return f"--{match[1].replace('_', '-')}"


def _option(match: re.Match[str]) -> str:
    name, value = match[1].replace("_", "-"), match[2].strip("\"'")
    if value in ("True", "False"):
        return f"--{name}" if value == "True" else f"--no-{name}"
    if value.startswith("("):
        value = ",".join(part.strip(" '\"") for part in value[1:-1].split(",") if part.strip())
    return f"--{name} {value}".rstrip()
