"""Which kind of place an address names."""

from __future__ import annotations

import os
from datetime import timedelta

from streamsvd.checks.paths import is_url, local_path, place_text
from streamsvd.errors import StoreError
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.objects.protocol import Objects
from streamsvd.store.objects.remote import RemoteObjects

RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
"""For answers such as 503, and for connections that are refused."""


def objects_at(address: str | os.PathLike[str], name: str = "path") -> Objects:
    """Objects below a path, or below a URL such as ``s3://bucket/model``.

    Credentials, region and endpoint come from the environment, as for other tools: ``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, and ``AWS_ENDPOINT_URL`` for a store of one's own, which may be
    plain http.

    Raises
    ------
    StoreError
        If the URL needs the extra that is not installed.
    """
    if not is_url(address):
        return LocalObjects(local_path(address, name))
    text = place_text(address)
    try:
        from obstore.store import from_url
    except ImportError:
        raise StoreError(
            f"{text} is an object store, which needs obstore. Install it with: pip install 'streamsvd[object-stores]'"
        ) from None
    try:
        options = {"allow_http": True} if _plain_http() else {}
        return RemoteObjects(from_url(text, client_options=options, retry_config=RETRIES), text)
    except Exception as error:
        raise StoreError(f"{text} cannot be opened: {error}. Check the address.") from error


def _plain_http() -> bool:
    """Whether the endpoint that the environment names has no TLS."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return any(os.environ.get(name, "").lower().startswith("http://") for name in names)
