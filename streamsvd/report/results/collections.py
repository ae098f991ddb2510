"""The pages of collections: clusters, compressed ones, and bytes against error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.mathematics import MergeStep
from streamsvd.collections.rates import RateCurve, RatePoint
from streamsvd.collections.result import ClusterResult
from streamsvd.engine.memory import show_bytes
from streamsvd.numerics.sentences import round_down, round_up
from streamsvd.report.drawing.charts import Chart, bars
from streamsvd.report.drawing.scales import Scale
from streamsvd.report.parts import MOST_ROWS, Cell, Drawing, Page, Section, Table, number, whole
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import NO_RELEASE, command_line, reproduce_section

MOST_BARS = 20
WHOSE = {"cluster": "of each cluster", "global": "of all together", "block": "of each matrix"}
"""Whose error it is that was asked, by mode."""
MOST_NAMES = 6
"""Names of a cluster that a table shows."""


class ClusterLike(Protocol):
    """What all kinds of clusters have."""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of its matrices."""
        ...

    @property
    def rank(self) -> int:
        """Columns of its basis."""
        ...

    @property
    def error_lower(self) -> float:
        """No basis of the rank has an error below."""
        ...

    @property
    def error_upper(self) -> float:
        """Theirs has none above."""
        ...

    @property
    def raw(self) -> bool:
        """Whether its matrices are kept as they are."""
        ...


def matrices(count: int) -> str:
    """So many matrices."""
    return f"{count:,} matri{'x' if count == 1 else 'ces'}"


def clusters_section(clusters: Sequence[ClusterLike]) -> Section:
    """Sizes of the clusters, the largest first, and a table of them."""
    order = sorted(
        range(len(clusters)), key=lambda i: (clusters[i].raw, -len(clusters[i].members), i)
    )
    shared = [i for i in order if not clusters[i].raw]
    raw = sum(len(clusters[i].members) for i in order if clusters[i].raw)
    drawings: list[Drawing] = []
    if shared:
        most = max(len(clusters[i].members) for i in shared)
        told = f"{len(shared):,} clusters; the largest has {matrices(most)}. {matrices(raw)} kept as they are."
        rows = [
            (f"Cluster {i}", [(float(len(clusters[i].members)), f"{len(clusters[i].members):,}, rank {clusters[i].rank}")])
            for i in shared[:MOST_BARS]
        ]  # fmt: skip
        note = f"The {MOST_BARS} largest of {len(shared):,}." if len(shared) > MOST_BARS else ""
        drawings.append(bars("Matrices that share a basis", told, rows, note=note))
    return Section("Clusters", (), (), drawings, [clusters_table(clusters, order)])


def clusters_table(clusters: Sequence[ClusterLike], order: Sequence[int]) -> Table:
    """Clusters with their certified errors, the largest first."""
    rows = []
    for i in order[:MOST_ROWS]:
        c = clusters[i]
        names = ", ".join(c.members[:MOST_NAMES])
        if len(c.members) > MOST_NAMES:
            names += f" and {len(c.members) - MOST_NAMES:,} more"
        kept = Cell("as they are") if c.raw else whole(c.rank)
        ends = [Cell("–"), Cell("–")] if c.raw else [
            Cell(round_down(c.error_lower, 4), c.error_lower), Cell(round_up(c.error_upper, 4), c.error_upper)
        ]  # fmt: skip
        rows.append([whole(i), whole(len(c.members)), kept, *ends, Cell(names)])
    note = f"{MOST_ROWS} of {len(order):,} clusters, the largest." if len(order) > MOST_ROWS else ""
    return Table(
        "Clusters, the largest first",
        ["cluster", "matrices", "rank", "error at least", "at most", "names"],
        rows,
        note,
    )


def errors_section(
    errors: Mapping[str, float], labels: Mapping[str, int], asked: float, mode: str
) -> Section:
    """Certified errors of the matrices: all of them as one curve, the largest by name."""
    order = sorted(errors, key=lambda name: -errors[name])
    values = np.array([errors[name] for name in order])
    if not order:
        return Section("Errors of the matrices", ["There are no matrices."])
    shown = np.unique(np.linspace(0, values.size - 1, min(values.size, 300)).astype(int))
    told = f"The largest is {values[0]:.4g}, half are above {float(np.median(values)):.4g}; asked: {asked:g} {WHOSE[mode]}."
    chart = Chart(
        "Errors of the matrices", told, Scale.of(shown + 1.0, is_integer=True), Scale.of([*values, asked], from_zero=True),
        x_label="matrix, the largest error first", y_label="relative error, at most", note=f"{shown.size} of {values.size:,} are drawn." if shown.size < values.size else "",
    )  # fmt: skip
    chart.line(shown + 1.0, values[shown]).rule(asked, f"asked {WHOSE[mode]}: {asked:g}")
    rows = [
        [Cell(name), whole(labels[name]), Cell(round_up(errors[name], 4), errors[name])]
        for name in order[:MOST_ROWS]
    ]
    note = (
        f"The {MOST_ROWS} matrices of the largest errors, of {len(order):,}."
        if len(order) > MOST_ROWS
        else ""
    )
    return Section("Errors of the matrices", (), (), [chart.finish()], [Table("Matrices", ["matrix", "cluster", "error at most"], rows, note)])  # fmt: skip


def merges_chart(merges: Sequence[MergeStep]) -> list[Drawing]:
    """Heights at which clusters were merged; nothing where none was."""
    heights = np.sort([m.height for m in merges])
    if not heights.size:
        return []
    shown = np.unique(np.linspace(0, heights.size - 1, min(heights.size, 300)).astype(int))
    told = (
        f"{heights.size:,} merges, at relative errors from {heights[0]:.3g} to {heights[-1]:.3g}."
    )
    chart = Chart(
        "Errors at which clusters were merged", told, Scale.of(shown + 1.0, is_integer=True), Scale.of(heights, from_zero=True),
        x_label="merge, the least error first", y_label="relative error",
    )  # fmt: skip
    return [chart.line(shown + 1.0, heights[shown]).finish()]


def cluster_page(found: ClusterResult, origin: ResultOrigin) -> Page:
    """The page of `cluster`."""
    shared = [c for c in found.clusters if not c.raw]
    verdict = (
        f"{matrices(len(found.labels))} share {len(shared):,} bas{'is' if len(shared) == 1 else 'es'} at a relative error of "
        f"{found.options.error:g}: {found.compression_ratio:.3g} times fewer bytes."
    )
    merges = Section(
        "Merges",
        ["Nothing was merged."] if not found.merges else (),
        (),
        merges_chart(found.merges),
    )
    sections = [
        clusters_section(found.clusters), errors_section(found.block_errors, found.labels, found.options.error, found.options.mode), merges,
        cost_section(found.info, budget=found.plan.budget_bytes),
        reproduce_section(command_line("cluster", found.plan.source, found.options), options=found.options, release=origin.release, seed=found.options.seed),
    ]  # fmt: skip
    return Page(origin.title, "result of cluster", verdict, "caution" if found.info.warnings else "good", found.info.warnings, sections)  # fmt: skip


def compressed_page(found: CompressedCollection, origin: ResultOrigin) -> Page:
    """The page of a compressed collection."""
    errors, asked = found.block_errors, found.options
    worst = max(errors.values(), default=0.0)
    upper = max((c.error_upper for c in found.clusters if not c.raw), default=0.0)
    less = (
        f"{found.compression_ratio:.3g} times fewer bytes"
        if found.compression_ratio >= 1
        else "no fewer bytes"
    )
    verdict = (
        f"{matrices(len(found))} take {show_bytes(found.bytes_after)} in place of {show_bytes(found.bytes_before)}, {less}; the relative "
        f"error is at most {round_up(upper, 3)} of each cluster and {round_up(worst, 3)} of each matrix (proved)."
    )
    told = f"Before {show_bytes(found.bytes_before)}, after {show_bytes(found.bytes_after)}, metadata and checksums included."
    size = bars("Bytes before and after", told, [
        ("before", [(float(found.bytes_before), show_bytes(found.bytes_before))]), ("after", [(float(found.bytes_after), show_bytes(found.bytes_after))])
    ])  # fmt: skip
    rank = "what takes the least storage" if asked.rank is None else str(asked.rank)
    facts = [
        ("version", str(found.version)), ("rows of all", f"{found.rows:,}"), ("error asked", f"{asked.error:g} {WHOSE[asked.mode]}"),
        ("rank asked", rank), ("method", asked.method), ("principal part", "–" if asked.principal is None else f"within {asked.principal:g}"),
        ("weighted", matrices(len(found.weighted_names))), ("missing", f"{sum(found.zeros.values()):,} entries count as zero"),
    ]  # fmt: skip
    words = [
        "streamsvd compress",
        "COLLECTION",
        f"--error {asked.error:g}",
        f"--mode {asked.mode}",
        f"--method {asked.method}",
    ]
    words += [f"--rank {asked.rank}"] if asked.rank is not None else []
    words += [f"--principal {asked.principal:g}"] if asked.principal is not None else []
    again = Section(
        "How to make it again", ["The collection does not say where its matrices came from: write that in the place of COLLECTION."],
        facts=[NO_RELEASE], code=[" ".join([*words, "--out again"])],
    )  # fmt: skip
    sections = [
        Section("What was stored", (), facts, [size]), clusters_section(found.clusters), errors_section(errors, found.labels, asked.error, asked.mode), again,
    ]  # fmt: skip
    return Page(
        origin.title,
        f"compressed collection, version {found.version}",
        verdict,
        "good",
        (),
        sections,
    )


def rates_page(found: RateCurve, origin: ResultOrigin) -> Page:
    """The page of `rate_curve`."""
    best = found.rates[-1]
    verdict = (
        f"{matrices(found.plan.n_blocks)} take {show_bytes(found.bytes_before)}; as bases that they share, between "
        f"{show_bytes(found.rates[0].bytes_after)} at a relative error of {found.rates[0].error:g} and {show_bytes(best.bytes_after)} at {best.error:g}."
    )
    rows = [
        [
            number(r.error), Cell(show_bytes(r.bytes_after), r.bytes_after), Cell(f"{r.compression_ratio:.3g}", r.compression_ratio),
            Cell(show_bytes(r.bytes_alone), r.bytes_alone), whole(sum(not c.raw for c in r.clusters)), whole(r.raw), Cell(round_up(r.block_error, 3), r.block_error),
        ]
        for r in found.rates
    ]  # fmt: skip
    heads = [
        "error",
        "bytes",
        "times less",
        "SVD of each alone",
        "clusters",
        "kept as they are",
        "largest error of a matrix",
    ]
    table = Table("What the matrices take at each error", heads, rows)
    sections = [
        Section("Bytes against error", (), (), [rate_chart(found)], [table]),
        *(_rate_section(r) for r in (found.rates[:6])),
        cost_section(found.info, budget=found.plan.budget_bytes),
        reproduce_section(command_line("rate_curve", found.plan.source, found.options), options=found.options, release=origin.release, seed=None),
    ]  # fmt: skip
    return Page(origin.title, "result of rate_curve", verdict, "caution" if found.info.warnings else "good", found.info.warnings, sections)  # fmt: skip


def rate_chart(found: RateCurve) -> Drawing:
    """Bytes of shared bases, of an SVD of each matrix alone, and of the matrices."""
    errors = [r.error for r in found.rates]
    ours, alone = [r.bytes_after for r in found.rates], [r.bytes_alone for r in found.rates]
    told = "; ".join(
        f"at {r.error:g} {show_bytes(r.bytes_after)}, alone {show_bytes(r.bytes_alone)}"
        for r in found.rates
    )
    is_log = errors[0] > 0 and len(errors) > 1
    chart = Chart(
        "Bytes against error", f"{told}.", Scale.of(errors, is_log=is_log), Scale.of([*ours, *alone, found.bytes_before], from_zero=True, show=show_bytes, is_binary=True),
        x_label="relative error allowed", y_label="bytes",
    )  # fmt: skip
    chart.line(errors, ours, "shared bases", 0).line(errors, alone, "SVD of each alone", 1)
    return chart.rule(found.bytes_before, "as they are").finish()


def _rate_section(rate: RatePoint) -> Section:
    part = clusters_section(rate.clusters)
    return Section(f"Clusters at a relative error of {rate.error:g}", (), (), [*part.drawings, *merges_chart(rate.merges)], part.tables)  # fmt: skip
