"""What is said of an address where no scheduler answers, and that nothing waits for ever."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import dask
import numpy as np
import pytest
from distributed import LocalCluster, Security

import streamsvd
from streamsvd.engine import schedulers, worker_checks
from streamsvd.engine.dialling import address_of, require_scheduler
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.engine.submit import active_client
from streamsvd.errors import SpecError, StoreError

SHORT = 1.0


@contextmanager
def silence():
    """The address of something that listens and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def web_server():
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def closed_line():
    """The address of something that hangs up on whoever calls."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up():
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "place", [silence, closed_line, pytest.param(web_server, marks=pytest.mark.slow)]
)
def test_what_is_no_scheduler_is_told_in_a_sentence(place):
    with place() as address:
        with pytest.raises(
            StoreError, match=rf"what answers at {address} is no Dask scheduler: it"
        ):
            require_scheduler(address, SHORT)
        if place is silence:
            with pytest.raises(StoreError, match=r"gave no answer within .* dashboard has another"):
                require_scheduler(address, SHORT)


def test_an_address_where_nothing_listens_is_told_with_the_reason():
    with silence() as address:
        pass
    with pytest.raises(StoreError, match=rf"no scheduler answers at {address}: .*refused.*Check"):
        require_scheduler(address, SHORT)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1", r"no scheduler answers at 127.0.0.1: missing port number"),
        ("foo://127.0.0.1:1", r"no scheduler answers at foo://.*: unknown address scheme 'foo'"),
        ("tls://127.0.0.1:1", r"tls needs certificates. Set distributed.comm.tls.ca-file"),
    ],
)
def test_an_address_that_cannot_be_dialled_is_told_at_once(address, said):
    with pytest.raises(StoreError, match=said), use_scheduler(address, None):
        pass


def test_an_empty_address_is_refused():
    with pytest.raises(SpecError, match=r"scheduler=' ' is no address. Pass one such as tcp://"):
        address_of(" ")


def test_the_address_of_a_worker_leads_to_its_scheduler(cluster):
    worker = cluster.workers[0].address
    said = rf"what answers at {worker} is a worker \(no Dask scheduler\). Pass that of its scheduler, {cluster.scheduler_address}"
    with pytest.raises(StoreError, match=said), use_scheduler(worker, None):
        pass


def test_a_scheduler_answers_by_address_by_file_and_from_within_a_loop(cluster, tmp_path):
    address, file = cluster.scheduler_address, tmp_path / "s.json"
    file.write_text(json.dumps({"address": address}))
    for given in (address, address.removeprefix("tcp://"), str(file)):
        with use_scheduler(given, None):
            assert active_client().scheduler.address == address

    async def dial():
        require_scheduler(address)

    asyncio.run(dial())


def test_a_scheduler_file_that_is_none_is_told(tmp_path):
    with pytest.raises(StoreError, match=r"none.json cannot be read: .*--scheduler-file"):
        address_of(str(tmp_path / "none.json"))
    for text in ("[1]", "{}", "no"):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(StoreError, match=r"s.json is no scheduler file: it names no address"):
            address_of(str(tmp_path / "s.json"))


def test_certificates_of_the_configuration_are_used():
    pytest.importorskip("cryptography")
    security = Security.temporary()
    with LocalCluster(
        n_workers=1, processes=False, protocol="tls://", host="127.0.0.1", security=security, dashboard_address=":0"
    ) as cluster:  # fmt: skip
        address = cluster.scheduler_address
        with pytest.raises(StoreError, match="tls needs certificates"):
            require_scheduler(address, SHORT)
        with pytest.raises(StoreError, match="no Dask scheduler.*tls://"):
            require_scheduler(address.replace("tls://", "tcp://"), SHORT)
        tls = {
            "distributed.comm.tls.ca-file": security.tls_ca_file,
            "distributed.comm.tls.client.cert": security.tls_client_cert,
            "distributed.comm.tls.client.key": security.tls_client_key,
        }
        with dask.config.set(tls), use_scheduler(address, None):
            assert active_client().scheduler.address == address


def test_a_cluster_without_workers_is_told_before_anything_is_planned(tmp_path):
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        said = rf"the scheduler at {address} has no workers. Start some: dask worker {address}."
        with pytest.raises(StoreError, match=said), use_scheduler(address, None):
            pass
        with cluster.get_client(), pytest.raises(StoreError, match=said):
            streamsvd.svd(np.eye(3), 1)


def test_an_adaptive_cluster_is_given_time_for_its_first_worker(tmp_path):
    values = np.random.default_rng(0).standard_normal((300, 8))
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        cluster.adapt(minimum=0, maximum=1, interval="100ms", wait_count=100)
        with cluster.get_client():
            there = streamsvd.svd(values, 2).s
    assert np.array_equal(there, streamsvd.svd(values, 2).s)


def test_workers_that_were_asked_for_and_do_not_come_are_told(monkeypatch):
    monkeypatch.setattr(worker_checks, "WAKE_SECONDS", 0.1)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        cluster.get_client() as client,
    ):
        monkeypatch.setattr(type(cluster), "plan", {0}, raising=False)
        with pytest.raises(StoreError, match=r"has no workers yet: .*wait_for_workers\(1\)"):
            worker_checks.require_workers(client)
        monkeypatch.undo()


def test_a_process_ends_after_it_called_in_vain():
    asked = (
        "import sys\n"
        "from streamsvd.engine.dialling import require_scheduler\n"
        "try: require_scheduler(sys.argv[1], 1.5)\n"
        "except OSError as error: print(error)\n"
    )
    with silence() as address:
        ended = subprocess.run(
            [sys.executable, "-c", asked, address], capture_output=True, text=True, timeout=120
        )
    assert ended.returncode == 0
    assert "is no Dask scheduler" in ended.stdout
    assert ended.stderr == ""


def test_all_layers_have_one_deadline():
    assert schedulers.CONNECT_SECONDS == 10
