"""The pages of `svd`, `pca` and `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamsvd.factor.result import PCA, SVD
from streamsvd.info import Status
from streamsvd.models.verify import Verification
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.sentences import describe_values
from streamsvd.options import EXCESS_TOL
from streamsvd.report.parts import Cell, Page, Section, Table, Tone
from streamsvd.report.results.components import components_section, scores_section
from streamsvd.report.results.costs import convergence, cost_section
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import (
    command_line,
    reproduce_section,
    step_words,
    steps_text,
)
from streamsvd.report.results.spectra import certificate_facts, energy_words, values_section
from streamsvd.typing import Matrix, Real


def svd_verdict(
    c: Certificate, status: Status, warnings: Sequence[str] = (), criterion: str = ""
) -> tuple[str, Tone]:
    """What is proved, in a sentence, and how that is."""
    said = f"{describe_values(c)}; {energy_words(c)}"
    if status is Status.NOT_CONVERGED:
        return f"Not converged: what was asked is not proved. So far {said}.", "bad"
    if status is Status.INTERRUPTED:
        return f"Interrupted: the result is that of the last whole pass. So far {said}.", "caution"
    if c.kind is not Kind.BOUNDS:
        return f"Estimated, nothing is proved: {said}.", "caution"
    is_told = bool(c.resolved.all()) or c.excess <= EXCESS_TOL or bool(criterion)
    return f"{said[0].upper()}{said[1:]}.", "good" if is_told and not warnings else "caution"


def svd_sections(result: SVD, origin: ResultOrigin) -> list[Section]:
    """What a factorisation is, but for how it is made again."""
    c, info = result.certificate, result.info
    facts = [
        ("shape", f"{info.n_rows:,} × {result.Vh.shape[1]:,}"),
        ("rank", f"{result.rank:,}"),
        *certificate_facts(c),
    ]
    if info.missing:
        facts.append(("missing entries", f"{info.missing:,}, {info.nonfinite}"))
    if result.row_steps:
        facts.append(("steps of rows", steps_text(result.row_steps)))
    if info.dropped_columns:
        facts.append(("columns left out", f"{len(info.dropped_columns):,}"))
    proved = Section("What is proved", (), facts, convergence(info.widths, c.tol))
    is_principal = isinstance(result, PCA)
    return [
        proved,
        values_section(result.s, c),
        *vector_sections(result.s, c, result.Vh, result.U, origin, is_principal=is_principal),
    ]


def vector_sections(
    s: Real,
    c: Certificate,
    Vh: Matrix | None,
    U: Any,
    origin: ResultOrigin,
    *,
    is_principal: bool = False,
) -> list[Section]:
    """The vectors of both sides, as far as they are there."""
    most = min(int(s.size), origin.most)
    shares = (
        [""] * most
        if c.vanishes
        else [f" ({100 * float(x):.3g} %)" for x in (s[:most] / c.frobenius_norm) ** 2]
    )
    what, title = ("Component", "Components") if is_principal else ("Right vector", "Right vectors")
    names = [f"{what} {i + 1}{share}" for i, share in enumerate(shares)]
    right = (
        None
        if Vh is None
        else components_section(Vh, grid=origin.grid, names=names, most=most, title=title)
    )
    return [part for part in (right, scores_section(U)) if part is not None]


def svd_page(result: SVD, origin: ResultOrigin) -> Page:
    """The page of `svd` or `pca`."""
    verb, info = "pca" if isinstance(result, PCA) else "svd", result.info
    verdict, tone = svd_verdict(result.certificate, info.status, info.warnings, info.criterion)
    budget = getattr(result.options, "memory", None)
    cost = cost_section(info, budget=budget if isinstance(budget, int) else 0, more=(("route", f"{info.route} along {info.axis}, {info.precision} precision"),))  # fmt: skip
    again = reproduce_section(
        command_line(verb, origin.source, result.options, after=step_words(result.row_steps)),
        options=result.options,
        release=origin.release,
        seed=info.seed,
    )
    return Page(
        origin.title,
        f"result of {verb}",
        verdict,
        tone,
        info.warnings,
        [*svd_sections(result, origin), cost, again],
    )


def verify_page(result: Verification, origin: ResultOrigin) -> Page:
    """The page of `verify`: the stored intervals beside those of the one pass."""
    mine, stored = result.certificate, result.stored_certificate
    tone: Tone
    if result.agrees:
        verdict, tone = "The pass contradicts nothing that the stored result says.", "good"
    else:
        verdict, tone = (
            f"The stored result does not agree with its source: {result.findings[0]}.",
            "bad",
        )
    rows = []
    for i in range(min(int(mine.sigma_lower.size), int(stored.sigma_lower.size), 200)):
        numbers = [
            float(x[i])
            for x in (stored.sigma_lower, stored.sigma_upper, mine.sigma_lower, mine.sigma_upper)
        ]
        apart = numbers[2] > numbers[1] or numbers[3] < numbers[0]
        rows.append([
            Cell(str(i + 1), i + 1), *(Cell(f"{x:.7g}", x) for x in numbers),
            Cell("apart", tone="bad") if apart else Cell("meet", tone="good"),
        ])  # fmt: skip
    heads = [
        "i",
        "stored, at least",
        "stored, at most",
        "now, at least",
        "now, at most",
        "intervals",
    ]
    middle = np.sqrt(np.maximum(mine.sigma_lower, 0)) * np.sqrt(np.maximum(mine.sigma_upper, 0))
    found = Section("What was found", [f"{text}." for text in result.findings] or ["No contradiction."], certificate_facts(mine))  # fmt: skip
    both = Section("Stored and found", ["The one pass proves less than the run that made the result: its intervals are wider."], (), (), [Table("Intervals, stored and found", heads, rows)])  # fmt: skip
    sections = [
        found,
        both,
        values_section(np.where(np.isfinite(middle), middle, mine.sigma_lower), mine),
        cost_section(result.info),
    ]
    again = reproduce_section(
        command_line("verify", "RESULT", result.options, after=["SOURCE"]), options=result.options, release=origin.release, seed=result.info.seed,
    )  # fmt: skip
    return Page(origin.title, "result of verify", verdict, tone, _cautions(result.info.warnings, result.findings), [*sections, again])  # fmt: skip


def _cautions(warnings: Sequence[str], findings: Sequence[str]) -> list[str]:
    """Warnings, and the findings that the verdict does not name."""
    return [*(f"{text}." for text in findings[1:]), *warnings]
