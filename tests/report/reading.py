"""A page read as a browser and a screen reader read it: what is in it, and what may not be."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as Tree

VOID = {"meta", "link", "br", "img", "input", "hr"}
LEADS_OUT = re.compile(r"(?:https?:)?//[a-z0-9]", re.I)


@dataclass
class Node:
    """An element of the page."""

    tag: str
    attributes: dict[str, str | None]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, *tags: str) -> list[Node]:
        """Elements within it, in their order."""
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                if not tags or child.tag in tags:
                    found.append(child)
                found += child.all(*tags)
        return found

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""


class PageParser(HTMLParser):
    """Builds the tree; an end without a beginning, or the other way round, is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("document", {})
        self._at = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs), self._at)
        assert len(node.attributes) == len(attrs), (tag, attrs)
        self._at.children.append(node)
        if tag not in VOID:
            self._at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._at.children.append(Node(tag, dict(attrs), self._at))

    def handle_endtag(self, tag: str) -> None:
        assert self._at.tag == tag, f"</{tag}> ends <{self._at.tag}>"
        assert self._at.parent is not None
        self._at = self._at.parent

    def handle_data(self, data: str) -> None:
        self._at.children.append(data)


def read_page(data: bytes) -> Node:
    """The tree of a page, once it is what every page must be."""
    text = data.decode("utf-8")
    parser = PageParser()
    parser.feed(text)
    parser.close()
    root = parser.root
    assert parser._at is root, f"<{parser._at.tag}> has no end"
    assert len(data) <= 2 << 20
    _check_scripts(root)
    _check_outside(root, text)
    _check_names(root)
    _check_headings(root)
    _check_tables(root)
    _check_drawings(root, text)
    return root


def _check_scripts(root: Node) -> None:
    """One script, ours; no attribute that runs anything."""
    assert len(root.all("script")) == 1
    assert not root.all("iframe", "object", "embed", "form", "img", "base")
    for node in root.all():
        assert not [name for name in node.attributes if name.startswith("on")], node.attributes
        assert "style" not in node.attributes, node.tag
        for name in ("href", "src", "xlink:href"):
            assert "javascript:" not in node[name].lower()


def _check_outside(root: Node, text: str) -> None:
    """Nothing is fetched: whatever an element refers to is in the page."""
    for node in root.all():
        for name in ("href", "src", "srcset", "action", "data"):
            value = node[name]
            assert not value or value.startswith(("#", "data:")), (node.tag, name, value)
    style, script = root.all("style")[0].text, root.all("script")[0].text
    for part in (style, script):
        assert not LEADS_OUT.search(part)
        assert "url(" not in part
        assert "@import" not in part
        assert "fetch" not in part
    (policy,) = (m for m in root.all("meta") if m["http-equiv"] == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy["content"]
    assert "\x00" not in text


def _check_names(root: Node) -> None:
    """Every name once, and every reference to one that is there."""
    ids = [node["id"] for node in root.all() if node["id"]]
    assert len(ids) == len(set(ids))
    for node in root.all():
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(node[name].split()) <= set(ids), node[name]
        if node["href"].startswith("#"):
            assert node["href"][1:] in ids
    assert len(root.all("main")) == len(root.all("header")) == len(root.all("footer")) == 1
    assert root.all("html")[0]["lang"] == "en"
    assert root.all("title")[0].text


def _check_headings(root: Node) -> None:
    """One of the first level, and no level left out on the way down."""
    levels = [int(node.tag[1]) for node in root.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False)), levels


def _check_tables(root: Node) -> None:
    """A caption, heads that are buttons, a name for every row, and as many cells as heads."""
    for table in root.all("table"):
        assert table.all("caption")[0].text
        heads = table.all("thead")[0].all("th")
        for head in heads:
            assert head["scope"] == "col"
            assert head["aria-sort"] == "none"
            assert [b["type"] for b in head.all("button")] == ["button"]
            assert head.text.strip()
        for row in table.all("tbody")[0].all("tr"):
            cells = row.all("th", "td")
            assert len(cells) == len(heads)
            assert (cells[0].tag, cells[0]["scope"]) == ("th", "row")


def drawings(data: bytes) -> list[Tree.Element]:
    """The drawings of a page, which are well-formed."""
    return [Tree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", data.decode(), re.S)]


def _check_drawings(root: Node, text: str) -> None:
    found = drawings(text.encode())
    assert len(found) == len(root.all("svg")) == len(root.all("figure"))
    for svg in found:
        title, desc = svg[0], svg[1]
        assert (title.tag, desc.tag) == ("title", "desc")
        assert title.text
        assert desc.text
        assert svg.get("role") == "img"
        assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
        for element in svg.iter():
            for value in element.attrib.values():
                assert "nan" not in value.split(), element.attrib
                assert "inf" not in value.split(), element.attrib


def tables(root: Node) -> dict[str, list[list[str]]]:
    """Texts of the cells of every table, by its caption."""
    return {
        t.all("caption")[0].text: [
            [" ".join(c.text.split()) for c in row.all("th", "td")] for row in t.all("tbody")[0].all("tr")
        ]
        for t in root.all("table")
    }  # fmt: skip


def verdict(root: Node) -> str:
    """The first sentence of a page, with its word."""
    return " ".join(next(p for p in root.all("p") if "verdict" in p["class"]).text.split())


def headings(root: Node) -> list[str]:
    """What stands over the parts of a page."""
    return [h.text for h in root.all("h1", "h2", "h3", "h4")]
