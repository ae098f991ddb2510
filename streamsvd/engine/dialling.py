"""Who answers at an address: asked once, within one deadline for all layers, before a client dials for good.

A client of distributed waits for ever where something listens that does not speak as a scheduler does: its deadlines are
those of single layers, and the first exchange has none.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from streamsvd.checks.paths import local_path
from streamsvd.errors import SpecError, StoreError

CONNECT_SECONDS = 10.0
"""For all layers: name, connection, encryption, and the first answer."""

RETRY_SECONDS = 0.2
"""Between two tries to connect: a scheduler may be starting."""

LEAVE_OUT = "Check the address, or leave scheduler= out to run here."
CERTIFICATES = (
    "needs certificates. Set distributed.comm.tls.ca-file, client.cert and client.key in the configuration of dask "
    "(dask.config.set, or a file in ~/.config/dask)."
)


@dataclass(slots=True)
class _Call:
    """How far a call came.

    Attributes
    ----------
    answer
        What was said of itself by who answered.
    error
        What went wrong last.
    is_connected
        Whether somebody listens.
    """

    answer: dict[str, Any] | None = None
    error: BaseException | None = None
    is_connected: bool = False


def address_of(scheduler: str) -> str:
    """The address of a scheduler, as given or from the file that ``dask scheduler --scheduler-file`` writes.

    Raises
    ------
    SpecError
        If it is empty.
    StoreError
        If the file is not there, or is no such file.
    """
    text = scheduler.strip()
    if not text:
        raise SpecError(
            f"scheduler={scheduler!r} is no address. Pass one such as tcp://10.0.0.1:8786, or the file that "
            "dask scheduler --scheduler-file writes."
        )
    if not text.endswith(".json"):
        return text
    try:
        return str(json.loads(local_path(text, "scheduler").read_text())["address"])
    except OSError as error:
        raise StoreError(
            f"the scheduler file {text} cannot be read: {error.strerror or error}. Start the scheduler with "
            "dask scheduler --scheduler-file, in a place that this machine sees."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{text} is no scheduler file: it names no address. Pass the file that dask scheduler --scheduler-file writes."
        ) from error


def require_scheduler(address: str, seconds: float = CONNECT_SECONDS) -> None:
    """Return when a scheduler answered.

    Raises
    ------
    StoreError
        If nothing does in time, or what does is no scheduler.
    """
    import distributed  # outside of the deadline: it takes a second on a busy machine

    del distributed
    call = _Call()
    began = time.monotonic()
    # In a thread of its own: the caller may be in a loop already, and what hangs must not keep him or the end of the process.
    thread = threading.Thread(target=_run_call, args=(address, seconds, call), daemon=True)
    thread.start()
    thread.join(seconds + 1.0)
    if call.answer is None:
        raise StoreError(_no_answer(address, call, time.monotonic() - began)) from call.error
    kind = str(call.answer.get("type", ""))
    if kind in ("Worker", "Nanny"):
        other = call.answer.get("scheduler")
        named = f" Pass that of its scheduler, {other}." if other else f" {LEAVE_OUT}"
        raise StoreError(
            f"what answers at {address} is a {kind.lower()} (no Dask scheduler).{named}"
        )


def _run_call(address: str, seconds: float, call: _Call) -> None:
    with suppress(BaseException):  # what went wrong is in the call
        asyncio.run(_make_call(address, seconds, call))


async def _make_call(address: str, seconds: float, call: _Call) -> None:
    try:
        async with asyncio.timeout(seconds):
            await _ask(address, call)
    except BaseException as error:
        if not isinstance(error, TimeoutError) or call.error is None:
            call.error = error


async def _ask(address: str, call: _Call) -> None:
    """Connect, exchange greetings, and ask who is there; what `distributed.comm.core.connect` does, under one deadline."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.core import FatalCommClosedError
    from distributed.comm.registry import get_backend
    from distributed.security import Security

    scheme, place = parse_address(address)
    connector = get_backend(scheme).get_connector()
    if scheme in ("tcp", "tls", "ws", "wss"):
        parse_host_port(place)
    options = Security().get_connection_args("client")
    while True:
        try:
            comm: Any = await connector.connect(place, deserialize=True, **options)
            break
        except FatalCommClosedError:
            raise
        except OSError as error:
            # an error without words: it was answered, and hung up at once
            call.error, call.is_connected = error, not str(error)
            await asyncio.sleep(RETRY_SECONDS)
    call.is_connected, call.error = True, None
    try:
        own = comm.handshake_info()
        await comm.write(own)
        theirs = await comm.read()
        comm.local_info = {**own, "address": comm._local_addr}
        comm.remote_info = {**theirs, "address": comm._peer_addr}
        comm.handshake_options = comm.handshake_configuration(comm.local_info, comm.remote_info)
        await comm.write({"op": "identity", "reply": True})
        call.answer = dict(await comm.read())
    finally:
        comm.abort()


def _no_answer(address: str, call: _Call, seconds: float) -> str:
    """Why there is no scheduler, in a sentence or two."""
    error, name = call.error, type(call.error).__name__
    if call.is_connected:
        silent = error is None or isinstance(error, TimeoutError)
        said = f"gave no answer within {seconds:.0f} s" if silent else f"broke off ({name})"
        return (
            f"what answers at {address} is no Dask scheduler: it {said}. A dashboard has another port than its scheduler, and a "
            f"scheduler with certificates is at tls://. {LEAVE_OUT}"
        )
    text = re.sub(r"^in <[^>]*>: |^<[^>]*>: ", "", str(error or "")) or (
        name if error is not None else "no word"
    )
    if "ssl_context" in text or "sslcontext" in text.lower():
        return f"no scheduler answers at {address}: tls {CERTIFICATES}"
    if isinstance(error, TimeoutError):
        text = f"nothing within {seconds:.0f} s"
    elif isinstance(error, OSError):
        text = f"{text.rstrip('.')}, for {seconds:.0f} s"
    return f"no scheduler answers at {address}: {text}. {LEAVE_OUT}"
