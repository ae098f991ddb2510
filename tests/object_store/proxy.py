"""A proxy on the loopback that fails by rule as networks and stores of objects do, and counts what passes.

It runs in a thread of its own, speaks HTTP/1.1 to clients and keeps their connections open.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
import urllib.parse
from collections import Counter
from typing import Any

from tests.object_store.rules import Action, Request, Rule
from tests.object_store.upstreams import Reply, Upstream

S3_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}
SEND_BYTES = 256 << 10


class FlakyProxy:
    """A server in front of another one.

    Attributes
    ----------
    delay_s
        Every request waits for so long before anything is done.
    bytes_per_second
        Most of a body that a connection carries a second; None for as many as go.
    requests
        All that came in, in their order.
    most_in_flight
        Most requests that were not answered in full at one moment.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.delay_s = 0.0
        self.bytes_per_second: float | None = None
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._upstream = upstream
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._in_flight = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flaky proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    # Rules

    def add(self, action: Action, **how: Any) -> Rule:
        """A rule of this action; the earliest rule that takes a request counts. The rest is that of `Rule`."""
        rule = Rule(action, **how)
        with self._lock:
            self._rules.append(rule)
        return rule

    def answer(self, status: int, **how: Any) -> Rule:
        """Requests are answered with this status, and do not reach the server."""
        return self.add("answer", status=status, **how)

    def clear(self) -> None:
        """Forget rules, counts, delay and rate."""
        with self._lock:
            self._rules, self.requests = [], []
            self.most_in_flight = self._in_flight
            self.delay_s, self.bytes_per_second = 0.0, None

    # Counts

    def count(self, verb: str = "", key: str = "") -> int:
        """Requests of a verb whose path has this regular expression in it; empty for all."""
        with self._lock:
            seen = list(self.requests)
        return sum(verb in ("", r.verb) and bool(re.search(key, r.path)) for r in seen)

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests by verb and path."""
        with self._lock:
            return Counter((r.verb, r.path) for r in self.requests)

    # The server

    def close(self) -> None:
        """Let every request go and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join()

    def __enter__(self) -> FlakyProxy:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._main = self._loop.create_task(self._serve())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        for writer in self._writers:  # also of a task that never began
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0.02))  # transports close in the turns after
        self._loop.close()

    async def _serve(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would let go of them
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            for listening in server.sockets:
                self._loop.remove_reader(listening.fileno())
            await asyncio.sleep(
                0.02
            )  # connections that came meanwhile begin: a closed server loses them
            server.close()
            own = {self._main}
            while others := asyncio.all_tasks() - own:
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.wait(others)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.append(writer)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _next_request(reader, writer)) is not None:
                with self._lock:
                    self.requests.append(request)
                    self._in_flight += 1
                    self.most_in_flight = max(self.most_in_flight, self._in_flight)
                    rule = next((rule for rule in self._rules if rule.takes(request)), None)
                try:
                    stays = await self._handle(request, rule, reader, writer)
                finally:
                    with self._lock:
                        self._in_flight -= 1
                if not stays:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            writer.transport.abort()

    async def _handle(
        self,
        request: Request,
        rule: Rule | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer a request; False where the connection ends with it."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        action = None if rule is None else rule.action
        if rule is not None and action == "answer":
            await self._send(writer, request, _error_reply(rule.status, request))
            return True
        if rule is not None and action in ("reset", "hang") and rule.after == 0:
            await _end(action, reader, writer)
            return False
        reply = await self._upstream.answer(request)
        if rule is None:
            await self._send(writer, request, reply)
            return True
        if action != "lose":
            await self._send(writer, request, reply, rule.after)
        await _end(str(action), reader, writer)
        return False

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        request: Request,
        reply: Reply,
        most: int | None = None,
    ) -> None:
        """A reply, or the head and so many bytes of the body."""
        headers = dict(reply.headers)
        if request.verb != "HEAD" or "content-length" not in headers:
            headers["content-length"] = str(len(reply.body))
        head = [f"HTTP/1.1 {reply.status} {S3_CODES.get(reply.status, 'OK')}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        body = memoryview(b"" if request.verb == "HEAD" else reply.body)[:most]
        rate, began, sent = self.bytes_per_second, self._loop.time(), 0
        step = SEND_BYTES if rate is None else max(1, int(rate / 50))
        while sent < len(body):
            writer.write(body[sent : sent + step])
            await writer.drain()
            sent = min(len(body), sent + step)
            if rate is not None:
                await asyncio.sleep(max(0.0, began + sent / rate - self._loop.time()))
        await writer.drain()


async def _end(action: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection: by a close, by a reset, or when the client gives up."""
    if action == "cut":
        writer.close()
        return
    if action == "hang":
        await reader.read(1)  # nothing comes until the client closes
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _next_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next request of a connection; None where the client closes it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    verb, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    path, _, query = target.partition("?")
    return Request(verb, urllib.parse.unquote(path), query, headers, body, target)


def _error_reply(status: int, request: Request) -> Reply:
    """An error in the words of S3."""
    code = S3_CODES.get(status, "Error")
    text = f"<Error><Code>{code}</Code><Message>by rule</Message><Key>{request.path}</Key></Error>"
    return Reply(status, {"content-type": "application/xml"}, text.encode())
