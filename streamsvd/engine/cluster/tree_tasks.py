"""Tasks of a pass as they are sent to workers: each has a name of its own, is given the pass, and is heard of when it ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat
from streamsvd.engine.cluster.sent_work import SentWork
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.task import Work
from streamsvd.engine.tree import Node

FAILED = ("error", "cancelled")


class TreeTasks:
    """Those of a pass that runs.

    Parameters
    ----------
    client, beat, work
        The cluster, its heartbeat, and the pass.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.
    on_remark
        Told once a client that workers cannot be reached.
    """

    def __init__(
        self,
        client: Any,
        beat: Heartbeat,
        work: Work[Any],
        needs: int,
        on_remark: Callable[[str], None] | None = None,
    ) -> None:
        self.client, self.beat = client, beat
        self.transfers = Transfers(client, beat, on_remark)
        self.sent = SentWork(work, beat, self.transfers, needs)
        self._name = uuid.uuid4().hex
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._count = 0
        self._renewed = 0

    def new_key(self, kind: str, node: Node) -> str:
        """A name for a task of a node, told from those of other tries by its number."""
        self._count += 1
        return f"{kind}-{self._name}-{node[0]:02d}-{node[1]:06d}-{self._count}"

    def submit(
        self, key: str, worker: str, function: Any, *arguments: Any, priority: int = 0
    ) -> Any:
        """A task for a worker, which others do where that one is gone: a function of the pass and of more."""
        future = self.client.submit(
            function, self.sent.future, *arguments, key=key, workers=[worker], allow_other_workers=True,
            pure=False, priority=priority, resources=self.beat.resources or None,
        )  # fmt: skip
        future.add_done_callback(self._ended.put)
        return future

    def take_ended(self, end: Callable[[Any], None]) -> None:
        """Hand on tasks that have ended; nothing for a while at most."""
        try:
            end(self._ended.get(timeout=BEAT_SECONDS / 4))
            while True:
                end(self._ended.get_nowait())
        except Empty:
            return

    def fetch(self, future: Any) -> Any:
        """The value of a task that has ended; None where what it was made of was lost, which was sent again."""
        try:
            return self.transfers.fetch(future)
        except Exception as error:
            self.mend(error, future.key, "a sum")
            return None

    def mend_failed(self, future: Any, part: str) -> None:
        """The same of a task that failed: raise why, unless what it was given was lost, which is sent again."""
        try:
            future.result()
        except Exception as error:
            self.mend(error, future.key, part)

    def mend(self, error: Exception, key: str, part: str) -> None:
        """Send the pass again where it was lost, unless that was done since a task of this key was sent."""
        self.sent.require_lost(error, part)
        if int(key.rsplit("-", 1)[1]) > self._renewed:
            self._renewed = self._count
            self.sent.send_again()
