"""A model on disk: immutable versions, and a log whose next entry exists exactly once."""

from streamsvd.store.model.checking import Damage, check, repair, republish
from streamsvd.store.model.collecting import collect, lease, leased, release
from streamsvd.store.model.draft import Draft
from streamsvd.store.model.records import (
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
from streamsvd.store.model.versions import DEFAULT_KEEP, FOLDER, VERSIONS, ModelStore, is_model

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
