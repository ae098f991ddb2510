"""Pages for a browser on the same machine: read only, and no path leads out of the folder that is served."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from streamsvd.errors import StoreError

HOST = "127.0.0.1"
ENDINGS = (".html", ".htm")
"""Of the names of reports; no other file is read."""
OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""What a browser may call this machine: a page from elsewhere that has got itself another name here is refused."""
REQUEST_S = 20.0
"""Seconds after which who sends nothing is left."""
INDEX_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report is one file, which loads nothing and tells nobody."""


@contextmanager
def pages(folder: Path, index: Callable[[], str], port: int) -> Iterator[str]:
    """Serve the index and the reports below a folder until the end of the block.

    Parameters
    ----------
    folder
        Where reports are: ``.html`` files that no link leads to, in it or below.
    index
        The page at ``/``.
    port
        Of 127.0.0.1; 0 for one that is free.

    Yields
    ------
    address
        Of the index.

    Raises
    ------
    StoreError
        If the port is taken, or may not be used.
    """
    try:
        server = _PageServer((HOST, port), partial(PageHandler, folder.absolute(), index))
    except (OSError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(
            f"port={port} of {HOST} cannot be served: {said}. Pass another port, or 0 for one that is free."
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
    )
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _PageServer(ThreadingHTTPServer):
    """A server whose connections end with it."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is nobody's trouble."""
        del request, client_address


class PageHandler(BaseHTTPRequestHandler):
    """Answers one request.

    Parameters
    ----------
    folder, index
        As `pages` takes them.
    """

    timeout = REQUEST_S

    def __init__(self, folder: Path, index: Callable[[], str], *rest: Any) -> None:
        self._folder, self._index = folder, index
        super().__init__(*rest)

    def do_GET(self) -> None:
        """A page."""
        self._answer(has_body=True)

    def do_HEAD(self) -> None:
        """What would be said before a page."""
        self._answer(has_body=False)

    def _refuse_method(self) -> None:
        """Nothing here can be changed."""
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"read only\n", "text/plain", has_body=True)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _answer(self, *, has_body: bool) -> None:
        host = self.headers.get("Host", HOST).strip()
        if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in OWN_NAMES:
            self._send(
                HTTPStatus.MISDIRECTED_REQUEST,
                b"no such host here\n",
                "text/plain",
                has_body=has_body,
            )
            return
        names = path_names(self.path)
        if names == ():
            body = self._index().encode()
            self._send(HTTPStatus.OK, body, "text/html; charset=utf-8", has_body=has_body)
            return
        found = None if names is None else read_report(self._folder, names)
        if found is None:
            self._send(
                HTTPStatus.NOT_FOUND, b"there is no such page\n", "text/plain", has_body=has_body
            )
        else:
            self._send(
                HTTPStatus.OK, found, "text/html; charset=utf-8", has_body=has_body, policy=REPORT_POLICY
            )  # fmt: skip

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str,
        *,
        has_body: bool,
        policy: str = INDEX_POLICY,
    ) -> None:
        self.send_response(status)
        head = {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": policy, "Cross-Origin-Resource-Policy": "same-origin",
        }  # fmt: skip
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            head["Allow"] = "GET, HEAD"
        for name, value in head.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def version_string(self) -> str:
        """Who answers; its release is nobody's business."""
        return "streamsvd"

    def log_message(self, format: str, *args: Any) -> None:
        """Who looks is not written down."""
        del format, args


def path_names(target: str) -> tuple[str, ...] | None:
    """The names that a request asks for, from the folder down; None for what is no path of a report."""
    try:
        text = unquote(urlsplit(target).path, errors="strict")
    except ValueError:
        return None
    if text == "/":
        return ()
    names = tuple(text[1:].split("/"))
    if not text.startswith("/") or not text.isprintable() or "\\" in text:
        return None
    if any(not name or name.startswith(".") for name in names) or not names[-1].endswith(ENDINGS):
        return None
    return names


def read_report(folder: Path, names: tuple[str, ...]) -> bytes | None:
    """A file below a folder, by names of which none is a link; None where there is none."""
    handle = -1
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for name in names[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        file = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
        with open(file, "rb") as opened:  # noqa: PTH123 - of a file that is open
            return opened.read() if stat.S_ISREG(os.fstat(file).st_mode) else None
    except (OSError, ValueError):
        return None
    finally:
        if handle >= 0:
            os.close(handle)
