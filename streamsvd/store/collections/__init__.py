"""Collections of named arrays that are seen as matrices with a common number of rows, each read once."""

from streamsvd.store.collections.layout import MemberLayout
from streamsvd.store.collections.members import Collection, CollectionPart, Member
from streamsvd.store.collections.opening import as_collection, open_collection
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.writers import new_collection
from streamsvd.store.collections.writing import check_target, write_collection

__all__ = [
    "Collection",
    "MemberLayout",
    "Member",
    "Origin",
    "CollectionPart",
    "as_collection",
    "check_target",
    "new_collection",
    "open_collection",
    "write_collection",
]
