"""How tasks on workers are stopped: a task looks once a panel, so that none runs longer than one panel after it is not wanted.

A task is not wanted where its run was cancelled, or where the scheduler has given it up: nobody waits for it any more,
because its client is gone or because another worker was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from streamsvd.engine.task import STOP_SECONDS, stop, wait_until_ended

PING_SECONDS = 5
"""A worker that does not answer a question that needs no time for so long is frozen."""


def stop_on_workers(client: Any, run: str) -> None:
    """Cancel a run on every worker, and wait until none of its tasks reads or writes any more, as long as is reasonable."""
    _run_everywhere(client, stop_here, run)


def wait_on_workers(client: Any, names: Sequence[str]) -> None:
    """Wait until tasks that nobody wants any more have ended on all workers, as long as is reasonable."""
    _run_everywhere(client, wait_here, names)


def _run_everywhere(client: Any, function: Any, *arguments: Any) -> None:
    """A function on every worker; one that does not answer is waited for in vain once."""
    with suppress(
        OSError, TimeoutError, AttributeError, RuntimeError
    ):  # a client that closes has no scheduler
        client.sync(_ask_each, client, function, arguments, callback_timeout=STOP_SECONDS + 5)


async def _ask_each(client: Any, function: Any, arguments: Sequence[Any]) -> None:
    """A function on every worker that answers at all: a frozen one is not waited for."""
    found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), PING_SECONDS)
    await asyncio.gather(
        *(_ask(client, worker, function, arguments) for worker in found["workers"])
    )


async def _ask(client: Any, worker: str, function: Any, arguments: Sequence[Any]) -> None:
    options: dict[str, Any] = {"workers": [worker], "on_error": "ignore"}
    asked = asyncio.ensure_future(client._run(function, *arguments, **options))
    try:
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(client._run(int, **options), PING_SECONDS)
            await asked
    finally:
        asked.cancel()


async def stop_here(run: str) -> None:
    """The same on one worker; its loop goes on meanwhile."""
    await asyncio.to_thread(stop, run)


async def wait_here(names: Sequence[str]) -> None:
    """The same for tasks, by their names."""
    await asyncio.to_thread(wait_until_ended, names)


def task_is_unwanted() -> Callable[[], bool]:
    """A question that a task may ask from any of its threads: whether the scheduler has given it up; to be made in its own."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
        key = worker.get_current_task()
    except (ValueError, KeyError, AttributeError):
        return lambda: False  # at home
    tasks = worker.state.tasks

    def is_unwanted() -> bool:
        known = tasks.get(key)
        return known is None or known.state == "cancelled"

    return is_unwanted
