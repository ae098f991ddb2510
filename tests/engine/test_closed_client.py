"""A client that closes in the middle of a pass: by its user, or by itself once the scheduler is gone."""

from __future__ import annotations

import distributed
import pytest

from streamsvd.engine.cluster import heartbeat as module
from streamsvd.engine.cluster.heartbeat import Heartbeat
from streamsvd.engine.cluster.stopping import stop_on_workers
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.ordered import run_in_order
from streamsvd.errors import StreamSVDError


def double(_, item):
    return 2 * item


@pytest.fixture
def client():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_client_without_its_scheduler_is_a_sentence(client, monkeypatch):
    monkeypatch.setattr(module, "GONE_SECONDS", 0.5)
    beat, scheduler = Heartbeat(client, "pass 1"), client.scheduler
    client.scheduler = None
    try:
        with pytest.raises(StreamSVDError, match="no longer answers in pass 1"):
            beat.workers(now=True)
        assert "no longer answers" in str(beat.loss())
        stop_on_workers(client, "run")
        with pytest.raises(StreamSVDError, match="no longer answers"):
            Heartbeat(client, "pass 1")
    finally:
        client.scheduler = scheduler


def test_a_client_that_is_closed_in_the_middle_is_a_sentence(client):
    found = run_in_order(double, None, range(50), at_once=1, what="pass 1")
    assert next(found) == 0
    client.close()
    with pytest.raises(StreamSVDError, match="no longer answers in pass 1"):
        list(found)


def test_what_is_sent_by_a_closed_client_is_a_sentence(client):
    transfers = Transfers(client, Heartbeat(client, "pass 1"))
    client.close()
    with pytest.raises(StreamSVDError, match="no longer answers in pass 1"):
        transfers.send(1)
