"""What a page is made of: a verdict, and sections of facts, tables and drawings. All of it is data; the template shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree as Tree

Tone = Literal["plain", "good", "caution", "bad"]
"""How something is: beside its colour it has a sign and a word."""
Fact = tuple[str, str]
"""A name, and what is said of it."""
MOST_ROWS = 200
"""Rows of a table; of a longer one the leading ones are shown, and it says so."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text
        What stands there.
    key
        By what it is sorted; the text, if None.
    tone
        How it is.
    """

    text: str
    key: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first cell of each row names it.

    Attributes
    ----------
    caption
        What it is a table of.
    heads
        Of its columns.
    rows
        Its cells.
    note
        What was left out of it.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and are aligned to the right."""
        columns = range(len(self.heads))
        return [
            bool(self.rows) and any(row[i].key is not None for row in self.rows) for i in columns
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A drawing.

    Attributes
    ----------
    root
        The element ``svg``.
    title, description
        Of what it is, and what is to be seen in it.
    note
        What was left out of it.
    """

    root: Tree.Element
    title: str
    description: str
    note: str = ""

    def svg(self, number: int) -> str:
        """Its text, with names by which it is read out; the number tells it from others of the page."""
        ids = f"drawing-{number}-title", f"drawing-{number}-description"
        root = Tree.Element("svg", dict(self.root.attrib) | {"aria-labelledby": " ".join(ids)})
        for tag, id_, text in zip(
            ("title", "desc"), ids, (self.title, self.description), strict=True
        ):
            Tree.SubElement(root, tag, {"id": id_}).text = text
        root.extend(self.root)
        return Tree.tostring(root, encoding="unicode")


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A part of a page.

    Attributes
    ----------
    title
        Its heading.
    texts
        Sentences.
    facts
        Names and what is said of them.
    drawings, tables
        Below these.
    code
        Lines to be copied.
    parts
        Sections within it.
    """

    title: str
    texts: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()
    parts: Sequence[Section] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A whole page.

    Attributes
    ----------
    title
        What it is of.
    what
        Of which kind that is.
    verdict, tone
        One sentence, and how it is.
    cautions
        What a careful reader should know.
    sections
        The rest.
    """

    title: str
    what: str
    verdict: str
    tone: Tone
    cautions: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def whole(x: float) -> Cell:
    """A whole number."""
    return Cell(f"{int(x):,}", float(x))


def number(x: float | None, digits: int = 4) -> Cell:
    """A number; where there is none a dash, which is sorted before all that are not negative."""
    return Cell("–", -1.0) if x is None or x != x else Cell(f"{x:.{digits}g}", float(x))
