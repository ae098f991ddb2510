"""From data as people have them to results as they use them in at most 12 lines, or 6 commands; the pages are run with all others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "journeys").glob("*.md"))
MOST_LINES, MOST_COMMANDS = 12, 6


def section(page: Path, title: str) -> str:
    """The text below a title."""
    text = page.read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def statements(block: str) -> int:
    """Lines of code, whole calls counted once, without comments."""
    import ast

    return sum(1 for _ in ast.parse(block).body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_journey_is_short(page):
    first = re.findall(r"^```python\n(.*?)^```$", section(page, "In Python"), re.M | re.S)[0]
    lines = [line for line in first.splitlines() if line.strip() and not line.startswith("#")]
    assert 0 < statements(first) <= len(lines) <= MOST_LINES
    found = re.findall(
        r"^```console\n(.*?)^```$", section(page, "On the command line"), re.M | re.S
    )
    assert 0 < len(found[0].splitlines()) <= MOST_COMMANDS


def test_there_are_seven():
    assert len(PAGES) == 7
