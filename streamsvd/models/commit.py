"""How a version is committed: whole, once, and after whatever other writers have committed meanwhile."""

from __future__ import annotations

import contextlib

import numpy as np

from streamsvd.engine.events import Callback, ResultWritten
from streamsvd.errors import StoreError
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.models.mathematics.subspaces import principal_angles
from streamsvd.models.options import method_of
from streamsvd.models.pieces import PendingVersion
from streamsvd.models.state import put_state, with_stored_nodes
from streamsvd.numerics.ledger import Factor
from streamsvd.store.versions import BlockEntry, VersionSummary, collect
from streamsvd.store.writing.shield import defer_interrupts

COLLECT_EVERY, COLLECT_ALL = 8, 512


def commit_version(loaded: LoadedVersion, pending: PendingVersion, notify: Callback) -> bool:
    """Make what is pending the newest version; False, and nothing left behind, if another writer was first.

    An interrupt waits until it is known which of the two, and has been told.
    """
    store = loaded.store
    with defer_interrupts():
        if not _begin_model(loaded, pending) or not _put(loaded, pending):
            return False
        notify(ResultWritten(f"{store.name} version {loaded.version}"))
    if loaded.version % COLLECT_EVERY == 0:
        with contextlib.suppress(StoreError):  # tidying may wait; verify says what is wrong
            collect(store, back=None if loaded.version % COLLECT_ALL == 0 else COLLECT_ALL)
    return True


def _put(loaded: LoadedVersion, pending: PendingVersion) -> bool:
    """Write the version, and link it into the log, if its number is free."""
    store, spec, draft = loaded.store, pending.spec, pending.draft
    if spec.window is not None and pending.block is not None:  # it slides by whole blocks
        pending.state = pending.state.slide(method_of(spec), pending.block, spec.window)
    parent, state, entries, n_rows = loaded.manifest, pending.state, pending.entries, pending.at
    record, nodes = put_state(draft, state, parent)
    before, after = pending.before.factor, state.factor
    summary = summarise(method_of(spec), before, after, entries, n_rows)
    pending.is_open = False  # from here on the store removes the draft, unless the log refers to it
    manifest = store.commit(
        draft,
        kind="update",
        spec=spec,
        parent=parent,
        factor=record,
        nodes=nodes,
        first=state.forest.first if state.forest else 0,
        n_rows=n_rows,
        added=entries,
        summary=summary,
        keep=loaded.settings.keep,
    )
    if manifest is None:
        return False
    loaded.advance(manifest, with_stored_nodes(store, manifest, state), entries)
    return True


def discard_version(loaded: LoadedVersion, pending: PendingVersion) -> None:
    """Remove what a version that is not to be committed has written."""
    if pending.is_open:
        pending.is_open = False
        with defer_interrupts():
            loaded.store.discard(pending.draft)


def _begin_model(loaded: LoadedVersion, pending: PendingVersion) -> bool:
    """Make the model before its first version; False if another writer made one with other options."""
    if loaded.version:
        return True
    found = loaded.store.begin(loaded.settings)
    if found != loaded.settings:
        discard_version(loaded, pending)
        loaded.settings = found
        return False
    return True


def summarise(
    method: IncrementalSVD, before: Factor, after: Factor, entries: list[BlockEntry], n_rows: int
) -> VersionSummary:
    """The line of the log."""
    found = method.finalize(after)
    c = found.certificate
    energy = np.sqrt(c.energy)
    relative = 1 / energy if energy > 0 else 0.0
    rank = found.s.size
    angles = []
    if before.n_rows:
        angles = [float(a) for a in principal_angles(before.Vh[:rank], after.Vh[:rank])]
    shares = [e.captured for e in entries if e.stop > e.start]
    return VersionSummary(
        blocks=list(dict.fromkeys(e.id for e in entries)),
        rows=sum(e.stop - e.start for e in entries),
        n_rows=n_rows,
        rank=int(rank),
        error=float(c.frobenius_error * relative),
        error_lower=float(found.optimal_error_lower * relative),
        captured=shares[0] if shares and before.n_rows else None,
        angles=angles,
        tolerance_met=bool(found.tolerance_met),
        excess=float(c.excess) if np.isfinite(c.excess) else None,
        resolved=int(np.count_nonzero(c.resolved)),
        groups=len(c.groups),
    )
