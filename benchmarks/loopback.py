"""A store of objects on the loopback, in a process of its own: its memory and its cores' time are not those of who reads it.

``python -m benchmarks.loopback FOLDER --delay 0.1 --rate 8e6`` serves the files of a folder, waits before each request, sends at
a rate, and prints its address.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fresh import ROOT, Figures
from tests.object_store.proxy import FlakyProxy
from tests.object_store.upstreams import Folder


def serve(folder: Path, delay_s: float, rate: float) -> None:
    """A store of the files of a folder, until standard input ends."""
    with FlakyProxy(Folder(folder)) as proxy:
        proxy.delay_s, proxy.bytes_per_second = delay_s, rate or None
        print(proxy.url, flush=True)
        for line in sys.stdin:  # what was asked since the last line
            del line
            counts = {"requests": len(proxy.requests), "most_in_flight": proxy.most_in_flight}
            proxy.requests.clear()
            proxy.most_in_flight = 0
            print(json.dumps(counts), flush=True)


class Server:
    """The store in a process of its own; variables of the environment lead to it."""

    def __init__(self, folder: Path, delay_s: float, rate: float) -> None:
        command = [sys.executable, "-m", "benchmarks.loopback", str(folder)]
        command += ["--delay", str(delay_s), "--rate", str(rate)]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )  # fmt: skip
        self.url = self._line()

    def counts(self) -> Figures:
        """Requests since the last call, and the most in flight."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return dict(json.loads(self._line()))

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def served(folder: Path, delay_s: float, rate: float) -> Iterator[Server]:
    """The store, to which the variables lead meanwhile."""
    server = Server(folder, delay_s, rate)
    asked = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "loopback",
        "AWS_SECRET_ACCESS_KEY": "loopback",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in asked}
    os.environ.update(asked)
    try:
        yield server
    finally:
        server.close()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main(arguments: list[str] | None = None) -> None:
    """Serve a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loopback", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each request")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="bytes per second a connection; 0: any"
    )
    asked = parser.parse_args(arguments)
    serve(asked.folder, asked.delay, asked.rate)


if __name__ == "__main__":
    main()
