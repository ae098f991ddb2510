"""Where passes run: the threads of this process, or a cluster that somebody started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask

from streamsvd.errors import SpecError, StoreError

CONNECT_SECONDS = "10s"


@contextmanager
def scheduled(address: str | None, workers: int | None) -> Iterator[None]:
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
        If no scheduler answers at the address.
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
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # of many types: addresses are parsed and dialled in several places
        raise StoreError(
            f"no scheduler answers at {address}: {str(error) or type(error).__name__}. Check the address, or leave scheduler= out to run here."
        ) from error
    with client:
        yield
