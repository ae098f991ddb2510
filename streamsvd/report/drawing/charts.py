"""Charts: axes with lines, points, intervals and rules; and bars with their numbers.

Colours, dashes and faces are classes of the page's style sheet. Series differ in the shape of their marks and in their dashes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as Tree

import numpy as np

from streamsvd.report.drawing.scales import Numbers, Scale, finite
from streamsvd.report.parts import Drawing

WIDTH, PLOT_HEIGHT = 360.0, 180.0
LEFT, RIGHT, HEAD, FOOT = 62.0, 16.0, 24.0, 40.0
LETTER = 6.4
"""Width of a letter of the legend, about."""
MOST_MARKS = 60
"""Points of a line up to which each has a mark."""
MARK = 3.4


def number_text(x: float) -> str:
    """A place on a drawing, to a tenth."""
    return (
        f"{x:.1f}".removesuffix(".0").replace("-0", "0")
        if x == 0
        else f"{x:.1f}".removesuffix(".0")
    )


def element(parent: Tree.Element | None, tag: str, **attributes: object) -> Tree.Element:
    """An element with attributes: numbers as places, ``_`` in a name for ``-``, ``class_`` for ``class``."""
    plain = {
        name.rstrip("_").replace("_", "-"): number_text(value)
        if isinstance(value, float)
        else str(value)
        for name, value in attributes.items()
    }
    return Tree.Element(tag, plain) if parent is None else Tree.SubElement(parent, tag, plain)


def label(parent: Tree.Element, text: str, x: float, y: float, kind: str = "tick") -> Tree.Element:
    """A text at a place."""
    found = element(parent, "text", x=x, y=y, class_=kind)
    found.text = text
    return found


def canvas(width: float, height: float) -> Tree.Element:
    """An empty drawing."""
    return element(
        None, "svg", viewBox=f"0 0 {number_text(width)} {number_text(height)}", role="img"
    )


class Chart:
    """A chart with two axes.

    Parameters
    ----------
    title, description
        What it shows, and what is to be seen in it: both are read out.
    x, y
        Its scales.
    x_label, y_label
        What they are of.
    note
        What was left out of it.
    """

    def __init__(
        self,
        title: str,
        description: str,
        x: Scale,
        y: Scale,
        *,
        x_label: str,
        y_label: str,
        note: str = "",
    ) -> None:
        self.title, self.description, self.note = title, description, note
        self.x, self.y = x, y
        self._legend: list[tuple[str, int, bool]] = []
        self._plot = element(None, "g")
        self._rules = 0
        self._draw_axes(x_label, y_label)

    def _draw_axes(self, x_label: str, y_label: str) -> None:
        """Lines across at the numbers, the numbers, and what they are of."""
        right, bottom = WIDTH - RIGHT, PLOT_HEIGHT
        for value in self.y.ticks():
            (y,) = self._y([value])
            element(self._plot, "line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid")
            label(self._plot, self.y.show(value), LEFT - 6, y + 4, "tick end")
        element(self._plot, "line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis")
        free = LEFT - 20.0
        for value in self.x.ticks():
            (x,) = self._x([value])
            text = self.x.show(value)
            if x - LETTER * len(text) / 2 < free:
                continue
            free = x + LETTER * len(text) / 2 + 4
            element(self._plot, "line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis")
            label(
                self._plot, text, min(x, WIDTH - LETTER * len(text) / 2), bottom + 17, "tick middle"
            )
        label(self._plot, x_label, (LEFT + right) / 2, bottom + 34, "name middle")
        label(self._plot, y_label, 4.0, -10.0, "name")

    def _x(self, values: Iterable[float] | Numbers) -> Numbers:
        return self.x.place(values, LEFT + 8, WIDTH - RIGHT - 8)

    def _y(self, values: Iterable[float] | Numbers) -> Numbers:
        return self.y.place(values, PLOT_HEIGHT, 6.0)

    def line(
        self,
        xs: Iterable[float] | Numbers,
        ys: Iterable[float] | Numbers,
        name: str = "",
        style: int = 0,
    ) -> Chart:
        """A line through points, with a gap where there is no number."""
        px, py = self._x(xs), self._y(ys)
        path, is_down = [], False
        for x, y in zip(px, py, strict=True):
            if np.isnan(x) or np.isnan(y):
                is_down = False
                continue
            path.append(f"{'L' if is_down else 'M'}{number_text(x)} {number_text(y)}")
            is_down = True
        if path:
            element(self._plot, "path", d="".join(path), class_=f"line s{style}")
        if px.size <= MOST_MARKS:
            self._marks(px, py, style)
        self._name(name, style)
        return self

    def points(
        self,
        xs: Iterable[float] | Numbers,
        ys: Iterable[float] | Numbers,
        name: str = "",
        style: int = 0,
        tips: Sequence[str] = (),
    ) -> Chart:
        """Points, each of which says its tip where the pointer rests."""
        self._marks(self._x(xs), self._y(ys), style, tips)
        self._name(name, style, has_line=False)
        return self

    def intervals(
        self,
        xs: Iterable[float] | Numbers,
        lows: Numbers,
        highs: Numbers,
        name: str = "",
        style: int = 0,
    ) -> Chart:
        """Upright intervals with bars at their ends; an end that has no place is at the edge of the chart."""
        px = self._x(xs)
        bottom, top = (
            np.nan_to_num(self._y(lows), nan=PLOT_HEIGHT),
            np.nan_to_num(self._y(highs), nan=6.0),
        )
        reach = min(4.0, 0.4 * (WIDTH - LEFT) / max(px.size, 1))
        path = []
        for x, y1, y2 in zip(px, bottom, top, strict=True):
            if np.isnan(x):
                continue
            left, right = number_text(x - reach), number_text(x + reach)
            y1_, y2_, x_ = number_text(y1), number_text(y2), number_text(x)
            path.append(f"M{x_} {y1_}V{y2_}M{left} {y1_}H{right}M{left} {y2_}H{right}")
        element(self._plot, "path", d="".join(path), class_=f"whisker s{style}")
        self._name(name, style)
        return self

    def rule(self, value: float, text: str) -> Chart:
        """A dashed line across at a number, with what it means."""
        (y,) = self._y([value])
        if not np.isnan(y):
            element(self._plot, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="rule")
            label(self._plot, text, WIDTH - RIGHT, y - 5 if y > 20 else y + 14, "mark end")
        return self

    def _marks(self, px: Numbers, py: Numbers, style: int, tips: Sequence[str] = ()) -> None:
        for i, (x, y) in enumerate(zip(px, py, strict=True)):
            if not (np.isnan(x) or np.isnan(y)):
                found = mark(self._plot, float(x), float(y), style)
                if tips:
                    element(found, "title").text = tips[i]

    def _name(self, name: str, style: int, *, has_line: bool = True) -> None:
        if name:
            self._legend.append((name, style, has_line))

    def finish(self) -> Drawing:
        """The drawing."""
        root_height, legend = HEAD + PLOT_HEIGHT + FOOT, element(None, "g")
        x, y = 4.0, 14.0
        for name, style, has_line in self._legend:
            width = 26 + LETTER * len(name)
            if x > 4 and x + width > WIDTH:
                x, y = 4.0, y + 17
            if has_line:
                element(
                    legend, "line", x1=x, x2=x + 18, y1=y - 4, y2=y - 4, class_=f"line s{style}"
                )
            mark(legend, x + 9, y - 4, style)
            label(legend, name, x + 23, y, "key")
            x += width + 10
        shift = y + 8 if self._legend else 0.0
        root = canvas(WIDTH, root_height + shift)
        root.append(legend)
        self._plot.set("transform", f"translate(0 {number_text(HEAD + shift)})")
        root.append(self._plot)
        return Drawing(root, self.title, self.description, self.note)


def mark(parent: Tree.Element, x: float, y: float, style: int) -> Tree.Element:
    """The mark of a series: a disc, a square, a triangle, a cross."""
    r, kind = MARK, f"point s{style}"
    if style == 0:
        return element(parent, "circle", cx=x, cy=y, r=r, class_=kind)
    if style == 1:
        return element(parent, "rect", x=x - r, y=y - r, width=2 * r, height=2 * r, class_=kind)
    if style == 2:
        corners = ((x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r))
        return element(
            parent, "polygon", points=" ".join(f"{number_text(a)},{number_text(b)}" for a, b in corners), class_=kind
        )  # fmt: skip
    a, b, c, d = (number_text(v) for v in (x - r, x + r, y - r, y + r))
    return element(parent, "path", d=f"M{a} {c}L{b} {d}M{a} {d}L{b} {c}", class_=f"cross s{style}")


def bars(
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    *,
    names: Sequence[str] = (),
    note: str = "",
) -> Drawing:
    """Bars from the left, each with its number: of every row a label, and the bars of its values below one another.

    Parameters
    ----------
    title, description, note
        As of `Chart`.
    rows
        Label, and values with the texts that stand beside the bars.
    names
        What the first, the second and so on of the values are.
    """
    most = float(finite([value for _, values in rows for value, _ in values]).max(initial=0.0))
    longest = max((len(said) for _, values in rows for _, said in values), default=0)
    body, y = element(None, "g"), 0.0
    for text, values in rows:
        label(body, cut_middle(text, 50), 4.0, y + 12, "name")
        y += 18
        for style, (value, said) in enumerate(values):
            share = value / most if most > 0 and np.isfinite(value) else 0.0
            width = max(1.0, 0.98 * (WIDTH - 18 - LETTER * longest) * share)
            element(body, "rect", x=4.0, y=y, width=width, height=12.0, class_=f"bar s{style}")
            label(body, said, width + 10, y + 10, "tick")
            y += 16
        y += 5
    root = canvas(WIDTH, y + (22 if names else 2))
    x = 4.0
    for style, name in enumerate(names):
        element(root, "rect", x=x, y=4.0, width=14.0, height=11.0, class_=f"bar s{style}")
        label(root, name, x + 19, 14.0, "key")
        x += 32 + LETTER * len(name)
    if names:
        body.set("transform", "translate(0 22)")
    root.append(body)
    return Drawing(root, title, description, note)


def cut_middle(text: str, most: int) -> str:
    """A long text without its middle.

    Examples
    --------
    >>> cut_middle("encoder.layer.0.attention", 11)
    'encod…ntion'
    """
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
