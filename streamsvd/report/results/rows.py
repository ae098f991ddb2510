"""The pages of `lstsq` and `sample_rows`."""

from __future__ import annotations

import numpy as np

from streamsvd.info import Status
from streamsvd.numerics.sentences import round_up
from streamsvd.report.drawing.charts import Chart
from streamsvd.report.drawing.scales import Scale
from streamsvd.report.parts import Cell, Page, Section, Table, Tone, number, whole
from streamsvd.report.results.components import components_section
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.kernels import weights_chart
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section
from streamsvd.rows.lstsq import LeastSquaresResult
from streamsvd.rows.sample_rows import RowSample


def least_squares_verdict(found: LeastSquaresResult) -> tuple[str, Tone]:
    """How far the solution is from the exact one."""
    error = float(np.max(found.forward_error, initial=0.0))
    if found.info.status is Status.NOT_CONVERGED or found.outcome == "capped":
        return (
            f"Not converged after {found.iterations} passes: the distance from the minimiser is about {error:.2g}.",
            "bad",
        )
    if not np.isfinite(error):
        return (
            f"The rank is {found.rank}, not full: of all minimisers this is the one of least norm.",
            "caution",
        )
    if found.is_proved and not found.info.warnings:
        return (
            f"The solution is within {round_up(error, 2)} of the exact minimiser (proved).",
            "good",
        )
    how = f"within {round_up(error, 2)} of" if found.is_proved else f"about {error:.2g} from"
    return (
        f"The solution is {how} the exact minimiser ({'proved' if found.is_proved else 'estimated'}).",
        "caution",
    )


def least_squares_page(found: LeastSquaresResult, origin: ResultOrigin) -> Page:
    """The page of `lstsq`."""
    verdict, tone = least_squares_verdict(found)
    x = found.x if found.x.ndim == 2 else found.x[:, None]
    residual, error = np.atleast_1d(found.residual_norm), np.atleast_1d(found.forward_error)
    facts = [
        ("unknowns", f"{x.shape[0]:,}"), ("right-hand sides", f"{x.shape[1]:,}"), ("rank", f"{found.rank:,}"),
        ("method", found.options.method), ("outcome", found.outcome), ("iterations", str(found.iterations)),
    ]  # fmt: skip
    rows = [[Cell(str(i + 1), i + 1), number(float(r), 7), number(float(e), 3)] for i, (r, e) in enumerate(zip(residual, error, strict=True))][:200]  # fmt: skip
    bound = "at most" if found.is_proved else "about"
    table = Table(
        "Residual and error", ["right-hand side", "residual norm", f"forward error, {bound}"], rows
    )
    drawings = []
    steps = [g for g in found.gradients if g]
    if len(steps) > 1:
        worst = [max(g) for g in steps]
        passes = range(1, len(worst) + 1)
        told = f"The largest gradient fell from {worst[0]:.2g} to {worst[-1]:.2g} in {len(worst)} passes."
        drawings = [
            Chart(
                "Gradient after each pass", told, Scale.of(passes, is_integer=True), Scale.of(worst, is_log=True), x_label="pass", y_label="preconditioned gradient"
            ).line(passes, worst).finish()
        ]  # fmt: skip
    sections = [
        Section("The solution", (), facts, drawings, [table]),
        components_section(x.T, grid=origin.grid, names=[f"Solution {i + 1}" for i in range(x.shape[1])], most=4, title="Solutions", axis="unknown"),
        cost_section(found.info),
        reproduce_section(
            command_line("lstsq", origin.source, found.options, nonfinite=found.info.nonfinite, after=["--b", "B.npy"]), options=found.options, release=origin.release, seed=found.options.seed
        ),
    ]  # fmt: skip
    return Page(origin.title, "result of lstsq", verdict, tone, found.info.warnings, sections)


def sample_page(found: RowSample, origin: ResultOrigin) -> Page:
    """The page of `sample_rows`."""
    c, count = found.certificate, int(found.indices.size)
    tone: Tone
    if c.lower >= 1:
        verdict, tone = (
            f"The {count:,} rows miss a direction of the matrix: a larger sample is needed.",
            "bad",
        )
    else:
        verdict = (
            f"The {count:,} rows keep every squared length within −{round_up(100 * max(c.lower, 0.0), 3)} % and +{round_up(100 * max(c.upper, 0.0), 3)} % "
            f"in {c.rank:,} directions (proved)."
        )
        tone = "caution" if found.info.warnings else "good"
    facts = [
        ("rows kept", f"{count:,} of {found.info.n_rows:,}"), ("dimension", f"{found.dimension:.5g}"),
        ("oversampling", f"{found.oversampling:.4g}"), ("ridge of both sides", f"{c.gamma:.4g}"),
        ("choices", f"{', '.join(found.chosen_options)} chosen" if found.chosen_options else "as it was asked"),
    ]  # fmt: skip
    order = np.argsort(-found.scores, kind="stable")[:100]
    rows = [[whole(int(found.indices[i])), number(float(found.scores[i])), number(float(found.chances[i])), number(float(found.weights[i]))] for i in order]  # fmt: skip
    note = f"The 100 rows of the largest scores, of {count:,}." if count > 100 else ""
    sections = [
        Section("The sample", (), facts, [weights_chart("Weights of the rows", found.weights), weights_chart("Scores of the rows", found.scores, "score")]),
        Section("Rows", (), (), (), [Table("Rows by their scores", ["row", "score", "chance", "weight"], rows, note)]),
        cost_section(found.info),
        reproduce_section(
            command_line("sample_rows", origin.source, found.options, nonfinite=found.info.nonfinite), options=found.options, release=origin.release, seed=found.options.seed
        ),
    ]  # fmt: skip
    return Page(origin.title, "result of sample_rows", verdict, tone, found.info.warnings, sections)
