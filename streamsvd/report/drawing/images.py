"""Fields on a grid as images: a palette that diverges about zero, and a PNG within the page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.report.drawing.charts import LEFT, RIGHT, WIDTH, canvas, element, label
from streamsvd.report.drawing.scales import Numbers, Scale, short_number
from streamsvd.report.parts import Drawing

Codes = npt.NDArray[np.uint8]
ANCHORS = (
    "#053061",
    "#2166ac",
    "#67a9cf",
    "#d1e5f0",
    "#f7f7f7",
    "#fddbc7",
    "#ef8a62",
    "#b2182b",
    "#67001f",
)
"""Colours from the most negative to the most positive: blue to red, which eyes without red or green tell apart."""
LEVELS = 127
"""Of each sign."""
MOST_SIDE = 160
"""Pixels along each side of an image; a larger field is thinned out."""


def palette() -> Codes:
    """Colours of the codes: no value (transparent), the negative ones, zero, the positive ones, ``(256, 3)``."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ANCHORS], float)
    at = np.linspace(0, len(ANCHORS) - 1, 2 * LEVELS + 1)
    ramp = np.stack([np.interp(at, range(len(ANCHORS)), anchors[:, i]) for i in range(3)], axis=1)
    return np.vstack([np.zeros((1, 3)), np.round(ramp)]).astype(np.uint8)


def encode_png(codes: Codes) -> bytes:
    """Codes of the palette as a PNG file."""
    height, width = codes.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    lines = np.zeros((height, width + 1), np.uint8)  # every line begins with its filter, none
    lines[:, 1:] = codes
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", palette().tobytes()),
            chunk(b"tRNS", b"\x00"),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            chunk(b"IEND", b""),
        )
    )


def thin_field(values: Numbers, most: int = MOST_SIDE) -> Numbers:
    """A large field by means of blocks, of at most so many along each side; where all is NaN, NaN."""
    down, across = (-(-size // most) for size in values.shape)
    if down == across == 1:
        return values
    rows, columns = (
        np.arange(0, s, step) for s, step in zip(values.shape, (down, across), strict=True)
    )
    marks = np.isfinite(values)
    total = np.add.reduceat(np.add.reduceat(np.where(marks, values, 0.0), rows, 0), columns, 1)
    count = np.add.reduceat(np.add.reduceat(marks.astype(float), rows, 0), columns, 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def image(
    title: str, values: Numbers, *, what: str = "", axes: tuple[Any, Any] = (None, None)
) -> Drawing:
    """A field ``(rows, columns)`` with its bar of colours.

    Parameters
    ----------
    title
        What it shows.
    values
        The field; NaN has no colour.
    what
        What else is to be said of it.
    axes
        Name and numbers of the two dimensions, ``("lat", array)``; None for numbers from 0.
    """
    height, width = values.shape
    names = [axis[0] if axis else f"{('first', 'second')[i]} index" for i, axis in enumerate(axes)]
    ends = [
        (float(axis[1][0]), float(axis[1][-1])) if axis and len(axis[1]) else (0.0, float(size - 1))
        for axis, size in zip(axes, (height, width), strict=True)
    ]
    if ends[0][0] < ends[0][1] and axes[0]:  # numbers that grow go upwards: north is above
        values, ends[0] = values[::-1], (ends[0][1], ends[0][0])
    few = thin_field(values)
    found = few[np.isfinite(few)]
    limit = float(np.abs(found).max(initial=0.0)) or 1.0
    scaled = np.nan_to_num(np.clip(few / limit, -1, 1))
    codes = np.where(np.isfinite(few), np.round(scaled * LEVELS) + LEVELS + 1, 0).astype(np.uint8)
    room = WIDTH - LEFT - RIGHT
    tall = float(np.clip(room * height / width, 60, 300))
    wide = min(room, max(tall * width / height, 60.0))
    root = canvas(WIDTH, tall + 84)
    data = base64.b64encode(encode_png(codes)).decode()
    element(
        root, "image", x=LEFT, y=4.0, width=wide, height=tall, href=f"data:image/png;base64,{data}",
        preserveAspectRatio="none", class_="field",
    )  # fmt: skip
    element(root, "rect", x=LEFT, y=4.0, width=wide, height=tall, class_="frame")
    for value, y in zip(ends[0], (14.0, tall + 2), strict=True):
        label(root, short_number(value), LEFT - 5, y, "tick end")
    label(root, short_number(ends[1][0]), LEFT, tall + 19, "tick")
    label(root, short_number(ends[1][1]), LEFT + wide, tall + 19, "tick end")
    label(root, f"across: {names[1]}, down: {names[0]}", LEFT, tall + 35, "name")
    _bar_of_colours(root, limit, tall + 46)
    note = "" if few.shape == values.shape else (
        f"{height:,} × {width:,} values, of which {few.shape[0]:,} × {few.shape[1]:,} means of blocks are drawn."
    )  # fmt: skip
    peaks = _peaks(values, names, ends)
    missing = int(values.size - np.isfinite(values).sum())
    gaps = f" {missing:,} have no value." if missing else ""
    told = f"{what} Down: {names[0]}; across: {names[1]}. {peaks}{gaps}".strip()
    return Drawing(root, title, told, note)


def _peaks(values: Numbers, names: list[str], ends: list[tuple[float, float]]) -> str:
    """Where the largest and the least are, in words."""
    if not np.isfinite(values).any():
        return "No value is a number."
    said = []
    for word, flat in (("Largest", np.nanargmax(values)), ("least", np.nanargmin(values))):
        at = np.unravel_index(int(flat), values.shape)
        where = [
            f"{name} {short_number(low + (high - low) * int(i) / max(size - 1, 1))}"
            for name, (low, high), i, size in zip(names, ends, at, values.shape, strict=True)
        ]
        said.append(f"{word} {short_number(float(values[at]))} near {', '.join(where)}")
    return "; ".join(said) + "."


def _bar_of_colours(root: Any, limit: float, y: float) -> None:
    """What the colours mean."""
    colours = palette()[1:]
    step = 15
    parts = colours[::step]
    scale = Scale(-limit, limit)
    width = (WIDTH - LEFT - RIGHT) / len(parts)
    for i, (r, g, b) in enumerate(parts):
        element(
            root, "rect", x=LEFT + i * width, y=y, width=width + 0.5, height=10.0, fill=f"#{int(r):02x}{int(g):02x}{int(b):02x}"
        )  # fmt: skip
    for value in (-limit, 0.0, limit):
        (x,) = scale.place([value], LEFT, WIDTH - RIGHT)
        kind = {-limit: "tick", 0.0: "tick middle", limit: "tick end"}[value]
        label(root, f"{value:.3g}", float(x), y + 24, kind)
