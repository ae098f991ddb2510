"""How new rows are absorbed: piece by piece into the state of a version on its way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from streamsvd.models.block_reader import BlockReader
from streamsvd.models.labels import pack_labels, row_labels
from streamsvd.models.left_vectors import block_arrays, turn_rows
from streamsvd.models.mathematics.forest import node_share
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.models.options import method_of
from streamsvd.models.parts import PiecePart
from streamsvd.models.state import ModelState
from streamsvd.numerics.ledger import Factor, StackPart
from streamsvd.store.versions import BlockEntry, Draft, ModelSpec
from streamsvd.typing import Matrix


@dataclass(slots=True, eq=False)
class PendingVersion:
    """A version on its way.

    Attributes
    ----------
    spec, before
        Its options, and the state that it began from.
    state, draft
        What it has become, and where its arrays go.
    at, number
        Rows, and blocks with their pieces, that were absorbed ever.
    entries
        Pieces in it.
    block
        Where a window slides: the factor of the pieces, which enters it as one block.
    is_whole
        Whether all that was sent is committed at once. Signs are then those of the version before; else each piece keeps those of
        the one before it, so that they do not depend on when the clock says to commit.
    is_open
        Whether its draft may still be removed: not from the moment on in which it is committed.
    """

    spec: ModelSpec
    before: ModelState
    state: ModelState
    draft: Draft
    at: int
    number: int
    entries: list[BlockEntry] = field(default_factory=list)
    block: Factor | None = None
    is_whole: bool = True
    is_open: bool = True

    @property
    def n_rows(self) -> int:
        """Rows in its pieces."""
        return sum(entry.stop - entry.start for entry in self.entries)


def absorb_piece(
    pending: PendingVersion,
    reader: BlockReader,
    piece: PiecePart,
    *,
    block_id: str | None,
    digest: bool,
) -> None:
    """Absorb a piece, in its turn.

    Parameters
    ----------
    pending
        The version.
    reader, piece
        The source, and the piece.
    block_id
        As in `Model.update`.
    digest
        Whether this is the last piece of a block, which is known by its digest from then on.
    """
    spec, method = pending.spec, method_of(pending.spec)
    assert piece.part is not None
    arrays = _join_piece(method, pending, piece.part)
    if arrays and spec.axis == "rows":
        labels = row_labels(reader.source, piece.start, piece.stop)
        if labels.coordinates:
            arrays[f"labels-{len(pending.entries)}"] = pack_labels(labels)
    files = pending.draft.add(arrays) if arrays else {}
    end = pending.at + piece.stop - piece.start
    pending.entries.append(
        BlockEntry(
            id=block_id or f"@{pending.at}-{end}",
            start=pending.at,
            stop=end,
            version=pending.draft.version,
            folder=pending.draft.folder,
            step=len(pending.entries),
            digest=reader.digest_so_far() if digest else "",
            seam=piece.seam,
            captured=piece.captured,
            files=files,
            origin=pending.draft.mark,
        )
    )
    pending.at = end


def _join_piece(
    method: IncrementalSVD, pending: PendingVersion, part: StackPart
) -> dict[str, Matrix]:
    """Put a piece into the state; the arrays of left vectors that it adds."""
    spec, step = pending.spec, len(pending.entries)
    if spec.window is not None:
        parts = [part] if pending.block is None else [pending.block.as_part(), part]
        pending.block = method.join_parts(parts, share=node_share(0))[0]
        return {}
    if step == 0:  # once for a block, however many pieces it comes in
        pending.state = replace(pending.state, factor=pending.state.factor.fade_by(spec.forget))
    state = pending.state
    earlier = pending.before if pending.is_whole else state
    factor, old, new = method.absorb_part(state.factor, part, signs_of=earlier.factor)
    pending.state = replace(state, factor=factor)
    return block_arrays(step, old, turn_rows(part.left, new)) if spec.u else {}
