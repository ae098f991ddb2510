"""A model on disk: immutable versions, and a log whose next entry exists exactly once."""

from streamsvd.store.versions.checking import Damage, check_store, repair, republish
from streamsvd.store.versions.collecting import collect, lease, leased_versions, release
from streamsvd.store.versions.draft import Draft
from streamsvd.store.versions.model_store import (
    DEFAULT_KEEP,
    FOLDER,
    VERSIONS,
    ModelStore,
    is_model,
)
from streamsvd.store.versions.records import (
    BlockEntry,
    FactorRecord,
    LedgerRecord,
    LogEntry,
    Manifest,
    ModelSettings,
    ModelSpec,
    StoredCoordinate,
    StoredMask,
    StoredNumbers,
    StoredWeights,
    VersionKind,
    VersionSummary,
)

__all__ = [
    "DEFAULT_KEEP",
    "FOLDER",
    "VERSIONS",
    "BlockEntry",
    "Damage",
    "Draft",
    "FactorRecord",
    "VersionKind",
    "LedgerRecord",
    "LogEntry",
    "Manifest",
    "ModelStore",
    "ModelSettings",
    "ModelSpec",
    "StoredCoordinate",
    "StoredMask",
    "StoredNumbers",
    "StoredWeights",
    "VersionSummary",
    "check_store",
    "collect",
    "is_model",
    "lease",
    "leased_versions",
    "release",
    "repair",
    "republish",
]
