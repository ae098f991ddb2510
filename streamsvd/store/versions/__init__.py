"""A model on disk: immutable versions, and a log whose next entry exists exactly once."""

from streamsvd.store.versions.checking import Damage, check, repair, republish
from streamsvd.store.versions.collecting import collect, lease, leased, release
from streamsvd.store.versions.draft import Draft
from streamsvd.store.versions.records import (
    BlockEntry,
    FactorRecord,
    Kind,
    LedgerRecord,
    LogEntry,
    Manifest,
    Settings,
    Spec,
    Summary,
)
from streamsvd.store.versions.versions import DEFAULT_KEEP, FOLDER, VERSIONS, ModelStore, is_model

__all__ = [
    "DEFAULT_KEEP",
    "FOLDER",
    "VERSIONS",
    "BlockEntry",
    "Damage",
    "Draft",
    "FactorRecord",
    "Kind",
    "LedgerRecord",
    "LogEntry",
    "Manifest",
    "ModelStore",
    "Settings",
    "Spec",
    "Summary",
    "check",
    "collect",
    "is_model",
    "lease",
    "leased",
    "release",
    "repair",
    "republish",
]
