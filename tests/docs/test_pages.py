"""Pages cannot rot: snippets run, commands run, options and links exist."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import click
import pytest

from streamsvd.cli import app
from streamsvd.cli import commands as command_line
from tests.docs.conftest import PAGES, makes_its_data, write_data

ROOT = Path(__file__).parents[2]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def steps(page: Path) -> list[tuple[str, str]]:
    """Blocks of Python, of commands and of files, as they follow one another: language and text."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(python|console|toml)\n(.*?)^```$", text, re.M | re.S)


def commands(block: str) -> list[list[str]]:
    """Arguments of every ``$ streamsvd`` line."""
    lines = block.splitlines()
    assert all(line.startswith("$ streamsvd ") for line in lines)
    return [shlex.split(line)[2:] for line in lines]


ON_A_GPU = ("gpu.md",)
"""Pages whose blocks need one."""
LIBRARIES = {"anndata.md": "anndata", "cells.md": "skmisc"}
"""What blocks of pages import that not every machine has."""


def as_parameter(page: Path) -> object:
    """A page with what it needs to run."""
    library = LIBRARIES.get(page.name, "sys")
    absent = pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")
    return pytest.param(page, marks=[absent, *[pytest.mark.gpu] * (page.name in ON_A_GPU)])


@pytest.mark.parametrize(
    "page",
    [as_parameter(p) for p in PAGES],
    ids=lambda page: page.name,
    indirect=True,
)
@pytest.mark.usefixtures("folder")
def test_snippets_and_commands_run_in_their_order(page, monkeypatch, capsys) -> None:
    """One after another, as a reader pastes them: what one has written is there for the next, and in its way."""
    module = ModuleType("page")  # data classes look their module up
    monkeypatch.setitem(sys.modules, "page", module)
    for number, (language, block) in enumerate(steps(page), start=1):
        if language == "python":
            exec(compile(block, f"{page.name}[{number}]", "exec"), module.__dict__)
            continue
        if language == "toml":
            tomllib.loads(block)
            if name := re.match(r"# ([\w-]+\.toml)\n", block):  # a whole file, by its name
                Path(name[1]).write_text(block, encoding="utf-8")
            continue
        for given in commands(block):
            if given[0] == "demo":
                continue  # it has tests of its own
            if ("--figure" in given or given[0] == "plot") and find_spec("matplotlib") is None:
                continue  # it comes with an extra
            assert app.run(given) == 0, (given, capsys.readouterr().err)


def test_commands_parse(page, folder) -> None:
    if makes_its_data(page):
        write_data(folder)
    for given in (each for block in blocks(page, "console") for each in commands(block)):
        verb = command_line.verbs.get_command(click.Context(command_line.verbs), given[0])
        assert verb is not None, given
        verb.make_context(given[0], given[1:])


def test_every_verb_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(command_line.verbs)
    for name in command_line.VERBS:
        verb = command_line.verbs.get_command(context, name)
        assert verb is not None
        assert f"\n## `{name}" in text
        for parameter in verb.params:
            for option in [*parameter.opts, *parameter.secondary_opts]:
                if isinstance(parameter, click.Option):
                    assert f"`{option}" in text, option


def test_no_option_is_documented_that_is_not_there() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(command_line.verbs)
    known = {"--help", "--version"}
    for name in command_line.VERBS:
        verb = command_line.verbs.get_command(context, name)
        assert verb is not None
        parts = [verb, *getattr(verb, "commands", {}).values()]
        known |= {o for part in parts for p in part.params for o in [*p.opts, *p.secondary_opts]}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known


def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_a_row_of_a_table_has_as_many_cells_as_its_head(page) -> None:
    width = 0
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells == width or not cells or not width, line
        width = cells


def test_quick_start_is_two_lines() -> None:
    (block,) = blocks(ROOT / "README.md", "bash")
    demo, tests = block.splitlines()
    assert demo.endswith("streamsvd demo")
    assert tests.endswith("python -m pytest")
