"""The verb ``cluster``: which matrices of a collection may share a basis, from one read of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.checks import check_seed
from streamsvd.concat import (
    Cluster,
    ClusterOptions,
    Merge,
    Method,
    Mode,
    certify,
    clustered,
    numbered,
    projection,
)
from streamsvd.concat.cluster import EXACT_BELOW
from streamsvd.concat.options import Order
from streamsvd.drivers.collection.gram import by_gram
from streamsvd.drivers.collection.jobs import Seen, Sketching
from streamsvd.drivers.collection.keeping import Shared, kept, margin, parted
from streamsvd.drivers.collection.planning import (
    PROJECTED,
    Backend,
    CollectionPlan,
    certified_bytes,
    planned,
    runs_of,
)
from streamsvd.drivers.collection.result import Clustering, ClusteringInfo, clustering
from streamsvd.drivers.collection.weights import UNWEIGHTED, Metrics, Weights
from streamsvd.drivers.runs import allowed_bytes
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, ignore
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.meter import Mark, mark, peak_since
from streamsvd.engine.tree import Job, Run, reduced
from streamsvd.errors import SpecError
from streamsvd.store.collection import Collection, Member, as_collection

Array = npt.NDArray[Any]
Principal = float | Literal["auto"] | None
PROPOSED = 0.9
"""Part of the error for which clusters are proposed on projections."""
SPENT = 0.4
"""Part of it that sketches may spend when those are certified: in squares less than proposals have left."""


def cluster(
    collection: Any,
    error: float = 0.05,
    rank: int | None = None,
    mode: Mode = "cluster",
    *,
    method: Method = "certified",
    order: Order = "norm",
    patience: int | None = None,
    backend: Backend = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    callback: Callback = ignore,
) -> Clustering:
    """Clusters of matrices with equal rows, each of which shares one basis within an error.

    Parameters
    ----------
    collection
        A mapping of names to arrays, or what `open_collection` takes or returns.
    error
        Relative Frobenius error allowed, in [0, 1).
    rank
        Of every basis; left out, ranks and clusters are chosen that take the least storage.
    mode
        ``"cluster"``: the error is that of each cluster, and may hide small matrices in it; ``"global"``: of all
        together; ``"block"``: of every matrix.
    method
        ``"certified"``, or one of the published ``"maxnorm"``, ``"residual"``, ``"incremental"``, which need a rank.
    order, patience
        Of the published methods: the order in which matrices are tried, ``"norm"`` or ``"residual"``, ascending; and how many
        clusters in a row may gain nothing before the rest stay alone, without end if left out.
    backend
        ``"primal"``: sketches of all matrices are in memory. ``"gram"``: sums over rows, for matrices of very many rows
        and few columns; a second read completes the bases. ``"propose"``: clusters are proposed on random projections,
        and certified in a second read. ``"auto"``: the first that fits in the memory.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the projections.
    row_weights, column_weights
        Where errors matter: every error is then that of matrices with rows and columns multiplied by these. Positive
        weights of the rows, ``(m,)``, the same for all; weights of the columns, ``(n,)``, of all matrices or a mapping of patterns
        of names to them.
    inputs
        What matrices act on: samples as rows of as many entries as a matrix has columns, of any number, anything that `svd`
        takes; of all matrices, or a mapping of patterns to them. Errors are then those of ``A x``, in the mean square over samples x.
    damping
        As of `input_factor`.
    callback
        Receives events.

    Returns
    -------
    found
        The same for every order of the collection.

    Raises
    ------
    SpecError
        If an option cannot be meant, a name is there twice, or a block is not of real numbers.
    ShapeError
        If there are no blocks, or rows differ.
    NonFiniteError
        At the first NaN or Inf; it names the block and the place.
    BudgetError
        If the memory is too small, before anything is read; it names the smallest that works.

    Notes
    -----
    Cost: one read, ``2 m n min(m, n)`` flops a matrix and about four small eigenvalue problems a matrix and start;
    memory of the sketches, at most ``8 k (6 m + 3 n)`` bytes for a matrix of rank k. ``"gram"`` and ``"propose"`` read
    twice. Inputs are read once more, for ``4 N n^2`` flops and ``8 n^2`` bytes. Errors are bounds in floating point too, with the rounding of factors to the type of the blocks.

    References
    ----------
    Shamrai (2026), arXiv 2601.11626, for the problem and the published methods.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> bases = [rng.standard_normal((60, 3)) for _ in range(2)]
    >>> blocks = {f"w{i}": bases[i % 2] @ rng.standard_normal((3, 20)) for i in range(6)}
    >>> found = streamsvd.cluster(blocks, error=0.01)
    >>> [c.members for c in found.clusters], [c.rank for c in found.clusters]
    ([('w0', 'w2', 'w4'), ('w1', 'w3', 'w5')], [3, 3])
    """
    source = as_collection(collection)
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    asked = Asked.of(
        source, error=error, rank=rank, mode=mode, method=method, order=order, patience=patience, seed=seed,
        weights=weights,
    )  # fmt: skip
    with run_of(source, asked, backend, memory, callback, keep=False) as run:
        shared = tuple(s for s, _ in run.found())
        info = run.info()
    members = {m.name: m for m in source.members}
    return clustering(in_order(shared), members, run.reads, info, numbered(run.merges))


def in_order(shared: Sequence[Shared]) -> tuple[Shared, ...]:
    """By first name."""
    return tuple(sorted(shared, key=lambda s: s.names))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a clustering.

    Attributes
    ----------
    options
        For the error less what is left to rounding.
    error, spare
        What was asked, and that part.
    seed
        Of projections.
    weights
        Where errors matter.
    principal, target
        Error of what blocks share, where residuals make up for the rest, and the error that they are to meet; None
        where there are none.
    """

    options: ClusterOptions
    error: float
    spare: float
    seed: int
    weights: Weights
    principal: Principal = None
    target: float | None = None

    @classmethod
    def of(
        cls,
        source: Collection,
        *,
        error: float,
        rank: int | None,
        mode: Mode,
        method: Method,
        order: Order = "norm",
        patience: int | None = None,
        seed: int,
        weights: Weights = UNWEIGHTED,
        principal: Principal = None,
    ) -> Asked:
        """Checked.

        Raises
        ------
        SpecError
            If an option is out of range.
        """
        options = ClusterOptions(
            error=error, rank=rank, mode=mode, method=method, order=order, patience=patience
        )
        if method == "certified" and (order != "norm" or patience is not None):
            raise SpecError(
                f'order={order!r} and patience={patience} are of the published methods. Leave them out, or pass method="residual".'
            )
        if rank is not None:
            options = replace(options, rank=int(rank))
        check_seed(seed)
        target = None
        if principal is not None:
            target = float(error)
            error = check_principal(principal, target)
            options = replace(options, error=error)
        spare = margin(list({m.dtype for m in source.members}), float(error))
        options = replace(options, error=float(error) - spare)
        return cls(options, float(error), spare, int(seed), weights, principal, target)


def check_principal(principal: float | Literal["auto"], target: float) -> float:
    """The error for which blocks are sketched.

    Raises
    ------
    SpecError
        If the principal part would meet the error by itself, or is no number.
    """
    if target <= 0:
        raise SpecError(
            "error=0 leaves no room for residuals in whole numbers. Pass an error, or leave principal out."
        )
    if principal == "auto":
        return target
    number = isinstance(principal, int | float | np.number) and not isinstance(principal, bool)
    if not number or not target < float(principal) <= 1:
        raise SpecError(
            f"principal={principal!r} is no error of a principal part beside error={target:g}. Pass a larger error, at most 1 for no "
            'shared bases, or "auto".'
        )
    return float(principal) if principal < 1 else target


@dataclass(slots=True, eq=False)
class Clustered:
    """One run: its plan, and its counters.

    Attributes
    ----------
    source, asked, plan, notify
        What is read, what is asked, how, and who is told.
    keep
        Whether matrices that are kept as they are are handed out.
    metrics
        How errors are measured.
    principal
        Error of what blocks share, as it was chosen.
    merges
        How each cluster that was found came about.
    """

    source: Collection
    asked: Asked
    plan: CollectionPlan
    notify: Callback
    keep: bool
    metrics: Metrics
    principal: float | None = None
    passes: int = 0
    bytes_read: int = 0
    zeros: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    merges: list[tuple[Merge, ...]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    memory: Mark = field(default_factory=mark)

    @property
    def reads(self) -> float:
        """Bytes decoded over those of the collection."""
        return self.bytes_read / self.source.whole_bytes if self.source.whole_bytes else 1.0

    def found(self) -> Iterator[tuple[Shared, dict[str, Array]]]:
        """Clusters as stored, one after another, and the arrays that are kept as they are."""
        if self.asked.error < EXACT_BELOW:
            self.warnings.append(
                f"error={self.asked.error:g} is near rounding: singular values decide, which is slower."
            )
        found: Iterator[tuple[Cluster, dict[str, Array]]]
        if self.plan.backend == "gram":
            yield from by_gram(self)
            return
        found = self._primal() if self.plan.backend == "primal" else self._proposed()
        members = {m.name: m for m in self.source.members}
        for one, held in found:
            self.merges.append(one.merges)
            a = self.asked
            whole = kept(
                one,
                members,
                error=a.error,
                spare=a.spare,
                mode=a.options.mode,
                metrics=self.metrics,
            )
            for shared in parted(whole, members):
                yield shared, self.held(shared, held)

    def held(self, shared: Shared, at_hand: dict[str, Array]) -> dict[str, Array]:
        """The arrays that a cluster keeps as they are; those not at hand are read once more."""
        if not (self.keep and shared.raw):
            return {}
        here = {name: at_hand[name] for name in shared.names if name in at_hand}
        return here | self.again([name for name in shared.names if name not in here])

    def again(self, names: Sequence[str]) -> dict[str, Array]:
        """Arrays read once more."""
        if not names:
            return {}
        few = self.some(names)
        self.bytes_read += few.pass_bytes
        out = {}
        for part in few.parts:
            for member, A in few.matrices(part):
                A = (
                    np.where(np.isnan(A), 0, A).astype(A.dtype)
                    if self.source.zeros and A.dtype.kind == "f"
                    else A
                )
                out[member.name] = member.layout.array(A)
        return out

    def some(self, names: Sequence[str]) -> Collection:
        """Members by name."""
        wanted = set(names)
        return self.source.only([i for i, m in enumerate(self.source.members) if m.name in wanted])

    def read(
        self, collection: Collection, job: Job[Any], purpose: str, runs: tuple[Run, ...] = ()
    ) -> Any:
        """What a job finds in all parts of a collection, or in the runs of rows given."""
        self.passes += 1
        number, began = self.passes, time.perf_counter()
        self.notify(PassStarted(number, purpose, collection.pass_bytes))
        value = reduced(
            job,
            runs or runs_of(collection),
            workers=self.plan.workers,
            leaf_done=lambda done, runs: self.notify(SpanDone(number, done, runs)),
            what=purpose,
        )
        self.bytes_read += collection.pass_bytes
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))
        return value

    def sketched(self, collection: Collection, purpose: str, o: ClusterOptions) -> list[Seen]:
        """Sketches of all blocks of a collection."""
        job = Sketching(collection, o.error, o.rank, self.keep, share=o.share, metrics=self.metrics)
        seen: list[Seen] = self.read(collection, job, purpose)
        self.zeros |= {s.sketch.key: s.zeros for s in seen if s.zeros}
        return seen

    def _primal(self) -> Iterator[tuple[Cluster, dict[str, Array]]]:
        seen = self.sketched(self.source, "sketches", self.asked.options)
        held = {s.sketch.key: s.values for s in seen if s.values is not None}
        sketches = [s.sketch for s in seen]
        seen.clear()
        for one in clustered(sketches, self.asked.options):
            yield one, held

    def _proposed(self) -> Iterator[tuple[Cluster, dict[str, Array]]]:
        """Clusters proposed on projections, each certified on the matrices themselves."""
        o = self.asked.options
        wide = replace(o, error=PROPOSED * o.error)
        rows = min(PROJECTED, self.source.rows)
        omega = projection(self.source.rows, columns=rows, seed=self.asked.seed)
        job = Sketching(self.source, wide.error, None, False, omega, metrics=self.metrics)
        seen: list[Seen] = self.read(self.source, job, "projections")
        groups = [c.keys for c in clustered([s.sketch for s in seen], wide)]
        del seen
        o = replace(o, share=SPENT)
        for names in batches(groups, {m.name: m for m in self.source.members}, self.plan.room):
            few = self.some([name for group in names for name in group])
            found = self.sketched(few, "certificates", o)
            by_name = {s.sketch.key: s for s in found}
            held = {s.sketch.key: s.values for s in found if s.values is not None}
            for group in names:
                for one in certify([by_name[name].sketch for name in group], o):
                    yield one, held
        self.passes = 2

    def info(self) -> ClusteringInfo:
        """The record of the run."""
        if self.zeros:
            self.warnings.append(
                f"{sum(self.zeros.values()):,} missing values of {len(self.zeros)} blocks count as zero."
            )
        members = self.source.members
        return ClusteringInfo(
            n_blocks=len(members), rows=self.source.rows, columns=sum(m.shape[1] for m in members),
            backend=self.plan.backend, passes=self.passes, bytes_read=self.bytes_read,
            elapsed_s=time.perf_counter() - self.began, peak_bytes=peak_since(self.memory),
            projected_bytes=self.plan.projected_bytes, budget_bytes=self.plan.budget_bytes,
            zeros=dict(self.zeros), seed=self.asked.seed, input_bytes=self.asked.weights.input_bytes,
            warnings=tuple(self.warnings),
        )  # fmt: skip


def batches(
    groups: Sequence[Sequence[str]], members: dict[str, Member], room: int
) -> Iterator[list[Sequence[str]]]:
    """Groups that are certified together: what their sketches may take fits; one that is too large is cut."""
    batch: list[Sequence[str]] = []
    held = 0
    for group in groups:
        for piece in _pieces(group, members, room):
            size = sum(certified_bytes(members[name]) for name in piece)
            if batch and held + size > room:
                yield batch
                batch, held = [], 0
            batch.append(piece)
            held += size
    if batch:
        yield batch


def _pieces(group: Sequence[str], members: dict[str, Member], room: int) -> Iterator[list[str]]:
    piece: list[str] = []
    held = 0
    for name in group:
        size = certified_bytes(members[name])
        if piece and held + size > room:
            yield piece
            piece, held = [], 0
        piece.append(name)
        held += size
    yield piece


@contextmanager
def run_of(
    source: Collection,
    asked: Asked,
    backend: Backend,
    memory: int | float | str | None,
    notify: Callback,
    *,
    keep: bool,
) -> Iterator[Clustered]:
    """A run within the memory, planned before anything is read."""
    weights, budget = asked.weights, allowed_bytes(memory)
    o = asked.options
    plan = planned(source, backend, budget, error=o.error, keep=keep, rank=o.rank, weights=weights)
    began, start = time.perf_counter(), mark()
    metrics = weights.read(budget, notify)
    with held_memory(), dense_threads(1):
        yield Clustered(
            source, asked, plan, notify, keep, metrics, warnings=list(weights.warnings()), began=began, memory=start,
        )  # fmt: skip
