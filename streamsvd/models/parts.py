"""What of a piece of new rows can be made before those in front of it are in the model, by any thread or worker.

A part depends on its rows, on its number, and on what was known of the model at the last commit (`Absorption`): never on how many are
made at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scipy import sparse

from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.item_task import check_item
from streamsvd.labels import NO_LABELS
from streamsvd.models.block_reader import Digest, PieceReader
from streamsvd.models.mathematics.subspaces import captured_share
from streamsvd.models.options import method_of
from streamsvd.models.policies import treat_missing
from streamsvd.models.state import ModelState
from streamsvd.numerics.blocks import Axis
from streamsvd.numerics.ledger import StackPart
from streamsvd.numerics.range_sketch import ParallelMap
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.versions import ModelSpec
from streamsvd.typing import Matrix

Run = tuple[int, int, int]
"""First and last row (exclusive) of what is read at once, and the number of its first piece in the model."""


@dataclass(frozen=True, slots=True, eq=False)
class PiecePart:
    """A piece, ready to be stacked below what the model holds.

    Attributes
    ----------
    start, stop
        Its rows in the source.
    part
        Its factors; None where it has missing values for which the block is to be skipped.
    captured
        Share of its energy that the directions known before held.
    seam
        Digest of its last row.
    rows
        The rows as they were read, where they are to be hashed; else None.
    """

    start: int
    stop: int
    part: StackPart | None
    captured: float = 1.0
    seam: str = ""
    rows: Matrix | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PartMaker:
    """Makes parts of pieces; picklable.

    Attributes
    ----------
    source, axis, height
        What is read, which extent grows, and rows of a piece.
    spec, known
        Options of the model, and what is known of it.
    nonfinite
        What a NaN means.
    keeps_rows
        Whether rows are to be hashed.
    """

    source: Source
    axis: Axis
    height: int
    spec: ModelSpec
    known: ModelState
    nonfinite: str
    keeps_rows: bool

    @classmethod
    def of(
        cls,
        source: Source,
        height: int,
        spec: ModelSpec,
        state: ModelState,
        nonfinite: str,
        *,
        keeps_rows: bool,
    ) -> PartMaker:
        """With as much of a state as parts are made with."""
        known = replace(state, forest=None, columns=None, labels=NO_LABELS)
        return cls(source, spec.axis, height, spec, known, nonfinite, keeps_rows)

    def make_run(self, run: Run) -> list[PiecePart]:
        """The pieces of a run, which is read here; no more of them after one for which the block is skipped."""
        return list(self._pieces_of(run))

    def _pieces_of(self, run: Run) -> Iterator[PiecePart]:
        start, stop, number = run
        rows = PieceReader(self.source, self.axis).read(start, stop)
        for at in range(start, stop, self.height):
            check_item()
            piece = rows[at - start : min(at + self.height, stop) - start]
            made = self.make(at, piece, number)
            yield replace(made, rows=piece) if self.keeps_rows else made
            if made.part is None:
                return
            number += 1

    @in_one_thread
    def make(self, start: int, rows: Matrix, number: int, each: ParallelMap = map) -> PiecePart:
        """One piece of rows that begin at ``start``, whose panels a function may be mapped over.

        Raises
        ------
        NonFiniteError, SpecError
            As the policy for missing values says; the entry is named.
        """
        spec, method, known = self.spec, method_of(self.spec), self.known
        stop, is_known = start + rows.shape[0], known.factor.n_rows > 0
        reader = PieceReader(self.source, self.axis)
        mean = known.raw_mean if is_known else None
        whole = treat_missing(
            known.blank(rows), reader, start, self.nonfinite, mean, centred=spec.center
        )
        if whole is None:
            return PiecePart(start, stop, None)
        factors = known.column_factors
        data = whole if factors is None else whole * factors
        rank = method.width if spec.rank is None else spec.rank
        share = captured_share(known.factor, data, rank) if is_known else 1.0
        guess = None if spec.window is not None else known.factor
        left = spec.u and spec.window is None
        part = None
        if spec.window is None and is_sparse(innermost_source(self.source)):
            part = method.sparse_part(sparse.csr_array(data))
        if part is None:
            part = method.part(data, index=number, guess=guess, left=left, each=each)
        seam = Digest(rows.dtype, rows.shape[1]).of(rows[-1:])
        return PiecePart(start, stop, part, share, seam)
