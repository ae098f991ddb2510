"""Results as one JSON object, or as a summary for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np

from streamsvd import __version__
from streamsvd.engine.memory import show_bytes
from streamsvd.factor.plan import Plan
from streamsvd.factor.result import PCA, SVD
from streamsvd.info import Info
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.sentences import describe_error, describe_values, describe_vectors
from streamsvd.store.results.values import plain_json

Number = float | Fraction

UNRESOLVED_MARK = "unresolved"
"""In the place of a value of which only the interval is known."""

LEADING_VALUES = 10
"""Leading values that the table shows, besides the last."""


def round_digits(x: Number, digits: int, direction: str = ROUND_HALF_EVEN) -> str:
    """So many digits of a number, rounded as told: the exact number, never a float near it."""
    if isinstance(x, float) and not np.isfinite(x):
        return str(float(x))
    exact = Fraction(x)
    context = Context(prec=digits, rounding=direction)
    d = context.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    point = digits - 1 - d.adjusted()
    return f"{d:.{point}f}" if 0 <= point < digits + 4 else f"{d:.{digits - 1}e}"


def at_least(x: Number, digits: int) -> str:
    """A lower bound, rounded down: what is printed still holds."""
    return round_digits(x, digits, ROUND_FLOOR)


def at_most(x: Number, digits: int) -> str:
    """An upper bound, rounded up."""
    return round_digits(x, digits, ROUND_CEILING)


def info_record(info: Info) -> dict[str, Any]:
    """What every verb says of how its result came about, for JSON."""
    names = (
        "n_rows", "passes", "bytes_read", "elapsed_s", "peak_bytes", "projected_bytes", "warnings",
        "missing", "dropped_columns",
    )  # fmt: skip
    return {name: getattr(info, name) for name in names}


def show_json(kind: str, record: dict[str, Any]) -> None:
    """One object on one line: its kind, how it went, and the release that made it; infinities are text, as in the stored certificate."""
    whole = {"kind": kind, **record, "streamsvd": __version__}
    click.echo(json.dumps(plain_json(whole), allow_nan=False))


def keyed_fields(value: Any, **keys: str) -> dict[str, Any]:
    """Every field of a data class, those in ``keys`` under the key by which JSON knows them."""
    return {keys.get(name, name): item for name, item in asdict(value).items()}


def certificate_record(c: Certificate) -> dict[str, Any]:
    """Every field, and what is derived from them that people ask for."""
    return {
        **asdict(c),
        "relative_width": c.relative_width,
        "captured": c.captured,
        "resolved": c.resolved,
        "resolved_count": c.resolved_count,
        "groups": [asdict(group) for group in c.groups],
        "spectral_excess": c.spectral_excess,
    }


def result_record(result: SVD | PCA, plan: Plan, out: Path | None) -> dict[str, Any]:
    """What ``svd --json`` and ``pca --json`` print."""
    i = result.info
    record = {
        "status": i.status.value,
        "criterion": i.criterion,
        "rank": int(result.s.size),
        "shape": plan.shape,
        "dtype": plan.dtype,
        "passes": i.passes,
        "bytes_read": i.bytes_read,
        "elapsed_s": i.elapsed_s,
        "peak_bytes": i.peak_bytes,
        "projected_bytes": i.projected_bytes,
        "budget_bytes": plan.budget_bytes,
        "singular_values": result.s,
        "certificate": certificate_record(result.certificate),
        "route": i.route,
        "axis": i.axis,
        "precision": i.precision,
        "missing": i.missing,
        "dropped_columns": i.dropped_columns,
        "freedom": i.freedom,
        "widths": i.widths,
        "seed": i.seed,
        "warnings": i.warnings,
        "out": None if out is None else str(out),
    }
    if isinstance(result, PCA):
        record["explained_variance"] = result.explained_variance
        record["explained_variance_ratio"] = result.explained_variance_ratio
    return record


def show_result(result: SVD | PCA, plan: Plan, out: Path | None) -> None:
    """The summary of `svd` and `pca`."""
    i, c = result.info, result.certificate
    m, n = plan.shape
    proved = c.kind is Kind.BOUNDS
    kind = "certified" if proved else "estimated, nothing is proved"
    what = "components" if isinstance(result, PCA) else "singular values"
    click.echo(f"{plan.name}: {m:,} x {n:,} {plan.dtype}, {show_bytes(plan.nbytes)}")
    click.echo(f"{i.status.value}: {result.s.size} {what} {kind}\n")
    head, rows = variance_rows(result) if isinstance(result, PCA) else _values(result, proved)
    click.echo("\n".join(f"  {line}" for line in table_lines(head, rows)))
    click.echo()
    print_facts(
        [
            ("values", describe_values(c)),
            ("width", f"every interval within {at_most(c.relative_width, 2)} of its upper end"),
            (
                "error",
                f"||A - U s Vh||_F <= {at_most(c.frobenius_error, 6)}, "
                f"{_share(c.captured)} of the energy is held",
            ),
            ("best", describe_error(c)),
            ("subspace", _angle(c)),
            ("vectors", describe_vectors(c)),
            ("chance", _chance(c)),
            (
                "passes",
                f"{i.passes:.3g}: {show_bytes(i.bytes_read)} read in {i.elapsed_s:.3g} s",
            ),
            ("memory", memory_line(i.peak_bytes, i.projected_bytes, plan.budget_bytes)),
            ("route", f"{_ROUTES[i.route]} along {i.axis}, products in {i.precision} precision"),
            ("missing", _missing(result)),
            ("written", "" if out is None else f"{out}"),
        ]
    )


_ROUTES = {
    "krylov": "sample start and block Krylov",
    "gram": "Gram matrix",
    "krylov, then gram": "block Krylov, then the Gram matrix",
}


def memory_line(peak: int, projected: int, budget: int) -> str:
    """Measured against projected against allowed."""
    return f"{show_bytes(peak)} measured, {show_bytes(projected)} projected, {show_bytes(budget)} allowed"


def table_lines(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table whose columns are aligned to the right."""
    widths = [max(len(row[j]) for row in [head, *rows]) for j in range(len(head))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [head, *rows]
    ]


def print_facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and what is said of them; those of which nothing is said are left out."""
    for name, text in pairs:
        if text:
            click.echo(f"  {name:<9} {text}")


def table_indices(count: int) -> list[int | None]:
    """Indices that a table of ``count`` values shows; None stands for those left out."""
    if count <= LEADING_VALUES + 2:
        return list(range(count))
    return [*range(LEADING_VALUES), None, count - 1]


def _values(result: SVD | PCA, proved: bool) -> tuple[list[str], list[list[str]]]:
    head = ["i", "singular value", "at least", "at most", "width"]
    c = result.certificate
    rows = []
    for i in table_indices(result.s.size):
        if i is None:
            rows.append(["..."] * 5)
            continue
        low, high = float(c.sigma_lower[i]), float(c.sigma_upper[i])
        values = interval_cells(float(result.s[i]), low, high)
        if not c.resolved[i]:
            values[0] = UNRESOLVED_MARK
        rows.append([str(i + 1), *values, _width(low, high)])
    if not proved:
        head[2:4] = ["about from", "to"]
    return head, rows


def variance_rows(result: PCA) -> tuple[list[str], list[list[str]]]:
    """Table of the explained variances with their intervals."""
    head = ["i", "variance", "at least", "at most", "share", "so far"]
    c, freedom = result.certificate, result.info.freedom
    so_far = np.cumsum(result.explained_variance_ratio)
    rows = []
    for i in table_indices(result.s.size):
        if i is None:
            rows.append(["..."] * 6)
            continue
        low, high = (_variance(float(end[i]), freedom) for end in (c.sigma_lower, c.sigma_upper))
        values = interval_cells(float(result.explained_variance[i]), low, high)
        if not c.resolved[i]:
            values[0] = UNRESOLVED_MARK
        shares = [f"{result.explained_variance_ratio[i]:.4%}", f"{so_far[i]:.4%}"]
        rows.append([str(i + 1), *values, *shares])
    return head, rows


def _variance(s: float, freedom: float) -> Number:
    return Fraction(s) ** 2 / Fraction(freedom) if np.isfinite(s) else s


def interval_cells(value: Number, low: Number, high: Number) -> list[str]:
    """A value and the ends of its interval, which are rounded outward: the one stored is within."""
    digits = _digits(low, high)
    inside = min(max(value, low), high)  # a value may be outside by the rounding of its own root
    return [round_digits(inside, digits), at_least(low, digits), at_most(high, digits)]


def _digits(low: Number, high: Number) -> int:
    """Digits that show where an interval ends, between 5 and 12."""
    if not 0 <= low < high < np.inf:
        return 7
    return int(np.clip(np.ceil(-np.log10(float((high - low) / high))) + 2, 5, 12))


def _width(low: float, high: float) -> str:
    return f"{Decimal(at_most((high - low) / high, 2)):.1e}" if 0 < high < np.inf else "-"


def _share(captured: float) -> str:
    """A share of the energy that is held at least, in per cent."""
    return f"{np.floor(captured * 1e6) / 1e4:.4f}%"


def _angle(c: Certificate) -> str:
    if np.isfinite(c.subspace_angle_bound):
        return f"sine of its largest angle to the true one <= {at_most(c.subspace_angle_bound, 2)}"
    return "undetermined: no gap after the last value could be proved"


def _chance(c: Certificate) -> str:
    if c.kind is not Kind.BOUNDS:
        return ""
    if c.failure_probability <= 0:
        return "none but that of the model of rounding"
    return f"an upper bound fails with probability at most {c.failure_probability:g}"


def _missing(result: SVD | PCA) -> str:
    i = result.info
    parts = []
    if i.missing:
        parts.append(f"{i.missing:,} entries")
    if i.dropped_columns:
        parts.append(f"{len(i.dropped_columns):,} columns left out")
    return ", ".join(parts)
