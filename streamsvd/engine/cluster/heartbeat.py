"""Whether the scheduler that a pass began with still answers, and which workers it has: asked now and then, with a deadline."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any

from streamsvd.engine.cluster.losses import (
    connection_broken_error,
    scheduler_changed_error,
    scheduler_gone_error,
    workers_gone_error,
    workers_paused_error,
)
from streamsvd.engine.worker_devices import device_threads, task_resources
from streamsvd.errors import StreamSVDError

BEAT_SECONDS = 2.0
SILENCE_SECONDS = 30.0
"""A scheduler that does not answer for so long is gone."""

GONE_SECONDS = 15.0
"""The same where its connection broke: nothing listens there, or another one comes."""

WAIT_SECONDS = 60.0
"""For so long a pass without any worker waits for one."""

STUCK_SECONDS = 600.0
"""And so long for workers that are there and take no task: they may yet end what they have, and go on."""


class Heartbeat:
    """The scheduler of a client, as it was at the start of a pass.

    Parameters
    ----------
    client
        Of the cluster.
    what
        How messages call the pass.
    device
        Where its tasks compute: workers without it do not count where others say that they have it.
    """

    def __init__(self, client: Any, what: str, device: str = "cpu") -> None:
        self.client, self.what, self.device = client, what, device
        self.resources: Mapping[str, float] = {}
        self.is_lost = False
        self.address = str(getattr(client.scheduler, "address", "its address"))
        self.scheduler = self._ask_identity(SILENCE_SECONDS)
        self.threads: Mapping[str, int] = {}
        self._asked_s = -BEAT_SECONDS
        self._last = ""
        self._seen_s = self._ran_s = time.monotonic()

    def workers(self, *, now: bool = False) -> Mapping[str, int]:
        """Threads of each worker, by its address; asked again after a while, or ``now``.

        Raises
        ------
        StreamSVDError
            If the scheduler does not answer, is another one, or had no worker for too long.
        """
        if not now and time.monotonic() - self._asked_s < BEAT_SECONDS:
            return self.threads
        try:
            threads = self._ask_threads()
            running = self._call("ncores_running", SILENCE_SECONDS)
        except TimeoutError:
            self.is_lost = True
            raise scheduler_gone_error(self.what, self.address) from None
        except OSError:
            raise self.loss() from None
        if self.client.status != "running":
            raise self.loss()
        self._asked_s = now_s = time.monotonic()
        self.threads = dict(threads)
        if self.threads:
            self._last, self._seen_s = next(iter(self.threads)), now_s
        elif now_s - self._seen_s > WAIT_SECONDS:
            raise workers_gone_error(self.what, self.address, self._last, now_s - self._seen_s)
        if running or not self.threads:
            self._ran_s = now_s
        elif now_s - self._ran_s > STUCK_SECONDS:
            raise workers_paused_error(self.what, len(self.threads), now_s - self._ran_s)
        return self.threads

    def loss(self) -> StreamSVDError:
        """What became of a scheduler whose connection broke or that did not answer: waits a little for it to say."""
        self.is_lost = True
        deadline = time.monotonic() + GONE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            if self.client.scheduler is None or self.client.status in ("closing", "closed"):
                break
            try:
                found = self._ask_identity(left)
            except StreamSVDError:
                time.sleep(min(0.5, max(left, 0)))
                continue
            words = connection_broken_error if found == self.scheduler else scheduler_changed_error
            return words(self.what, self.address)
        return scheduler_gone_error(self.what, self.address)

    def _ask_identity(self, seconds: float) -> str:
        try:
            found = self._call("identity", seconds, n_workers=0)
        except (OSError, TimeoutError):
            raise scheduler_gone_error(self.what, self.address) from None
        return str(found["id"])

    def _ask_threads(self) -> Mapping[str, int]:
        if self.device == "cpu":
            threads: Mapping[str, int] = self._call("ncores", SILENCE_SECONDS)
            return threads
        found = self._call("identity", SILENCE_SECONDS, n_workers=-1)["workers"]
        self.resources = task_resources(self.device, found)
        return device_threads(self.device, found)

    def _call(self, name: str, seconds: float, **options: Any) -> Any:
        """What the scheduler says; a client that closed itself, or that somebody closed, has none any more."""
        scheduler = self.client.scheduler
        if scheduler is None or self.client.status in ("closing", "closed"):
            raise ConnectionError("the client is closed")
        try:
            return self.client.sync(getattr(scheduler, name), **options, callback_timeout=seconds)
        except (AttributeError, RuntimeError, CancelledError) as error:  # closed meanwhile
            if self.client.status == "running":
                raise
            raise ConnectionError("the client was closed") from error
