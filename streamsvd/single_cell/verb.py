"""The verb `cells`: from counts of cells to their principal components, in four passes."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.checks.libraries import optional_library
from streamsvd.checks.paths import place_of
from streamsvd.engine.events import (
    Callback,
    CertificateUpdated,
    Event,
    PassDone,
    PassStarted,
    ResultWritten,
    SpanDone,
    ignore_event,
)
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import (
    SAVE_SECONDS,
    Saves,
    check_saves,
    check_seconds,
    identity,
    source_fingerprint,
    try_saves,
)
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import NotConverged, SpecError
from streamsvd.factor.pca import pca
from streamsvd.factor.result import PCA
from streamsvd.info import Info
from streamsvd.protocols import Source
from streamsvd.single_cell.inputs import named_genes, take_counts
from streamsvd.single_cell.mathematics import (
    CellSums,
    GeneMoments,
    GeneSums,
    dispersions_of,
    moments_of,
    normalised_variances,
    ranks_of,
    trend_of,
)
from streamsvd.single_cell.options import CellsOptions, Flavor
from streamsvd.single_cell.passes import CellCountPass, ClippedPass, CountedRows
from streamsvd.single_cell.planning import CellsPlan, plan_components, plan_passes
from streamsvd.single_cell.result import CellsResult, CellTable, GeneTable
from streamsvd.single_cell.scores import left_vectors

if TYPE_CHECKING:
    from streamsvd.store.results.writer import ResultWriter

COUNTS, CLIPPED_COUNTS = "counts", "clipped counts"
COMPONENTS = "components"
"""Below the place of a checkpoint, that of the factorisation."""


def cells(
    A: Any,
    genes: int = 2000,
    rank: int = 50,
    *,
    flavor: Flavor = "seurat_v3",
    target: float = 1e4,
    mito: str = "MT-",
    span: float = 0.3,
    layer: str | None = None,
    tol: float | None = None,
    memory: int | float | str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> CellsResult:
    """From counts of cells to principal components of the genes that vary most, as scanpy makes them step by step.

    Parameters
    ----------
    A
        Counts, cells by genes: an AnnData object, the path of an ``.h5ad`` file or a zarr store, a sparse matrix of scipy, or
        anything `streamsvd.open` takes. It stays as it is.
    genes
        Genes that are kept.
    rank
        Components wanted.
    flavor
        How genes are chosen. ``"seurat_v3"``: by the variance of clipped counts about its trend with the mean, which takes
        integers, scikit-misc, and a pass more. ``"seurat"``: by the dispersion of normalised counts among genes of about the
        same mean.
    target
        What the counts of each cell are normalised to sum to, over all genes.
    mito
        How names of mitochondrial genes begin, in either case; empty for none.
    span
        Share of the genes that a local fit of the trend takes in.
    layer
        The layer of AnnData that has the counts, instead of ``X``.
    tol
        Relative width asked of the interval of each singular value; 1e-3 if left out. With the Gram matrix they are far narrower.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    out, overwrite
        Folder, or URL, for the result, with ``U`` in chunks; needed where ``U`` exceeds memory. Whether it may replace a result.
    seed
        Of all random numbers.
    checkpoint, save_seconds
        Folder, or URL of an object store, where finished parts are saved now and then, at least so many seconds apart, so that a
        run that was killed goes on from there, to the same bits. It is removed at the end.
    callback
        Receives events.

    Returns
    -------
    result
        A `PCA` of ``log(1 + target x / sum)`` of the genes that were kept, less their means, with ``genes`` and ``cells``: what
        was counted. Its `to_anndata` writes all of it under the names of scanpy.

    Raises
    ------
    SpecError
        If an entry is no count, too few genes vary, or an option cannot be meant.
    ShapeError
        If there are fewer genes or cells than are asked for.
    NonFiniteError
        If an entry is NaN or Inf; it names row and column.
    BudgetError
        If it does not fit in the memory; it names the smallest that works.
    StoreError
        If scikit-misc is not installed, or the result cannot be written.
    NotConverged
        If the components are not proved to ``tol``, where the Gram matrix does not fit; it carries the result.

    Notes
    -----
    Cost: four passes, three under ``"seurat"``: counts, clipped counts, the Gram matrix of the genes that are kept, scores. A pass over
    counts takes some 40 ns an entry, the Gram matrix ``genes^2`` multiply-adds a cell at most. Memory: ``96 m + 160 n`` bytes for
    what is counted of m cells and n genes, ``24 genes^2`` for the Gram matrix, and runs of rows; nothing is made dense but a block.

    References
    ----------
    Stuart, Butler, Hoffman et al. (2019) for ``"seurat_v3"``; Satija, Farrell, Gennert et al. (2015) for ``"seurat"``; Wolf, Angerer,
    Theis (2018), scanpy, whose numbers these are.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.gamma(1.0, 1.0, 300) * np.where(rng.random((400, 1)) < 0.5, 1.0, rng.gamma(2.0, 0.5, 300))
    >>> found = streamsvd.cells(sp.csr_array(rng.poisson(rates)), genes=100, rank=5, flavor="seurat")
    >>> found.rank, int(found.genes.highly_variable.sum())
    (5, 100)
    """
    options = CellsOptions(
        genes=genes, rank=rank, flavor=flavor, target=target, mito=mito, span=span, tol=tol, seed=seed
    )  # fmt: skip
    source = take_counts(A, layer, options)
    check_seconds(save_seconds)
    _require_loess(options)
    place = None if out is None else place_of(out, "out")
    _check_places(place, checkpoint, source)
    budget = allowed_bytes(memory)
    plan = plan_passes(source, options, budget, out=out, checkpoint=checkpoint)
    job = CellsJob(source, options, plan, budget, checkpoint, save_seconds, PassCounter(callback))
    if place is None:
        return job.result(None)
    from streamsvd.store.results.writer import ResultWriter  # imports zarr

    writer = ResultWriter(place, overwrite=overwrite)
    try:
        return job.result(writer)
    except BaseException:
        if not writer.committed:
            writer.discard()
        raise


def plan_cells(
    A: Any,
    genes: int = 2000,
    rank: int = 50,
    *,
    flavor: Flavor = "seurat_v3",
    target: float = 1e4,
    mito: str = "MT-",
    span: float = 0.3,
    layer: str | None = None,
    tol: float | None = None,
    memory: int | float | str | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `cells` will read and need, from shapes alone.

    Parameters
    ----------
    A, genes, rank, flavor, target, mito, span, layer, tol, memory, out, seed, checkpoint
        As of `cells`; nothing is written.

    Returns
    -------
    plan
        Passes, bytes and memory.

    Raises
    ------
    SpecError, ShapeError, BudgetError
        As `cells`, before anything is read.
    """
    options = CellsOptions(
        genes=genes, rank=rank, flavor=flavor, target=target, mito=mito, span=span, tol=tol, seed=seed
    )  # fmt: skip
    source, budget = take_counts(A, layer, options), allowed_bytes(memory)
    check_saves(checkpoint, source)
    found = plan_passes(source, options, budget, out=out, checkpoint=checkpoint)
    counting, components = found.counting, found.components
    reader, scores = counting.reader, found.scores.schedule
    counts = options.count_passes
    more = (
        ""
        if components.route == "gram"
        else " at most, by iterations: the Gram matrix does not fit"
    )
    return RunPlan(
        verb="cells",
        source=source.name,
        options=options,
        passes=counts + components.passes + 1,
        pass_bytes=counting.pass_bytes,
        workers=counting.workers,
        spans=len(reader.spans),
        projected_bytes=found.projected_bytes,
        budget_bytes=budget,
        notes=(
            f"{counts} over counts, {components.passes:.3g} for the components of {genes:,} genes{more}, 1 for the scores of "
            f"{source.shape[0]:,} cells",
        ),
        task_bytes=max(counting.task_bytes, components.task_bytes, scores.task_bytes),
        sum_bytes=24 * source.shape[1],
        total_bytes=counts * counting.pass_bytes + components.bytes_read + scores.pass_bytes,
    )


class PassCounter:
    """Events with the numbers of their passes in the whole run, which is made of parts that each begin with 1.

    Parameters
    ----------
    notify
        Receives them.
    """

    def __init__(self, notify: Callback) -> None:
        self._notify, self._before, self._last = notify, 0, 0

    def begin_part(self) -> None:
        """What comes now is of the next part."""
        self._before += self._last
        self._last = 0

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        if isinstance(event, PassStarted | SpanDone | PassDone | CertificateUpdated):
            self._last = max(self._last, event.number)
            event = replace(event, number=event.number + self._before)
        self._notify(event)


@dataclass(frozen=True, slots=True, eq=False)
class CellsJob:
    """One run: counts, genes, components, scores.

    Attributes
    ----------
    source, options, plan, budget
        The counts, what is asked, how it runs, and bytes.
    checkpoint, save_seconds, notify
        As of `cells`.
    """

    source: Source
    options: CellsOptions
    plan: CellsPlan
    budget: int
    checkpoint: str | os.PathLike[str] | None
    save_seconds: float
    notify: PassCounter

    def result(self, writer: ResultWriter | None) -> CellsResult:
        """All of it, written where there is a writer.

        Raises
        ------
        NotConverged
            With the result, which is written.
        """
        schedule = self.plan.counting
        reader = replace(schedule.reader, checks_entries=False)  # the passes look at each entry
        run = Run(
            reader, schedule.workers, "cpu", self.plan.projected_bytes, schedule.task_bytes, self.notify,
            self._saves(), self.options.seed,
        )  # fmt: skip
        with in_run(run, width=self.options.genes):
            mt = named_genes(self.source, self.options.mito)
            counted: CountedRows = run.once(COUNTS, self._count_pass(mt))
            cell_sums = counted.cells
            genes = self._genes(run, counted, mt)
            shortfall: NotConverged | None = None
            self.notify.begin_part()
            try:
                found = self._components(genes)
            except NotConverged as error:
                assert isinstance(error.result, PCA)
                shortfall, found = error, error.result
            self.notify.begin_part()
            U, last = left_vectors(found, self.plan.stepped, self._left_bytes, writer, self.notify)
            info = self._info(run, found.info, last)
            values = {f.name: getattr(found, f.name) for f in fields(PCA)} | {
                "U": U, "info": info, "options": self.options,
            }  # fmt: skip
            result = CellsResult(**values, genes=genes, cells=_cell_table(cell_sums))
            if writer is not None:
                result = self._keep(writer, result)
        if shortfall is not None:
            raise NotConverged(shortfall.message, result)
        return result

    @property
    def _left_bytes(self) -> int:
        """What there is beside what was counted."""
        return max(1, self.budget - self.plan.kept_bytes)

    def _count_pass(self, mt: Any) -> CellCountPass:
        integers = self.options.flavor == "seurat_v3"
        target = None if integers else float(self.options.target)
        return CellCountPass(mt, integers, target, self.source)

    def _genes(self, run: Run, counted: CountedRows, mt: Any) -> GeneTable:
        """The genes, and which are kept; under ``"seurat_v3"`` after one more pass."""
        m, sums = self.source.shape[0], counted.genes
        shared = {
            "n_cells_by_counts": sums.cells.astype(np.int64),
            "total_counts": sums.first,
            "mt": mt,
        }
        if counted.normalised is not None:
            moments = moments_of(counted.normalised, m)
            self._check_varying(moments)
            spread = dispersions_of(moments)
            ranks = ranks_of(spread.normalised, self.options.genes)
            return GeneTable(
                **shared, means=spread.mean, variances=moments.variance, dispersions=spread.dispersion,
                dispersions_norm=spread.normalised, highly_variable=ranks.chosen, highly_variable_rank=ranks.rank,
            )  # fmt: skip
        moments = moments_of(sums, m)
        scores = self._normalised_variances(run, moments)
        ranks = ranks_of(scores, self.options.genes)
        return GeneTable(
            **shared, means=moments.mean, variances=moments.variance, variances_norm=scores,
            highly_variable=ranks.chosen, highly_variable_rank=ranks.rank,
        )  # fmt: skip

    def _check_varying(self, moments: GeneMoments) -> None:
        """Refuse to keep genes that do not vary.

        Raises
        ------
        SpecError
            If fewer vary than are asked for.
        """
        count, wanted = int((moments.variance > 0).sum()), self.options.genes
        if count < wanted:
            raise SpecError(
                f"{count:,} genes of {self.source.name} vary, and genes={wanted:,} are asked for. "
                + (f"Pass genes <= {count}." if count else "Pass counts that are not all alike.")
            )

    def _normalised_variances(self, run: Run, moments: GeneMoments) -> Any:
        trend = trend_of(moments, self.options.span, _require_loess(self.options))
        self._check_varying(moments)
        clipped: GeneSums = run.once(CLIPPED_COUNTS, ClippedPass(trend.most))
        return normalised_variances(moments, trend, clipped)

    def _components(self, genes: GeneTable) -> PCA:
        options, mask = self.options, genes.highly_variable
        place = self._components_place
        plan = plan_components(self.plan.stepped, options, mask, self._left_bytes, checkpoint=place)
        return pca(
            self.plan.stepped, plan=plan, mask=mask, seed=options.seed, checkpoint=place, save_seconds=self.save_seconds,
            callback=self.notify,
        )  # fmt: skip

    @property
    def _components_place(self) -> str | None:
        if self.checkpoint is None:
            return None
        return str(place_of(self.checkpoint, "checkpoint") / COMPONENTS)

    def _saves(self) -> Saves | None:
        """Saves of the passes over counts, of this run and no other."""
        if self.checkpoint is None:
            return None
        source, reader = self.source, self.plan.counting.reader
        run = {
            "source": source.name, "shape": list(source.shape), "dtype": source.dtype.str, "rows": source_fingerprint(source),
            **identity(self.options), "spans": len(reader.spans), "height": reader.layout.unit,
        }  # fmt: skip
        kinds = {kind.__name__: kind for kind in (CountedRows, GeneSums)}
        return Saves.at(self.checkpoint, "cells", run, kinds, self.save_seconds)

    def _info(self, run: Run, found: Info, last: Run) -> Info:
        """How all of it came about: passes and bytes of its parts together."""
        return replace(
            found,
            passes=run.passes + run.saved_passes + found.passes + last.passes,
            bytes_read=run.bytes_read + found.bytes_read + last.bytes_read,
            projected_bytes=self.plan.projected_bytes,
            peak_bytes=run.info().peak_bytes,
            elapsed_s=run.info().elapsed_s,
            warnings=tuple(dict.fromkeys((*run.info().warnings, *found.warnings))),
        )

    def _keep(self, writer: ResultWriter, result: CellsResult) -> CellsResult:
        from streamsvd.store.results.lazy import lazy_array
        from streamsvd.store.writing.shield import defer_interrupts

        with defer_interrupts():
            path = writer.commit(result, source=self.source.name)
            self.notify(ResultWritten(str(path)))
        return replace(result, U=lazy_array(path, "U"))


def _cell_table(sums: CellSums) -> CellTable:
    return CellTable(
        total_counts=sums.total,
        n_genes_by_counts=sums.genes.astype(np.int32),
        total_counts_mt=sums.named,
    )


def _require_loess(options: CellsOptions) -> Any:
    """The local regression of scikit-misc, where it is needed.

    Raises
    ------
    StoreError
        If it is not installed; it gives the line that installs it.
    """
    if options.flavor != "seurat_v3":
        return None
    return optional_library(
        "skmisc.loess", "cells", 'flavor="seurat_v3" fits a trend by local regression'
    ).loess


def _check_places(place: Any, checkpoint: Any, source: Source) -> None:
    """Refuse places that are not apart from what is read, and from one another, before anything is."""
    if place is None and checkpoint is None:
        return
    from streamsvd.store.writing.separation import check_apart  # imports zarr

    if place is not None:
        check_apart(place, source)
    try_saves(checkpoint, source, place)
