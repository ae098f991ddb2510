"""A page as HTML: one file that asks nothing of any network, and runs no script but its own.

Whatever comes from data or names is escaped by the template; beside that, the policy in the head of the page allows the one script
whose digest it names, and pictures that are in the page.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from streamsvd import __version__
from streamsvd.report.parts import Drawing, Page

SIGNS = {"plain": "•", "good": "✓", "caution": "!", "bad": "✗"}
"""How something is, without its colour."""
WORDS = {"plain": "Result", "good": "Good", "caution": "With caution", "bad": "Not good"}
UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""What no page may hold, and what turns the direction of what follows: names of files can have all of it."""


def render(page: Page) -> bytes:
    """The page, in UTF-8."""
    script, style = (_file(name) for name in ("page.js", "page.css"))
    environment = Environment(
        loader=DictLoader({"page.html": _file("page.html")}), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    numbers, parts = itertools.count(1), itertools.count(1)

    def svg(drawing: Drawing) -> Markup:
        return Markup(drawing.svg(next(numbers)))

    environment.filters["svg"] = svg
    text = environment.get_template("page.html").render(
        page=page, signs=SIGNS, words=WORDS, release=__version__, next_id=lambda: f"part-{next(parts)}",
        script=Markup(script), style=Markup(style), script_digest=_digest(script), style_digest=_digest(style),
    )  # fmt: skip
    return UNSEEN.sub("\ufffd", text).encode()


def _file(name: str) -> str:
    return (files("streamsvd.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
