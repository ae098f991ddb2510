"""Which kind of place an address names."""

from __future__ import annotations

import os
from pathlib import Path

from streamsvd.errors import StoreError
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.objects.protocol import Objects
from streamsvd.store.objects.remote import RemoteObjects


def objects_at(address: str | os.PathLike[str]) -> Objects:
    """Objects below a path, or below a URL such as ``s3://bucket/model``.

    Raises
    ------
    StoreError
        If the URL needs the extra that is not installed.
    """
    text = os.fspath(address)
    if "://" not in text:
        return LocalObjects(Path(text))
    if text.startswith("file://"):
        return LocalObjects(Path(text.removeprefix("file://")))
    try:
        from obstore.store import from_url
    except ImportError:
        raise StoreError(
            f"{text} is an object store, which needs obstore. Install it with: pip install 'streamsvd[object-stores]'"
        ) from None
    try:
        return RemoteObjects(from_url(text), text)
    except Exception as error:
        raise StoreError(f"{text} cannot be opened: {error}. Check the address.") from error
