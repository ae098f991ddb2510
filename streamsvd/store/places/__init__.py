"""Places where something is written whole or not at all, and read again: a folder of a disk, or a prefix of an object store."""

from streamsvd.store.places.location import (
    Location,
    PartialWork,
    ResumableWork,
    Scratch,
    location_of,
)

__all__ = ["Location", "PartialWork", "ResumableWork", "Scratch", "location_of"]
