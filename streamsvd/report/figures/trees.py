"""A dendrogram: matrices below, merges at the error at which they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import nan
from typing import Any

from streamsvd.collections.mathematics import MergeStep
from streamsvd.collections.rates import RatePoint
from streamsvd.report.figures.factorisations import BLUE, GREY, INK, RED, STYLE

NAMES = 40
"""Most matrices whose names are written."""
RANKS = 24
"""Most clusters whose ranks are."""
MOST_LONE_DRAWN = 24
"""Most matrices in no merge that are drawn; more are counted only."""
THICK = 200
"""Most matrices whose lines are of full width."""
LETTERS = 24
"""Of a name."""
DECADES = 30
"""Largest over smallest height from which on the axis is logarithmic."""
DEEPEST = 1e-4
"""Part of the largest height below which nothing is told apart there: such errors are mostly rounding."""


Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(slots=True)
class Branch:
    """A cluster: its matrices from left to right, and its merges from below.

    Attributes
    ----------
    names
        From left to right.
    merges
        Numbers of its merges, parts first.
    rank
        Of its basis; None if it is kept as it is.
    """

    names: list[str]
    merges: list[int]
    rank: int | None


def draw_tree(axis: Any, rate: RatePoint, *, mode: str) -> None:
    """The merges of a clustering; of clusters the largest first, as bars of their sizes are."""
    branches = branches_of(rate)
    alone = [b for b in branches if not b.merges]
    few = sum(len(b.names) for b in alone) <= MOST_LONE_DRAWN
    branches = branches if few else [b for b in branches if b.merges]
    thin = min(1.0, THICK / max(sum(len(b.names) for b in branches), 1))
    floor, stub = _set_heights(axis, rate, mode)
    at = 0.0
    centres: list[float] = []
    names: list[str] = []
    places: list[float] = []
    for number, branch in enumerate(branches):
        where = {name: at + i for i, name in enumerate(branch.names)}
        stems, joints = _lines(branch, where, rate.merges, floor, stub)
        colour = GREY if branch.rank is None else (BLUE, INK)[number % 2]
        axis.plot(*_ends(stems), color=colour, linewidth=thin)
        axis.plot(*_ends(joints), color=colour, linewidth=1.0)
        names += branch.names
        places += where.values()
        centres.append(at + (len(branch.names) - 1) / 2)
        at += len(branch.names) + 0.8
    axis.set_xlim(-1.0, max(at - 0.8, 1.0))
    _label_below(axis, branches, names, places, centres)
    title = f"Who joined whom at error {rate.error:g}"
    if not few:
        title += f"; {matrix_count_text(sum(len(b.names) for b in alone))} joined none"
    axis.set_title(title, loc="left", **STYLE)
    if rate.merges:
        axis.set_ylabel("relative error at the rank\nof the final cluster", color=INK, fontsize=9)
    else:
        axis.text(0.5, 0.5, "nothing was merged", transform=axis.transAxes, ha="center", color=GREY)


def branches_of(rate: RatePoint) -> list[Branch]:
    """Clusters in the order in which they are drawn: those that share a basis, the largest first, then the others."""
    merges = rate.merges
    into = {part: i for i, m in enumerate(merges) for part in m.parts}
    root = list(range(len(merges)))
    for i in reversed(range(len(merges))):
        root[i] = root[into[i]] if i in into else i
    of_root: dict[int, list[int]] = {}
    for i, top in enumerate(root):
        of_root.setdefault(top, []).append(i)
    sizes = _sizes(merges)
    found = []
    for c in rate.clusters:
        joined = next((into[name] for name in c.members if name in into), None)
        names = [] if joined is None else _leaves(root[joined], merges, sizes)
        zeros = sorted(set(c.members) - set(names))
        own = [] if joined is None else of_root[root[joined]]
        found.append(Branch([*names, *zeros], own, None if c.raw else c.rank))
    return sorted(found, key=lambda b: (b.rank is None, -len(b.names)))


def _sizes(merges: Sequence[MergeStep]) -> list[int]:
    """Matrices below each merge."""
    out: list[int] = []
    for m in merges:
        out.append(sum(out[p] if isinstance(p, int) else 1 for p in m.parts))
    return out


def _leaves(root: int, merges: Sequence[MergeStep], sizes: Sequence[int]) -> list[str]:
    """Matrices below a merge from left to right, the larger parts first, so that lines do not cross."""
    out: list[str] = []
    ahead: list[str | int] = [root]
    while ahead:
        part = ahead.pop()
        if isinstance(part, str):
            out.append(part)
        else:
            parts = merges[part].parts
            ahead.extend(sorted(parts, key=lambda p: sizes[p] if isinstance(p, int) else 1))
    return out


def _lines(
    branch: Branch, where: dict[str, float], merges: Sequence[MergeStep], floor: float, stub: float
) -> tuple[list[Line], list[Line]]:
    """The lines of a cluster: from matrices upwards, and all others."""
    joined = {p for i in branch.merges for p in merges[i].parts}
    stems = [((x, x), (floor, stub)) for name, x in where.items() if name not in joined]
    joints: list[Line] = []
    tops: dict[int, tuple[float, float]] = {}
    for i in branch.merges:
        height = max(merges[i].height, floor)
        ends = [tops[p][0] if isinstance(p, int) else where[p] for p in merges[i].parts]
        for p, x in zip(merges[i].parts, ends, strict=True):
            if isinstance(p, int):
                joints.append(((x, x), (tops[p][1], height)))
            else:
                stems.append(((x, x), (floor, height)))
        joints.append(((min(ends), max(ends)), (height, height)))
        tops[i] = (min(ends) + max(ends)) / 2, height
    return stems, joints


def _ends(lines: Sequence[Line]) -> tuple[list[float], list[float]]:
    """Many lines as one, with gaps that are no numbers."""
    return (
        [x for (left, right), _ in lines for x in (left, right, nan)],
        [y for _, (low, high) in lines for y in (low, high, nan)],
    )


def _set_heights(axis: Any, rate: RatePoint, mode: str) -> tuple[float, float]:
    """Sets the heights that the axis shows; from where matrices hang, and the end of one that joined none."""
    heights = [m.height for m in rate.merges]
    if not heights:
        axis.set_ylim(0.0, 1.0)
        axis.set_yticks([])
        return 0.0, 0.05
    top = max(heights) or 1.0
    low = min((h for h in heights if h > 0), default=top)
    if top > DECADES * low:
        floor, above = max(low / 2, DEEPEST * top), top * 2
        stub = floor * (above / floor) ** 0.05
        axis.set_yscale("log")
    else:
        floor = 0.0 if low < top / 2 else max(0.0, low - max(top - low, 0.05 * top) / 2)
        above = top + 0.15 * (top - floor)
        stub = floor + 0.05 * (above - floor)
    axis.set_ylim(floor, above)
    if mode != "global" and rate.error <= above:  # of all together, a cluster may exceed it
        axis.axhline(rate.error, color=RED, linestyle="--", linewidth=0.9)
        axis.annotate(
            f"allowed: {rate.error:g}", (0.995, rate.error), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=9, color=RED,
        )  # fmt: skip
    return floor, stub


def _label_below(
    axis: Any,
    branches: Sequence[Branch],
    names: Sequence[str],
    places: Sequence[float],
    centres: Sequence[float],
) -> None:
    """Names of the matrices where they are few, else ranks of the clusters where those are."""
    small = {"fontsize": 8, "rotation": 90}
    if len(names) <= NAMES:
        axis.set_xticks(places, short_names(names), **small)
    elif len(branches) <= RANKS:
        said = ["as they are" if b.rank is None else f"rank {b.rank}" for b in branches]
        axis.set_xticks(centres, said, fontsize=8, rotation=45 if len(branches) > 10 else 0)
    else:
        axis.set_xticks([])
    if names:
        axis.set_xlabel(
            f"{matrix_count_text(len(names))}, in the order of the bars", color=INK, fontsize=9
        )


def short_names(names: Sequence[str]) -> list[str]:
    """Long names less the end that all of them have, their beginning and last their middle, as far as needed."""
    long = [name for name in names if len(name) > LETTERS]
    head = _common_letters(long)
    tail = _common_letters([name[:head:-1] for name in long])
    out = []
    for name in names:
        if tail and len(name) > LETTERS:
            name = f"{name[:-tail]}…"
        if head and len(name) > LETTERS:
            name = f"…{name[head:]}"
        if len(name) > LETTERS:
            half = LETTERS // 2
            name = f"{name[:half]}…{name[1 - half :]}"
        out.append(name)
    return out


def _common_letters(names: Sequence[str]) -> int:
    """Letters with which all of several names begin."""
    if len(names) < 2:
        return 0
    letters = zip(*names, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, letters))


def matrix_count_text(count: int) -> str:
    """So many."""
    return f"{count:,} matri{'x' if count == 1 else 'ces'}"
