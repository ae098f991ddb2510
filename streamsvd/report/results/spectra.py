"""Values with their certified intervals, and the energy that they hold: of all that has a certificate of singular values."""

from __future__ import annotations

import numpy as np

from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.sentences import (
    describe_error,
    describe_values,
    describe_vectors,
    percent,
    round_down,
    round_up,
)
from streamsvd.report.drawing.charts import MOST_MARKS, Chart
from streamsvd.report.drawing.scales import Scale, thin_indices
from streamsvd.report.parts import MOST_ROWS, Cell, Drawing, Fact, Section, Table, number
from streamsvd.typing import Real


def share_text(share: float) -> str:
    """A share that is held at least, in per cent, rounded down: what is said still holds.

    Examples
    --------
    >>> share_text(0.99999999), share_text(1.0), share_text(0.25)
    ('99.9999 %', '100 %', '25 %')
    """
    return f"{np.floor(share * 1e6) / 1e4:.4f}".rstrip("0").rstrip(".") + " %"


def certificate_facts(c: Certificate) -> list[Fact]:
    """What is proved beside the values."""
    share = f"at least {share_text(c.captured)} of the energy"
    facts = [
        ("values", describe_values(c)),
        ("widest interval", f"{round_up(c.relative_width, 2)} of its upper end"),
        ("error", f"‖A − U s Vh‖ ≤ {round_up(c.frobenius_error, 5)} (Frobenius)"),
        ("captured", share),
        ("against the best", describe_error(c) or "nothing is proved of it"),
        (
            "subspace",
            f"sine of its largest angle to the true one ≤ {round_up(c.subspace_angle_bound, 2)}"
            if np.isfinite(c.subspace_angle_bound)
            else "no gap after the last value could be proved",
        ),
        ("vectors", describe_vectors(c)),
        ("orthogonality", f"‖Vh Vh* − I‖ = {c.orthogonality:.2g}"),
        ("kind", "bounds, which are proved" if c.kind is Kind.BOUNDS else "estimates: nothing is proved"),
        (
            "chance that a bound fails",
            f"at most {c.failure_probability:g}" if c.failure_probability > 0 else "none but that of the model of rounding",
        ),
    ]  # fmt: skip
    return [(name, text) for name, text in facts if text]


def values_section(s: Real, c: Certificate, *, what: str = "singular value") -> Section:
    """Values with their intervals, as a scree plot and a table.

    Parameters
    ----------
    s, c
        The values, and what is proved of them.
    what
        What they are called.
    """
    k = int(s.size)
    if not k:
        return Section(
            "Values", ["There is no value: the matrix is zero, or nothing was absorbed yet."]
        )
    drawings = [scree(s, c, what)]
    if not c.vanishes and np.isfinite(c.frobenius_norm):
        drawings.append(energy(s, c))
    return Section("Values and their intervals", (), (), drawings, [values_table(s, c, what)])


def scree(s: Real, c: Certificate, what: str) -> Drawing:
    """Values on a logarithmic axis, with intervals; those of many are thinned out."""
    shown = thin_indices(int(s.size), MOST_MARKS)
    i = np.array(shown)
    values, low, high = s[i], c.sigma_lower[i], c.sigma_upper[i]
    positive = values[(values > 0) & np.isfinite(values)]
    note = (
        f"{len(shown)} of {s.size} values are drawn; the first half of them are the leading ones."
        if len(shown) < s.size
        else ""
    )
    is_log = bool(positive.size) and positive.min() < positive.max()
    resolved = c.resolved
    told = (
        f"From {float(s[0]):.5g} down to {float(s[-1]):.5g}; {int(resolved.sum())} of {s.size} are resolved to {c.tol:g}. "
        "Where no whisker is seen, the interval is narrower than the mark."
    )
    ends = np.concatenate([values, high, low[low > 0] if is_log else low])
    if is_log:  # an interval that reaches down to zero goes to the edge
        ends = ends[ends > positive.min() * 1e-3]
    x = Scale.of(i + 1.0, is_log=len(shown) < s.size, is_integer=True)
    chart = Chart(
        f"{what.capitalize()}s with certified intervals", told, x, Scale.of(ends, is_log=is_log, from_zero=not is_log),
        x_label="component", y_label=what, note=note,
    )  # fmt: skip
    chart.intervals(i + 1.0, low, high)
    flags = resolved[i]
    tips = [f"{j + 1}: {float(v):.6g}, at least {round_down(float(a))}, at most {round_up(float(b))}" for j, v, a, b in zip(shown, values, low, high, strict=True)]  # fmt: skip
    for which, name, style in ((flags, "resolved", 0), (~flags, "not resolved", 1)):
        if which.any():
            chart.points(
                i[which] + 1.0,
                values[which],
                name,
                style,
                [t for t, f in zip(tips, which, strict=True) if f],
            )
    return chart.finish()


def energy(s: Real, c: Certificate) -> Drawing:
    """Share of the energy that the leading values hold together."""
    shares = np.minimum(np.cumsum((s / c.frobenius_norm) ** 2), 1.0)
    shown = thin_indices(int(s.size), MOST_MARKS)
    i = np.array(shown)
    told = f"The first value holds {shares[0]:.4%} of the energy, all {s.size} together {shares[-1]:.4%}; proved: at least {share_text(c.captured)}."
    percent_scale = Scale.of(
        [*(100 * shares[i]), 100 * c.captured, 100.0], show=lambda x: f"{x:g} %"
    )
    chart = Chart(
        "Captured energy", told, Scale.of(i + 1.0, is_log=len(shown) < s.size, is_integer=True), percent_scale,
        x_label="components", y_label="share of the energy, together",
    )  # fmt: skip
    chart.line(i + 1.0, 100 * shares[i])
    return chart.rule(100 * c.captured, f"proved of all: {share_text(c.captured)}").finish()


def values_table(s: Real, c: Certificate, what: str) -> Table:
    """Every value with the ends of its interval, rounded outward."""
    shown = thin_indices(int(s.size), MOST_ROWS)
    resolved, widths = c.resolved, c.widths
    shares = np.zeros_like(s) if c.vanishes else (s / c.frobenius_norm) ** 2
    rows = []
    for i in shown:
        low, high = float(c.sigma_lower[i]), float(c.sigma_upper[i])
        mark = (
            Cell("resolved", tone="good") if resolved[i] else Cell("not resolved", tone="caution")
        )
        rows.append([
            Cell(str(i + 1), i + 1), Cell(f"{float(s[i]):.7g}", float(s[i])), Cell(round_down(low, 7), low), Cell(round_up(high, 7), high),
            number(float(widths[i]), 2), Cell(f"{100 * float(shares[i]):.4g} %", float(shares[i])), mark,
        ])  # fmt: skip
    note = (
        f"{len(shown)} of {s.size} values; the leading {MOST_ROWS // 2} are all there."
        if len(shown) < s.size
        else ""
    )
    heads = ["i", what, "at least", "at most", "width", "share", "state"]
    return Table(f"{what.capitalize()}s", heads, rows, note)


def energy_words(c: Certificate) -> str:
    """What is held and how far that is from the best, in one sentence."""
    held = f"the factors hold at least {share_text(c.captured)} of the energy"
    if np.isfinite(c.excess) and not c.error_vanishes:
        held += f", with an error at most {percent(c.excess)} above the best of this rank"
    return held
