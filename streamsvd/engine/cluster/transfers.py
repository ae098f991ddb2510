"""What goes between this process and workers: from one to the other where they reach each other, else by the scheduler."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from concurrent.futures import TimeoutError as StillRunning
from typing import Any

from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat

REACH_SECONDS = 5.0
"""In which a worker answers this process, if it can be reached."""
TRIES = 10
_direct: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()

REMARK = (
    "no worker answers this process (asked: {worker}), so what goes between them passes through the "
    "scheduler, twice the bytes. Open the workers' ports to it."
)


class WorkerLeftError(ConnectionError):
    """A worker that may be the other end of a transfer is gone: what it does not answer would be waited for in vain."""


class Transfers:
    """Values sent to workers and fetched from them, while the scheduler answers.

    Parameters
    ----------
    client, beat
        Of the cluster.
    on_remark
        Told once a client that workers cannot be reached.
    """

    def __init__(
        self, client: Any, beat: Heartbeat, on_remark: Callable[[str], None] | None = None
    ) -> None:
        self.client, self.beat, self.on_remark = client, beat, on_remark

    def send(self, value: Any) -> tuple[Any, str]:
        """A future of one copy on a worker, and which; others fetch it from there, or from one another.

        Sending it to all would wait for ever for a worker that dies meanwhile.
        """
        silent: set[str] = set()
        for attempt in range(1, TRIES + 1):
            worker = self._some_worker(silent)
            try:
                (future,) = self._watched(
                    self.client.scatter(
                        [value], workers=[worker], hash=False, direct=self.is_direct(worker),
                        timeout=REACH_SECONDS, asynchronous=True,
                    ),
                    {worker},
                )  # fmt: skip
            except (OSError, KeyError, TimeoutError):  # it has just left
                if attempt == TRIES:
                    raise
                silent.add(worker)
                continue
            return future, worker
        raise AssertionError

    def _some_worker(self, silent: set[str]) -> str:
        """A worker that is there, another one than those that took nothing; waits for one."""
        while not (threads := self.beat.workers(now=True)):
            time.sleep(BEAT_SECONDS / 4)
        return max(threads, key=lambda worker: (worker not in silent, threads[worker]))

    def fetch(self, future: Any) -> Any:
        """The value of a future that has ended; what was lost meanwhile is made again."""
        direct = _direct.get(self.client, False)
        while True:
            try:
                return self._watched(
                    self.client.gather(future, direct=direct, asynchronous=True),
                    set(self.beat.threads),
                )
            except WorkerLeftError:  # who was asked may have been it
                continue

    def is_direct(self, worker: str) -> bool:
        """Whether workers answer this process: one is asked, once for each client, unless the client says so itself."""
        said = self.client.direct_to_workers
        if said is not None:
            _direct[self.client] = bool(said)
        elif self.client not in _direct:
            _direct[self.client] = self._watched(self._reaches(worker), {worker})
            if not _direct[self.client] and self.on_remark is not None:
                self.on_remark(REMARK.format(worker=worker))
        return _direct[self.client]

    async def _reaches(self, worker: str) -> bool:
        try:
            await asyncio.wait_for(self.client.rpc(worker).identity(), REACH_SECONDS)
        except (OSError, TimeoutError):
            return False
        return True

    def _watched(self, call: Any, workers: set[str]) -> Any:
        """The result of a call of the client; the scheduler is watched meanwhile, so that none waits for ever.

        A worker that is frozen keeps its connection open and says nothing: once the scheduler has given it up, nobody waits for it.

        Raises
        ------
        WorkerLeftError
            If one of these workers, which may be the other end, is not there any more.
        """
        try:
            pending = asyncio.run_coroutine_threadsafe(call, self.client.loop.asyncio_loop)
        except RuntimeError:  # the loop went with its client
            call.close()
            raise self.beat.loss() from None
        try:
            while True:
                try:
                    return pending.result(BEAT_SECONDS)
                except StillRunning:
                    if pending.done():  # it was the call's own
                        raise
                    if not workers <= set(self.beat.workers()):
                        raise WorkerLeftError("a worker has left") from None
        except BaseException as error:
            pending.cancel()
            if isinstance(error, Exception) and self.client.status in ("closing", "closed"):
                raise self.beat.loss() from None
            raise
