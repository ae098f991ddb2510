"""Why a cluster lost what it was doing, each cause with what can be done about it.

What workers held is found again without a word: by the scheduler, which knows how it was made, or, where it was sent from
here, by sending it again. What only a person can mend is an error at once, in a sentence of its own.
"""

from __future__ import annotations

from typing import Any

from streamsvd.engine.machines import WORKER_SHARE
from streamsvd.errors import BudgetError, StoreError, StreamSVDError
from streamsvd.numerics.sentences import show_bytes

CONNECTION_REASON = "scheduler-connection-lost"
"""What distributed says of a future that it gave up because the scheduler went away."""

GO_ON = "Run again; with checkpoint= it goes on from there."


def is_connection_lost(error: BaseException) -> bool:
    """Whether an error says that the scheduler went away, so that nothing it knew can be asked for again."""
    return getattr(error, "reason", "") == CONNECTION_REASON


def is_input_lost(error: BaseException) -> bool:
    """Whether an error says that what was sent from here was lost with the workers that held it: it can be sent again."""
    from distributed.client import FutureCancelledError, FuturesCancelledError
    from distributed.comm.core import CommClosedError

    lost = isinstance(error, FutureCancelledError | FuturesCancelledError | CommClosedError)
    return lost and not is_connection_lost(error)


def is_killed(error: BaseException) -> bool:
    """Whether a task was tried on several workers, and all of them died of it."""
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)


def killed_error(error: Any, what: str, part: str, needs: int) -> StreamSVDError:
    """The sentence for a task that its workers died of.

    Parameters
    ----------
    error
        A ``KilledWorker`` of distributed.
    what, part
        How messages call the pass, and the task.
    needs
        Bytes that the plan allows a worker; 0 if that is not known.
    """
    worker = error.last_worker
    count, limit = error.allowed_failures + 1, int(worker.memory_limit or 0)
    said = f"{part} of {what} killed {count} workers, the last {worker.address}"
    if needs <= limit or not limit:  # by the plan there was room
        there = (
            f", of {show_bytes(limit)} each where the plan needs {show_bytes(needs)}"
            if limit and needs
            else ""
        )
        return StreamSVDError(
            f"{said}{there}. Look at what its log says last; where memory was short, pass less memory=, or give workers more "
            "(--memory-limit) or fewer threads."
        )
    remedy = f'Pass memory="{int(WORKER_SHARE * limit) >> 20}MiB", or give workers more memory (--memory-limit) or fewer threads.'
    return BudgetError(f"{said}, of {show_bytes(limit)} each: a worker", needs, limit, remedy)


def no_workers_error(address: str) -> StoreError:
    """The sentence for a cluster without workers."""
    return StoreError(
        f"the scheduler at {address} has no workers. Start some: dask worker {address}"
    )


def workers_gone_error(what: str, address: str, last: str, seconds: float) -> StreamSVDError:
    """The sentence for a cluster whose workers all left, or of which none ever came, after so long."""
    if not last:
        return StreamSVDError(
            f"no worker came to the scheduler at {address} within {seconds:.0f} s. Start some: dask worker {address}"
        )
    return StreamSVDError(
        f"{what} lost all workers, the last ({last}) {seconds:.0f} s ago, and none came. Start workers. {GO_ON}"
    )


def workers_paused_error(what: str, count: int, seconds: float) -> StreamSVDError:
    """The sentence for workers that are there, and take no task."""
    return StreamSVDError(
        f"no worker has taken a task for {seconds:.0f} s in {what}: all {count} are paused, as dask does where memory is short, or closing. "
        f"Give workers more memory (--memory-limit) or fewer threads, or pass less memory=. {GO_ON}"
    )


def scheduler_gone_error(what: str, address: str) -> StreamSVDError:
    """The sentence for a scheduler that does not answer."""
    return StreamSVDError(f"the scheduler at {address} no longer answers in {what}. {GO_ON}")


def scheduler_changed_error(what: str, address: str) -> StreamSVDError:
    """The sentence for another scheduler at the same address."""
    return StreamSVDError(
        f"the scheduler at {address} is another one than at the start of {what}: it was started anew and knows nothing of it. {GO_ON}"
    )


def connection_broken_error(what: str, address: str) -> StreamSVDError:
    """The sentence for a scheduler that answers, and has forgotten us."""
    return StreamSVDError(f"the connection to the scheduler at {address} broke in {what}. {GO_ON}")
