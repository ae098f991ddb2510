"""A pass on the cluster of a client: who has workers, looks at them and runs it, and stops them all where it ends early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamsvd.engine.cluster.heartbeat import Heartbeat
from streamsvd.engine.cluster.losses import no_workers_error
from streamsvd.engine.cluster.stopping import stop_on_workers
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.cluster.tree_run import TreeRun
from streamsvd.engine.submit import GraphCallbacks
from streamsvd.engine.task import Work
from streamsvd.engine.task_count import USUAL_PER_THREAD, task_level
from streamsvd.engine.tree import Node, cut_tree, missing_spans, nodes_above
from streamsvd.engine.worker_checks import inspect_workers
from streamsvd.errors import StreamSVDError
from streamsvd.store.writing.shield import defer_interrupts

AHEAD = 1
"""Tasks that wait on a worker beside those that run, so that no thread waits for a message."""

GROWTH = 8
"""Times that a cluster without a limit is expected to grow."""


def run_tree(
    client: Any,
    work: Work[Any],
    done: Mapping[Node, Any],
    told: GraphCallbacks,
    what: str,
    needs: int = 0,
) -> Any:
    """What a pass adds up over all that is read, to the bits of threads at home.

    Parameters
    ----------
    client, work
        The cluster, and the pass.
    done
        Sums of nodes that need not be found again.
    told
        Who watches.
    what
        How messages call it, such as ``"pass 3"``.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Raises
    ------
    StreamSVDError
        If a worker is not as this process is (see `inspect_workers`), or what was lost cannot be found again: every worker,
        the scheduler, or a task that its workers die of; the sentence says which.
    """
    spans = work.reader.spans
    count = len(spans)
    with on_cluster(client, work.run, what, work.device) as beat:

        def look() -> None:
            inspect_workers(client, work, needs)

        look()
        n_bytes = work.reader.cost(missing_spans(spans, done), work.pass_)
        threads, ahead = expected_threads(client, beat.threads)
        level = task_level(count, n_bytes, threads)
        subtrees, joins, root = cut_tree(count, level, done, nodes_above(done, count))
        if root in done:
            return done[root]
        run = TreeRun(client, beat, work, subtrees, joins, root, done, told, look, ahead, needs)
        try:
            return run.value()
        finally:
            with defer_interrupts():
                run.release()


@contextmanager
def on_cluster(client: Any, run: str, what: str, device: str = "cpu") -> Iterator[Heartbeat]:
    """The heartbeat of a cluster that has workers; where what is done with it ends early, no task of a run is left on any.

    Parameters
    ----------
    client, run
        Of the cluster, and what tasks are stopped by; see `streamsvd.engine.task.stop`.
    what, device
        How messages call what is done, and where it computes.

    Raises
    ------
    StreamSVDError
        If there is no worker, and none on its way; or the scheduler went away.
    """
    beat = Heartbeat(client, what, device)
    try:
        find_workers(client, beat)
        yield beat
    except BaseException as error:
        with defer_interrupts():
            if client.status == "running" and not beat.is_lost:
                stop_on_workers(client, run)
        known = isinstance(error, StreamSVDError) or not isinstance(error, Exception)
        if not known and (beat.is_lost or client.status != "running"):
            raise beat.loss() from error
        raise


def find_workers(client: Any, beat: Heartbeat) -> Mapping[str, int]:
    """Threads of each worker; waits for the first where some are on their way.

    Raises
    ------
    StoreError
        If there is none, and nobody said that one would come.
    """
    threads = beat.workers(now=True)
    if threads:
        return threads
    if not (_adaptive(client) or getattr(client.cluster, "plan", None)):
        raise no_workers_error(beat.address)
    wanted = client.submit(int, pure=False)  # a cluster that adapts itself starts one for it
    try:
        Transfers(client, beat).fetch(wanted)
    finally:
        wanted.release()
    return beat.workers(now=True)


def expected_threads(client: Any, threads: Mapping[str, int]) -> tuple[int, int]:
    """Threads that a pass may come to have, and tasks that wait on a worker: of a cluster that adapts itself as many as there are.

    Such a cluster grows by what it sees waiting; workers that come take it from those that have it.
    """
    adaptive, total = _adaptive(client), sum(threads.values())
    if adaptive is None:
        return total, AHEAD
    most, each = adaptive.maximum, max(threads.values(), default=1)
    limit = int(most) * each if most < float("inf") else GROWTH * total
    return max(total, limit), 2 * USUAL_PER_THREAD


def _adaptive(client: Any) -> Any | None:
    """What grows and shrinks the cluster of a client by what waits on it; None where it stays as it is, or nothing is known of it."""
    return getattr(client.cluster, "_adaptive", None)
