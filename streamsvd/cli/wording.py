"""Messages of the library, which speaks of Python arguments, in the words of the command line."""

from __future__ import annotations

import re

_NAMES = (
    "rank|energy|tol|memory|center|scale|row_weights|column_weights|nonfinite|mask|out|overwrite|seed|max_passes|"
    "certify|target|excess_tol|route|delta|device|precision|variable|rows|missing|scheduler|workers|u|"
    "block_id|forget|window|robust|columns|k|order|passes|width|heavy_rows|n_rows|checkpoint|kernel|n_centres|gamma|length|degree|offset|smoothness|budget|mode|ridge|held_out|solver|y|size|scores|oversampling|p|method|b|error|select|transpose|cut|append|backend|figure"
)
_SETTING = re.compile(
    rf"""(?<![\w-])({_NAMES})=("[^"]*"|'[^']*'|\([^)]*\)|-?\w[\w.+-]*\w|-?\w|(?=[\s,;.)]))"""
)


def in_options(message: str) -> str:
    """``memory=268435456`` becomes ``--memory 268435456``, ``overwrite=True`` becomes ``--overwrite``.

    Examples
    --------
    >>> in_options('Pass overwrite=True (--overwrite), nonfinite="mean" or max_passes=20.')
    'Pass --overwrite, --nonfinite mean or --max-passes 20.'
    """
    text = _SETTING.sub(_option, message)
    text = re.sub(
        r"(?<![\w-])(row_weights|column_weights|max_passes|excess_tol|block_id|heavy_rows|n_rows|n_centres|held_out)\b",
        _flag,
        text,
    )
    text = re.sub(r"(--[\w-]+) \(\1\)", r"\1", text)
    if text != message:
        text = re.sub(r'"([\w.-]+)"', r"\1", text)  # values need no quotes here
    return re.sub(r"\.\.(?=\s|$)", ".", text)


def _flag(match: re.Match[str]) -> str:
    return f"--{match[1].replace('_', '-')}"


def _option(match: re.Match[str]) -> str:
    name, value = match[1].replace("_", "-"), match[2].strip("\"'")
    if value in ("True", "False"):
        return f"--{name}" if value == "True" else f"--no-{name}"
    if value.startswith("("):
        value = ",".join(part.strip(" '\"") for part in value[1:-1].split(",") if part.strip())
    return f"--{name} {value}".rstrip()
