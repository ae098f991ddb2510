"""What one process holds of a model: the newest version it has seen, and where to look for newer ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streamsvd.errors import MissingChunkError, StoreError
from streamsvd.factor.result import SVD
from streamsvd.models.state import (
    ModelState,
    kept_columns,
    load_state,
    narrow_result,
    state_of_result,
)
from streamsvd.store.results.reader import read_result
from streamsvd.store.versions import BlockEntry, Manifest, ModelSettings, ModelSpec, ModelStore


@dataclass(slots=True, eq=False)
class LoadedVersion:
    """A version in memory.

    Attributes
    ----------
    store, settings
        The model.
    manifest, state
        Of the version; None before the first (a batch result has a state and no manifest).
    blocks, ids
        Every block absorbed, in order and by id.
    """

    store: ModelStore
    settings: ModelSettings
    manifest: Manifest | None = None
    state: ModelState | None = None
    blocks: list[BlockEntry] = field(default_factory=list)
    ids: dict[str, BlockEntry] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Its number; 0 before the first."""
        return self.manifest.version if self.manifest else 0

    @property
    def spec(self) -> ModelSpec:
        """The options that the model was made with."""
        return self.manifest.spec if self.manifest else self.settings.spec

    @property
    def n_rows(self) -> int:
        """Rows (or columns) ever absorbed, also those that a window has let go."""
        if self.manifest:
            return self.manifest.n_rows
        return self.state.factor.n_rows if self.state else 0

    def load(self, version: int | None = None) -> None:
        """Read a version, the newest if none is named.

        Raises
        ------
        StoreError
            If there is no such version or it is damaged.
        """
        store = self.store
        while True:
            newest = store.newest()
            try:
                self._load(newest, version)
            except StoreError:
                # Writers may have committed so much meanwhile that what was the newest is collected.
                if version is None and store.newest() != newest:
                    continue
                raise
            return

    def _load(self, newest: int, version: int | None) -> None:
        """All of it, or what was held stays as it is."""
        store = self.store
        if newest == 0:
            if version:
                raise StoreError(f"{store.name} has no version {version}. Run streamsvd log.")
            state = _base_state(Path(store.name)) if self.settings.base else None
            self.manifest, self.state, self.blocks, self.ids = None, state, [], {}
            return
        if self.manifest is None:  # whoever committed may have made it with other options than ours
            self.settings = store.settings()
        manifest = store.manifest(newest) if version is None else self.earlier(version, newest)
        state, blocks = load_state(store, manifest), store.blocks(manifest)
        self.manifest, self.state, self.blocks = manifest, state, blocks
        self.ids = {entry.id: entry for entry in blocks}

    def earlier(self, version: int, newest: int) -> Manifest:
        """The manifest of an earlier version.

        Raises
        ------
        StoreError
            If it was collected; it says which ones are kept.
        """
        try:
            return self.store.manifest(version)
        except MissingChunkError:
            floor = self.store.manifest(newest).floor
            if version >= floor:
                raise
            raise StoreError(
                f"version {version} is missing: it was collected. Versions {floor} to {newest} are kept."
            ) from None

    def refresh(self) -> None:
        """Read the newest version, if another writer has committed one."""
        if self.store.moved_beyond(self.version):
            self.load()

    def advance(self, manifest: Manifest, state: ModelState, entries: list[BlockEntry]) -> None:
        """The version that this process has just committed."""
        self.manifest, self.state = manifest, state
        self.blocks += entries
        self.ids |= {entry.id: entry for entry in entries}


def _base_state(path: Path) -> ModelState:
    """The state of a batch result, of the columns that it kept."""
    result: SVD = read_result(path, "svd", "pca")
    columns = kept_columns(result)
    return state_of_result(result if columns is None else narrow_result(result, columns), columns)
