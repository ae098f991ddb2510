"""Places that hold named objects: what a model needs of a file system or an object store."""

from streamsvd.store.objects.protocol import Objects, checked_key
from streamsvd.store.objects.where import has_object_store, object_store, objects_at

__all__ = ["Objects", "checked_key", "has_object_store", "object_store", "objects_at"]
