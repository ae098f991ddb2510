"""Where a command runs: the threads of this process, or a cluster that somebody started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from streamsvd.errors import StoreError

CONNECT_SECONDS = "10s"


@contextmanager
def machine(scheduler: str | None, workers: int | None) -> Iterator[None]:
    """Everything inside runs there.

    Raises
    ------
    UsageError
        If both are given: a cluster has as many threads as it has.
    StoreError
        If the scheduler does not answer.
    """
    if scheduler is not None and workers is not None:
        raise click.UsageError("--workers is for threads of this process; the cluster at --scheduler has its own.")
    import dask

    if scheduler is None:
        with dask.config.set({} if workers is None else {"num_workers": workers}):
            yield
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"no scheduler answers at {scheduler}: {error}. Check the address, or leave --scheduler out to run here."
        ) from error
    with client:
        yield
