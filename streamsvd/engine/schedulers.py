"""Where passes run: the threads of this process, or a cluster that somebody started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask

from streamsvd.engine.dialling import CONNECT_SECONDS, LEAVE_OUT, address_of, require_scheduler
from streamsvd.engine.worker_checks import require_workers
from streamsvd.errors import SpecError, StoreError


@contextmanager
def use_scheduler(address: str | None, workers: int | None) -> Iterator[None]:
    """Every pass inside runs there.

    Parameters
    ----------
    address
        Of a distributed scheduler, such as ``"tcp://10.0.0.1:8786"``, with any scheme that dask has (``tls://`` with the
        certificates of dask's configuration); or the file, ending in ``.json``, that
        ``dask scheduler --scheduler-file`` writes. None for threads of this process.
    workers
        Number of threads; one for each core if left out.

    Raises
    ------
    SpecError
        If both are given, or the address is empty.
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

    place = address_of(address)
    require_scheduler(place)
    try:
        client = Client(place, timeout=CONNECT_SECONDS)
    except Exception as error:  # of many types: a cluster is dialled in several layers
        raise StoreError(
            f"no scheduler answers at {place}: {str(error) or type(error).__name__}. {LEAVE_OUT}"
        ) from error
    with client:
        require_workers(client)
        yield
