"""What stands behind the proxy: another server, or a folder of files."""

from __future__ import annotations

import asyncio
import email.utils
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.object_store.rules import Request

OWN_HEADERS = ("connection", "transfer-encoding", "keep-alive", "expect")
"""Headers of one connection, which are not passed on."""


@dataclass
class Reply:
    """What is answered; a HEAD has the length of the body that it does not send."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


class Upstream(Protocol):
    """What answers the requests that come through."""

    async def answer(self, request: Request) -> Reply: ...


@dataclass(frozen=True)
class Forward:
    """A server on this machine, such as moto's."""

    host: str
    port: int

    async def answer(self, request: Request) -> Reply:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            lines = [
                f"{request.verb} {request.target} HTTP/1.0"
            ]  # so that it ends the body by closing
            lines += [f"{k}: {v}" for k, v in request.headers.items() if k not in OWN_HEADERS]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
            await writer.drain()
            data = await reader.read(-1)
        finally:
            writer.close()
        head, _, body = data.partition(b"\r\n\r\n")
        status, *headers = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in headers)
        kept = {k.lower(): v.strip() for k, _, v in pairs if k.lower() not in OWN_HEADERS}
        return Reply(int(status.split()[1]), kept, body)


@dataclass(frozen=True)
class Folder:
    """Files below a folder, as a plain server of files has them, and as GET and HEAD of a store of objects.

    Attributes
    ----------
    path
        The folder.
    ranges
        Whether it heeds ``Range``; a server that does not answers 200 with everything.
    """

    path: Path
    ranges: bool = True

    async def answer(self, request: Request) -> Reply:
        file = self.path / request.path.lstrip("/")
        if request.verb not in ("GET", "HEAD"):
            return Reply(405)
        if ".." in request.path.split("/") or not file.is_file():
            return Reply(404)
        seen = file.stat()
        size = seen.st_size
        headers = {
            "content-type": "application/octet-stream",
            "etag": f'"{seen.st_mtime_ns:x}-{size:x}"',
            "last-modified": email.utils.formatdate(seen.st_mtime, usegmt=True),
        }
        start, stop, status = 0, size, 200
        if self.ranges:
            headers["accept-ranges"] = "bytes"
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
            if asked:
                first, last = asked.groups()
                start = int(first) if first else max(0, size - int(last))
                stop = min(size, int(last) + 1) if first and last else size
                if start >= size:
                    return Reply(416, {"content-range": f"bytes */{size}"})
                status = 206
                headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["content-length"] = str(stop - start)
        if request.verb == "HEAD":
            return Reply(status, headers)
        with file.open("rb") as opened:
            opened.seek(start)
            return Reply(status, headers, opened.read(stop - start))
