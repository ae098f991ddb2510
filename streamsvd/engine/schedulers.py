"""Where passes run: the threads of this process, or a cluster that somebody started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask

from streamsvd.engine.worker_checks import workers_of
from streamsvd.errors import SpecError, StoreError

CONNECT_SECONDS = "10s"


@contextmanager
def use_scheduler(address: str | None, workers: int | None) -> Iterator[None]:
    """Every pass inside runs there.

    Parameters
    ----------
    address
        Of a distributed scheduler, such as ``"tcp://10.0.0.1:8786"``; None for threads of this process.
    workers
        Number of threads; one for each core if left out.

    Raises
    ------
    SpecError
        If both are given.
    StoreError
        If no scheduler answers at the address, or it has no workers.
    """
    if address is None:
        with dask.config.set({} if workers is None else {"num_workers": workers}):
            yield
        return
    if workers is not None:
        raise SpecError(
            f"scheduler={address!r} and workers={workers} exclude each other: the cluster has its own threads. "
            "Pass one of them."
        )
    from distributed import Client

    try:
        _check_address(address)
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # of many types: a cluster is dialled in several layers
        raise StoreError(
            f"no scheduler answers at {address}: {str(error) or type(error).__name__}. Check the address, or leave scheduler= out to run here."
        ) from error
    with client:
        if not workers_of(client):
            raise StoreError(
                f"the scheduler at {address} has no workers, so nothing can be planned. Start some first."
            )
        yield


def _check_address(address: str) -> None:
    """Refuse what is no address before a client tries: one that fails half-way may hang the process."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(address)
    get_backend(scheme)
    if scheme in ("tcp", "tls", "ws", "wss"):
        parse_host_port(place)
