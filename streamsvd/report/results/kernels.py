"""The pages of `nystrom` and `kernel_ridge`."""

from __future__ import annotations

import math

import numpy as np

from streamsvd.info import Status
from streamsvd.kernels.nystrom import NystromResult
from streamsvd.kernels.ridge import KernelRidgeResult
from streamsvd.numerics.sentences import percent
from streamsvd.report.drawing.charts import Chart
from streamsvd.report.drawing.scales import Numbers, Scale
from streamsvd.report.parts import Cell, Drawing, Fact, Page, Section, Table, Tone, number
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section


def nystrom_verdict(found: NystromResult) -> tuple[str, Tone]:
    """How much of the trace the centres miss."""
    c, count = found.certificate, int(found.centres.size)
    if not math.isfinite(c.trace_error):
        return (
            f"{count:,} centres were chosen; nothing is proved of their error, as no second pass was made.",
            "caution",
        )
    share = c.trace_error / c.trace if c.trace > 0 else 0.0
    said = f"{count:,} centres leave at most {percent(share)} of the trace of the kernel matrix (proved, by a second pass)."
    return said, "caution" if found.info.warnings else "good"


def nystrom_facts(found: NystromResult) -> list[Fact]:
    """The dictionary and its error."""
    c = found.certificate
    proved = (
        f"{c.trace_error:.5g} of {c.trace:.5g}"
        if math.isfinite(c.trace_error)
        else "no second pass was made"
    )
    return [
        ("kernel", str(found.feature_map.kernel)), ("centres", f"{found.centres.size:,}"), ("rows of the dictionary", f"{found.indices.size:,}"),
        ("trace of the error, at most", proved), ("spectral norm of the error", f"{c.spectral_estimate:.5g} (estimated)"),
        ("effective dimension", f"{found.effective_dimension:.4g}"), ("ridge of the dictionary", f"{found.gamma:.4g}"),
    ]  # fmt: skip


def weights_chart(title: str, weights: Numbers, what: str = "rows that one stands for") -> Drawing:
    """Weights in their order, the largest first."""
    values = np.sort(np.asarray(weights, float))[::-1]
    shown = np.unique(np.linspace(0, max(values.size - 1, 0), min(values.size, 300)).astype(int))
    told = "There are none."
    if values.size:
        told = f"{values.size:,} rows: the largest weight is {values[0]:.4g}, half are above {float(np.median(values)):.4g}, the least is {values[-1]:.4g}."
    note = f"{shown.size} of {values.size:,} are drawn." if shown.size < values.size else ""
    chart = Chart(
        title, told, Scale.of(shown + 1.0, is_integer=True), Scale.of(values, from_zero=True), x_label="row, the heaviest first", y_label=what, note=note
    )  # fmt: skip
    return chart.line(shown + 1.0, values[shown]).finish()


def nystrom_page(found: NystromResult, origin: ResultOrigin) -> Page:
    """The page of `nystrom`."""
    verdict, tone = nystrom_verdict(found)
    chosen = (
        f"{', '.join(found.chosen_options)} chosen on the data"
        if found.chosen_options
        else "as it was asked"
    )
    sections = [
        Section("What is proved", (), [*nystrom_facts(found), ("choices", chosen)]),
        Section("Rows of the dictionary", (), (), [weights_chart("Weights of the rows", found.weights)]),
        cost_section(found.info),
        reproduce_section(
            command_line("nystrom", origin.source, found.options, nonfinite=found.info.nonfinite), options=found.options, release=origin.release, seed=found.options.seed
        ),
    ]  # fmt: skip
    return Page(origin.title, "result of nystrom", verdict, tone, found.info.warnings, sections)


def ridge_page(found: KernelRidgeResult, origin: ResultOrigin) -> Page:
    """The page of `kernel_ridge`."""
    errors = np.atleast_1d(found.held_out_rmse)
    judged = bool(found.n_held_out) and bool(np.isfinite(errors).all())
    tone: Tone
    if found.info.status is Status.NOT_CONVERGED:
        verdict, tone = (
            "Not converged: the iteration ended before the residual was as small as asked.",
            "bad",
        )
    elif judged:
        said = (
            f"{errors[0]:.5g}"
            if errors.size == 1
            else f"{errors.min():.5g} to {errors.max():.5g} over {errors.size} targets"
        )
        verdict = f"The root mean squared error on {found.n_held_out:,} rows that were held out is {said}."
        tone = "caution" if found.info.warnings else "good"
    else:
        verdict, tone = "No rows were held out: nothing is known of the error on others.", "caution"
    facts = [
        ("ridge", f"{found.ridge:.5g}"), ("solver", found.solver), ("features", f"{found.coefficients.shape[0]:,}"),
        ("targets", f"{found.coefficients.shape[1]:,}"), ("rows held out", f"{found.n_held_out:,}"),
        ("trace of the error of the kernel", f"{found.trace_error:.5g}"),
        ("choices", f"{', '.join(found.chosen_options)} chosen on the data" if found.chosen_options else "as it was asked"),
    ]  # fmt: skip
    rows = [[Cell(str(i + 1), i + 1), number(float(e)), number(float(m))] for i, (e, m) in enumerate(zip(errors, found.mean, strict=True))][:200]  # fmt: skip
    table = Table(
        "Error on the rows held out, by target", ["target", "root mean squared error", "mean"], rows
    )
    drawings = []
    if len(found.residuals) > 1:
        steps = range(len(found.residuals))
        drawings = [
            Chart(
                "Residual after each pass", f"It fell from {found.residuals[0]:.2g} to {found.residuals[-1]:.2g}.", Scale.of(steps, is_integer=True),
                Scale.of(found.residuals, is_log=True), x_label="pass", y_label="relative residual",
            ).line(steps, found.residuals).finish()
        ]  # fmt: skip
    sections = [Section("The regression", (), facts, drawings, [table])]
    if found.nystrom is not None:
        sections.append(
            Section("Its dictionary", (), nystrom_facts(found.nystrom), [weights_chart("Weights of the rows", found.nystrom.weights)])
        )  # fmt: skip
    seed = None if found.options is None else found.options.seed
    command = command_line(
        "kernel_ridge",
        origin.source,
        found.options,
        nonfinite=found.info.nonfinite,
        after=["--y", "Y.npy"],
    )
    sections += [
        cost_section(found.info),
        reproduce_section(command, options=found.options, release=origin.release, seed=seed),
    ]
    return Page(
        origin.title, "result of kernel_ridge", verdict, tone, found.info.warnings, sections
    )
