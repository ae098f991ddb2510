"""An S3 on the loopback, one for each process of tests, and what a test sets to reach it."""

from __future__ import annotations

import logging
import os
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from streamsvd.store.objects import where
from tests.object_store.proxy import FlakyProxy
from tests.object_store.upstreams import Forward

PROVIDER_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Host and port of an S3 of this process."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install obstore")
    moto = pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install 'moto[server]'"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def bucket(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, to which the variables of the environment lead."""
    endpoint = "http://{}:{}".format(*s3_server)
    for name in [n for n in os.environ if n.upper().startswith(PROVIDER_VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    name = f"b{uuid.uuid4().hex[:12]}"
    make_bucket(endpoint, name)
    return f"s3://{name}"


@pytest.fixture
def flaky(
    bucket: str, s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlakyProxy]:
    """A proxy before the S3 of `bucket`, to which the variables lead from here on; the client tries again at once."""
    quick = {
        "init_backoff": timedelta(seconds=0.02),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    }
    monkeypatch.setattr(where, "BACKOFF", quick)
    with FlakyProxy(Forward(*s3_server)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def make_bucket(endpoint: str, name: str) -> None:
    """A bucket of the server at an endpoint."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
