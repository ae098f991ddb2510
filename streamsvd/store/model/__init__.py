"""A model on disk: immutable versions, and a log whose next entry exists exactly once."""

from streamsvd.store.model.checking import Damage, check, repair, republish
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
from streamsvd.store.model.versions import DEFAULT_KEEP, Draft, ModelStore, is_model

__all__ = [
    "DEFAULT_KEEP",
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
    "is_model",
    "repair",
    "republish",
]
