"""Tables of a result: its values with what is proved of them, and the columns that weigh most in each component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_integer
from streamsvd.labels import Labels
from streamsvd.numerics.certificate import Kind
from streamsvd.numerics.sentences import round_down, round_up
from streamsvd.typing import Matrix, Real

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD


@dataclass(frozen=True, slots=True, eq=False)
class Scree:
    """The values of a result, as a table: what each component holds, and between which ends that is proved.

    All arrays have one entry for each component, ``(k,)``; shares are of the whole matrix, ``||A||_F^2``.

    Attributes
    ----------
    number
        1, 2, ...
    variance, variance_lower, variance_upper
        ``s**2 / info.freedom`` and its certified ends. They are about this matrix; `SVD.north_errors` is about the sample that its rows are.
    share, share_lower, share_upper
        Of the total variance.
    cumulative, cumulative_lower, cumulative_upper
        Shares of all components up to this one together. The last upper end is the sum of those of all, or 1.
    is_proved
        Whether the ends are proved; estimates otherwise.
    """

    number: npt.NDArray[np.int64]
    variance: Real
    variance_lower: Real
    variance_upper: Real
    share: Real
    share_lower: Real
    share_upper: Real
    cumulative: Real
    cumulative_lower: Real
    cumulative_upper: Real
    is_proved: bool

    def __len__(self) -> int:
        return int(self.number.size)

    def __str__(self) -> str:
        ends = "at least", "at most"
        heads = ("component", "variance", *ends, "share %", *ends, "together %", *ends)
        groups = (
            (self.variance, self.variance_lower, self.variance_upper, 1),
            (self.share, self.share_lower, self.share_upper, 100),
            (self.cumulative, self.cumulative_lower, self.cumulative_upper, 100),
        )
        rows = [
            [str(i + 1), *(text for group in groups for text in _with_ends(*group, i))]
            for i in range(len(self))
        ]
        note = "" if self.is_proved else "\nThe ends are estimates; nothing is proved."
        return plain_table(heads, rows) + note

    __repr__ = __str__


@dataclass(frozen=True, slots=True, eq=False)
class ComponentsTable:
    """The columns that weigh most in each component.

    Attributes
    ----------
    columns
        Their numbers, by descending modulus of the entry, ``(k, top)``; ties go to the lower number, columns that were left out take no part.
    names
        Their names, or places along the dimensions they come from, as ``lat=52.5 lon=13``; ``column 7`` where there are neither. By component.
    entries
        ``Vh`` there, ``(k, top)``.
    """

    columns: npt.NDArray[np.int64]
    names: tuple[tuple[str, ...], ...]
    entries: Matrix

    def __str__(self) -> str:
        rows = [
            (str(i + 1) if j == 0 else "", name, f"{self.entries[i, j]:.4g}")
            for i, names in enumerate(self.names)
            for j, name in enumerate(names)
        ]
        return plain_table(("component", "column", "entry"), rows, texts=(1,))

    __repr__ = __str__


def scree(result: SVD) -> Scree:
    """The values of a result as a table; see `SVD.scree`."""
    c, freedom = result.certificate, result.info.freedom
    values = result.s, c.sigma_lower, c.sigma_upper
    norm = 1.0 if c.vanishes else c.frobenius_norm
    with np.errstate(over="ignore"):
        variance = [np.asarray(x**2 / freedom) for x in values]
    share = [np.minimum((x / norm) ** 2, 1.0) for x in values]
    if c.vanishes:  # nothing is held of nothing
        share = [np.zeros_like(x) for x in values]
    cumulative = [np.minimum(np.cumsum(x), 1.0) for x in share]
    if len(result.s) and not c.vanishes:  # what the factors hold is proved beside the values
        cumulative[1][-1] = max(cumulative[1][-1], min(c.captured, cumulative[2][-1]))
    return Scree(
        np.arange(1, result.rank + 1),
        variance[0],
        variance[1],
        variance[2],
        share[0],
        share[1],
        share[2],
        cumulative[0],
        cumulative[1],
        cumulative[2],
        c.kind is Kind.BOUNDS,
    )


def components_table(Vh: Matrix, labels: Labels, top: Any) -> ComponentsTable:
    """The columns of largest modulus of each row; see `SVD.components_table`."""
    size = np.where(np.isfinite(Vh), np.abs(Vh), -1.0)
    count = min(check_integer("top", top, least=1), int(np.sum((size >= 0).all(axis=0))))
    columns = np.argsort(-size, axis=1, kind="stable")[:, :count]
    entries = np.take_along_axis(Vh, columns, axis=1)
    flat = column_texts(labels, Vh.shape[1], columns.ravel())
    names = tuple(tuple(flat[i * count : (i + 1) * count]) for i in range(Vh.shape[0]))
    return ComponentsTable(columns, names, entries)


def column_texts(labels: Labels, n: int, columns: npt.NDArray[np.int64]) -> list[str]:
    """A text for each of some columns: its name, its place along the dimensions, or its number."""
    lengths = tuple(dimension.length for dimension in labels.columns)
    if int(np.prod(lengths, dtype=np.int64)) != n or not lengths:
        return [f"column {int(j)}" for j in columns]
    parts: list[list[str]] = []
    for dimension, at in zip(labels.columns, np.unravel_index(columns, lengths), strict=True):
        found = labels.coordinate(dimension.name)
        if found is None or found.dims != (dimension.name,):
            parts.append([f"{dimension.name} {int(i)}" for i in at])
            continue
        named = len(lengths) == 1 and found.array.dtype.kind == "O"
        lead = "" if named else f"{dimension.name}="
        parts.append([lead + _show(found.values[int(i)]) for i in at])
    return [" ".join(texts) for texts in zip(*parts, strict=True)]


def _with_ends(x: Real, low: Real, high: Real, factor: float, i: int) -> tuple[str, str, str]:
    """A number and its ends, these rounded outwards: what is shown still holds."""
    at_least, at_most = factor * float(low[i]), factor * float(high[i])
    return f"{factor * float(x[i]):.5g}", round_down(at_least, 5), round_up(at_most, 5)


def _show(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def plain_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = ()
) -> str:
    """Rows of texts below their heads, aligned to the right, but for the columns that hold words."""
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]
    return "\n".join(lines)
