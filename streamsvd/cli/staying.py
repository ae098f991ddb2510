"""A command that stays until it is stopped: signals are requests, which no work is torn by."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from streamsvd.cli.app import SIGNAL_GAP_S
from streamsvd.cli.event_lines import journal_of, log_format
from streamsvd.pipelines.journal import JournalEntry
from streamsvd.pipelines.serving.children import CommandStarter
from streamsvd.pipelines.serving.folder import Offers
from streamsvd.pipelines.serving.server import Server


class StopRequests:
    """Requests to stop, as a pipe that signals write into.

    Parameters
    ----------
    reading
        The end that is read.
    """

    def __init__(self, reading: int) -> None:
        self._reading = reading
        self._first = 0.0

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until there is one; whether there is."""
        if not select.select([self._reading], [], [], seconds)[0]:
            return False
        os.read(self._reading, 1)
        self._first = time.monotonic()
        return True

    def has_patience(self, seconds: float) -> bool:
        """Wait so long after the first; False once there is a further Ctrl-C, that is not the same one still."""
        if not select.select([self._reading], [], [], seconds)[0]:
            return True
        sent = os.read(self._reading, 1)
        return sent != b"I" or time.monotonic() - self._first < SIGNAL_GAP_S


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """SIGTERM and Ctrl-C are requests until the end of the block; a Ctrl-C that a shell ignores stays so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        with contextlib.suppress(BlockingIOError):  # it is full of requests
            os.write(writing, b"I" if number == signal.SIGINT else b"T")

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield StopRequests(reading)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def stay(
    offers: Offers,
    log: str,
    metrics: Path | None,
    *,
    as_json: bool,
    folder: Path | None = None,
    port: int | None = None,
) -> int:
    """Run pipelines at their times until stopped, which is exit code 0.

    Parameters
    ----------
    offers
        Which pipelines.
    log, metrics, as_json
        As the options of the commands.
    folder, port
        Where reports are, and on which port pages are served; None for none.
    """
    options = ["--quiet", "--log", log_format(log), *(["--json"] if as_json else [])]
    journal = journal_of(log)
    server = Server(offers, CommandStarter(options, as_json), journal, metrics=metrics)
    with stop_requests() as requests, ExitStack() as stack:
        if folder is not None and port is not None:
            address = stack.enter_context(_pages(folder, server, port))
            journal(JournalEntry("pages", "", f"pages are at {address}", {"address": address}))
        try:
            server.serve(requests.wait)
        finally:
            server.stop(requests.has_patience)
        journal(
            JournalEntry(
                "stopped",
                "",
                "stopped; what was made stays, and the same command goes on from there",
            )
        )
    return 0


@contextmanager
def _pages(folder: Path, server: Server, port: int) -> Iterator[str]:
    from streamsvd.pipelines.serving.pages import index_page
    from streamsvd.pipelines.serving.web import pages

    index: Callable[[], str] = lambda: index_page(server.states(), folder)  # noqa: E731
    with pages(folder, index, port) as address:
        yield address
