"""Which kind of place an address names, and the one way to it."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from streamsvd.checks.paths import is_url, local_path, place_text
from streamsvd.errors import StoreError
from streamsvd.store.objects.faults import fault_words
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.objects.protocol import Objects
from streamsvd.store.objects.providers import (
    INSTALL,
    PROVIDERS,
    Provider,
    environment_of,
    provider_of,
    scheme_of,
)
from streamsvd.store.objects.remote import RemoteObjects

RETRIES: dict[str, Any] = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
"""For answers such as 503, for connections that are refused or break off, and for requests that hang."""

BACKOFF: dict[str, Any] = {
    "init_backoff": timedelta(seconds=0.2),
    "max_backoff": timedelta(seconds=15),
    "base": 4,
}
"""How long is waited before it is tried again: at random up to four times as long as before, about 20 s in all."""

_SERVER = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

LIMITS: dict[str, Any] = {
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(minutes=5),
}
"""Of one request: until there is a connection, without a byte, and in all."""


def objects_at(address: str | os.PathLike[str], name: str = "path") -> Objects:
    """Objects below a path, or below a URL such as ``s3://bucket/model``.

    Credentials, region and endpoint come from the environment, as for other tools: for S3 ``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, and ``AWS_ENDPOINT_URL`` for a store of one's own, which may be
    plain http.

    Raises
    ------
    StoreError
        If the URL is of an unknown kind, or needs the extra that is not installed.
    """
    if not is_url(address):
        return LocalObjects(local_path(address, name))
    text = place_text(address)
    return RemoteObjects(object_store(text, writes=True), text)


def has_object_store(url: str) -> bool:
    """Whether a URL is of a kind that `object_store` opens."""
    return provider_of(url) is not None


def object_store(url: str, *, writes: bool = False) -> Any:
    """An obstore store rooted at a URL, with our limits and tries; one for each URL and environment of a process.

    One that writes waits longer for a byte: none comes while a body is on its way, and large ones on slow lines take their time.

    What is to travel to another process is the URL: that process opens it by its own environment.

    Raises
    ------
    StoreError
        If the URL is of an unknown kind or not whole, or the extra is not installed.
    """
    provider = provider_of(url)
    if provider is None:
        known = ", ".join(f"{one.schemes[0]}://" for one in PROVIDERS)
        raise StoreError(
            f"{url} is a URL of the unknown kind {scheme_of(url)}://. Check the address; {known} are known."
        )
    _check_names(url)
    if _CONTROL.search(url):
        raise StoreError(
            f"{url!r} has a newline or another control character, which names of objects do not have here. Check the address."
        )
    _check_endpoints(provider)
    return _open_store(
        url, os.getpid(), environment_of(provider), *_settings(provider, url, writes)
    )


def _check_names(url: str) -> None:
    """Refuse a URL that a client would take for another one: it drops queries and decodes names.

    Raises
    ------
    StoreError
        It says what in it cannot be meant.
    """
    scheme, _, rest = url.partition("://")
    is_web = scheme.lower() in ("http", "https")
    host, _, key = rest.partition("/")
    if "@" in host and not (is_web or scheme.lower().startswith("abfs")):
        raise StoreError(
            f"{scheme}://***@{host.rpartition('@')[2]}/{key} has a user or a secret in it, which is in every message then. Put "
            "credentials in the environment."
        )
    signs = [sign for sign in "?#" if sign in rest]
    parts = key.strip("/").split("/")
    if not is_web:
        signs += [part for part in parts if unquote(part) != part]
    signs += [part for part in parts if part in (".", "..")]
    if signs:
        raise StoreError(
            f"{url} has {signs[0]!r} in it, which is dropped or decoded on the way, so that another object would be read. Name the "
            "object without queries, versions, fragments and percent signs; copy one whose name has them."
        )


def _check_endpoints(provider: Provider) -> None:
    """Refuse a server that is no address; the client ends the process's work on one."""
    for name, text in environment_of(provider):
        if "ENDPOINT_URL" in name.upper() and text and not _SERVER.match(text):
            raise StoreError(
                f"{name}={text!r} is no address of a server. Write it with http:// or https:// before it."
            )


def _settings(provider: Provider, url: str, writes: bool) -> tuple[tuple[Any, ...], ...]:
    """Options of the client, of its tries and of the time between them, as keys of what is kept."""
    endpoints = [v for k, v in environment_of(provider) if "ENDPOINT" in k.upper()]
    plain = any(text.lower().startswith("http://") for text in (url, *endpoints))
    options = LIMITS | ({"allow_http": True} if plain else {})
    if writes:
        options["read_timeout"] = options["timeout"]
    return tuple(tuple(sorted(found.items())) for found in (options, RETRIES, BACKOFF))


@lru_cache(maxsize=256)
def _open_store(
    url: str,
    process: int,
    environment: object,
    options: tuple[Any, ...],
    retries: tuple[Any, ...],
    backoff: tuple[Any, ...],
) -> Any:
    del process, environment  # they say which one it is
    try:
        from obstore.store import HTTPStore, from_url
    except ImportError:
        raise StoreError(
            f"{url} is an object store, which needs obstore. Install it with: {INSTALL}"
        ) from None
    provider = provider_of(url)
    assert provider is not None
    how = {
        "client_options": dict(options),
        "retry_config": dict(retries) | {"backoff": dict(backoff)},
    }
    try:
        if scheme_of(url) in ("http", "https"):  # also an address that some provider has
            return HTTPStore.from_url(url, **how)
        return from_url(url, **how)
    except Exception as error:
        reason, remedy = fault_words(str(error), url, provider)
        raise StoreError(f"{url} cannot be opened: {reason}. {remedy}") from error
