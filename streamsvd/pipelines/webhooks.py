"""Who is told by an address: the record is posted to it, tried again where that may help, and never waited for beyond a limit."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from streamsvd import __version__

FIRST_WAIT_S = 1.0
"""Seconds before the second try; each wait after is twice as long."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a moment later."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes no redirect: a record goes where the file says, and to nobody else."""

    def redirect_request(self, *arguments: Any) -> None:
        del arguments


def host_of(url: str) -> str:
    """What messages call an address: its path may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def fault_of_address(url: str) -> str:
    """Why an address cannot be posted to, in the words after it; empty where it can."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has characters that no address has: write them as %20 and so on"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in ("http", "https"):
        return "is neither http nor https"
    if not parts.hostname or port == 0:
        return "names no host"
    if "@" in parts.netloc:
        return "has a user or a password, which is not sent: put a token into the path or the query"
    return ""


def post(url: str, body: bytes, *, seconds: float, retries: int) -> str:
    """Post JSON to an address; what went wrong, in the words after its name.

    Parameters
    ----------
    url, body
        Where to, and what.
    seconds
        Most time for all tries and the waits between them. What has not ended by then is left to itself.
    retries
        Further tries where nobody answers, or the answer may be another a moment later.
    """
    faults: list[str] = []
    done = threading.Event()
    thread = threading.Thread(
        target=_try_often, args=(url, body, time.monotonic() + seconds, retries, faults, done), daemon=True
    )  # fmt: skip
    thread.start()
    if not done.wait(seconds):
        last = f" (before: {faults[-1]})" if faults else ""
        return f"did not answer within {seconds:g} seconds{last}"
    return faults[-1] if faults else ""


def _try_often(
    url: str, body: bytes, end: float, retries: int, faults: list[str], done: threading.Event
) -> None:
    """Try until one is taken, which leaves no faults; or none is left, or the time is over."""
    wait = FIRST_WAIT_S
    try:
        for left in range(retries, -1, -1):
            fault, may_pass = _try_once(url, body, max(end - time.monotonic(), 0.001))
            if not fault:
                faults.clear()
                return
            faults.append(fault)
            if not left or not may_pass or time.monotonic() + wait >= end:
                return
            time.sleep(wait)
            wait *= 2
    finally:
        done.set()


def _try_once(url: str, body: bytes, seconds: float) -> tuple[str, bool]:
    """What went wrong, and whether another try may help."""
    head = {"Content-Type": "application/json", "User-Agent": f"streamsvd/{__version__}"}
    request = urllib.request.Request(url, data=body, headers=head, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=seconds):
            return "", False
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            if 300 <= error.code < 400:
                where = error.headers.get("Location")
                to = f" {host_of(where)}" if where and "//" in where else " another path"
                return (
                    f"sends on to{to} ({error.code}), which is not followed: write where it is",
                    False,
                )
            return f"answered {error.code} {error.reason}", error.code in PASSING
    except urllib.error.URLError as error:
        return f"could not be reached: {error.reason}", True
    except (OSError, HTTPException, ValueError) as error:
        return f"could not be reached: {error or type(error).__name__}", True
