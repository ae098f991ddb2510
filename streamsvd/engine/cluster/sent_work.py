"""What all tasks of a run are given: sent to workers once, and again where it was lost with all that held it."""

from __future__ import annotations

from typing import Any

from streamsvd.engine.cluster.heartbeat import Heartbeat
from streamsvd.engine.cluster.losses import (
    is_connection_lost,
    is_input_lost,
    is_killed,
    killed_error,
)
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.errors import StreamSVDError

MOST_LOSSES = 10
"""Times that what was sent to workers may be lost with all that held it."""


class SentWork:
    """It, as it lies on the workers.

    Parameters
    ----------
    value
        What tasks are given.
    beat, transfers
        Of the cluster.
    needs
        Bytes that the tasks of a worker take; 0 if that is not known.

    Attributes
    ----------
    future
        Of it.
    losses
        How often it was lost so far.
    """

    def __init__(self, value: Any, beat: Heartbeat, transfers: Transfers, needs: int) -> None:
        self.value, self.beat, self.transfers, self.needs = value, beat, transfers, needs
        self.future: Any = None
        self.losses = 0

    def send(self) -> None:
        """Send it to a worker, which others fetch it from, once each."""
        old = self.future
        self.future, _ = self.transfers.send(self.value)
        if old is not None:
            old.release()

    def send_again(self) -> None:
        """The same after it was lost.

        Raises
        ------
        StreamSVDError
            If that happened too often.
        """
        self.losses += 1
        if self.losses > MOST_LOSSES:
            raise StreamSVDError(
                f"{self.beat.what} lost what it had sent to workers {self.losses} times, with all workers that held it. "
                "Look at why workers leave."
            )
        self.send()

    def require_lost(self, error: Exception, part: str) -> None:
        """Raise unless a task failed because what it was given was lost, which can be sent again.

        Parameters
        ----------
        error
            Of the task.
        part
            What it did, for messages.
        """
        if is_connection_lost(error):
            raise self.beat.loss() from None
        if is_killed(error):
            raise killed_error(error, self.beat.what, part, self.needs) from error
        if not is_input_lost(error):
            raise error

    def release(self) -> None:
        """Give it up."""
        if self.future is not None:
            self.future.release()
