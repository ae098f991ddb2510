"""What a result took to make: passes, bytes, time, and memory as it was measured and as it was projected."""

from __future__ import annotations

from typing import Any

from streamsvd.engine.memory import show_bytes
from streamsvd.info import Info
from streamsvd.report.drawing.charts import Chart, bars
from streamsvd.report.drawing.scales import Scale
from streamsvd.report.parts import Fact, Section


def throughput(bytes_read: int, seconds: float) -> str:
    """Bytes a second; a dash where nothing was read."""
    return f"{show_bytes(bytes_read / seconds)}/s" if bytes_read > 0 and seconds > 0 else "–"


def seconds_text(seconds: float) -> str:
    """A duration for people.

    Examples
    --------
    >>> seconds_text(0.1234), seconds_text(75.0), seconds_text(7260.0)
    ('0.123 s', '75 s', '121 min')
    """
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def cost_section(info: Info, *, budget: int = 0, more: tuple[Fact, ...] = ()) -> Section:
    """Passes, throughput, and memory against what was projected, and allowed if that is known."""
    facts = [
        ("passes", f"{info.passes:.3g}"),
        ("read", show_bytes(info.bytes_read)),
        ("time", seconds_text(info.elapsed_s)),
        ("throughput", throughput(info.bytes_read, info.elapsed_s)),
        ("rows", f"{info.n_rows:,}"),
        *more,
    ]
    rows: list[tuple[str, list[tuple[float, str]]]] = []
    for name, value in (
        ("measured", info.peak_bytes),
        ("projected", info.projected_bytes),
        ("allowed", budget),
    ):
        if value:
            rows.append((name, [(float(value), show_bytes(value))]))
    drawings = []
    if info.peak_bytes and info.projected_bytes:
        share = info.peak_bytes / info.projected_bytes
        told = f"Measured {show_bytes(info.peak_bytes)}, projected {show_bytes(info.projected_bytes)}: {share:.0%} of what was projected."
        drawings.append(bars("Memory above the start", told, rows))
        if share > 1:
            told = f"More memory was measured than was projected: {show_bytes(info.peak_bytes)} against {show_bytes(info.projected_bytes)}."
            return Section("Cost", [told], facts, drawings)
    return Section("Cost", (), facts, drawings)


def convergence(widths: tuple[float, ...], tol: float) -> list[Any]:
    """How the widest interval became narrower from pass to pass; nothing where one pass tells no story."""
    known = [w for w in widths if w > 0]
    if len(known) < 2:
        return []
    passes = range(1, len(widths) + 1)
    told = f"The widest interval after each look: {', '.join(f'{w:.2g}' for w in widths[-6:])} at last; asked: {tol:g}."
    chart = Chart(
        "Convergence", told, Scale.of(passes, is_integer=True), Scale.of([*known, tol], is_log=True),
        x_label="look", y_label="largest relative width of an interval",
    )  # fmt: skip
    return [chart.line(passes, widths).rule(tol, f"asked: {tol:g}").finish()]
