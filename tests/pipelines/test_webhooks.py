"""Addresses that are told: what is posted, what is tried again, what is not followed, and that nothing holds a run beyond its limit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamsvd.pipelines import webhooks
from tests.pipelines.kit import SVD, refusal, run_text, write_matrix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


HOOK = '[[notify]]\nwhen = "always"\nurl = "{}/hook/secret"\n'


class Listener:
    """A server on the loopback that answers as it is told, one answer after another, and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.address = ""
        self.let_go = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.got.append((f"{handler.command} {handler.path}", dict(handler.headers), body))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "hang":
            self.let_go.wait(120)
        elif answer == "drip":
            while not self.let_go.wait(0.05):
                handler.wfile.write(b"H")
                handler.wfile.flush()
        elif answer == "cut":
            handler.close_connection = True
        elif isinstance(answer, tuple):
            handler.send_response(answer[0])
            handler.send_header("Location", answer[1])
            handler.end_headers()
        else:
            handler.send_response(answer)
            handler.end_headers()


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                listener.answer(self)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    listener.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield listener
    finally:
        listener.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """One that answers; waits between tries are short, and no proxy stands between."""
    monkeypatch.setattr(webhooks, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with listening() as found:
        yield found


def test_the_record_is_posted_as_json(folder, listener):
    record = run_text(folder, SVD + HOOK.format(listener.address))
    ((request, head, body),) = listener.got
    assert request == "POST /hook/secret"
    assert head["Content-Type"] == "application/json"
    assert head["User-Agent"].startswith("streamsvd/")
    told = json.loads(body)
    assert (told["pipeline"], told["status"], told["number"]) == ("p", "done", record.number)


def test_what_fails_twice_is_told_the_third_time(folder, listener):
    listener.answers = [503, "cut", 200]
    run_text(folder, SVD + HOOK.format(listener.address) + "retries = 2\n")
    assert [request for request, _, _ in listener.got] == ["POST /hook/secret"] * 3
    assert len({body for _, _, body in listener.got}) == 1


def test_waits_grow(listener, monkeypatch):
    waits = []
    monkeypatch.setattr(webhooks.time, "sleep", waits.append)
    listener.answers = [503] * 5
    said = webhooks.post(f"{listener.address}/x", b"{}", seconds=60, retries=4)
    assert said == "answered 503 Service Unavailable"
    assert waits == [0.01, 0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    ("answers", "retries", "tries", "said"),
    [
        ([500, 500], 1, 2, "answered 500 Internal Server Error"),
        ([500], 0, 1, "answered 500 Internal Server Error"),
        ([404], 5, 1, "answered 404 Not Found"),
        (["cut", "cut"], 1, 2, "could not be reached: "),
    ],
)
def test_what_fails_is_a_warning(folder, listener, answers, retries, tries, said):
    listener.answers = answers
    text = SVD + HOOK.format(listener.address) + f"retries = {retries}\n"
    with pytest.warns(UserWarning, match=rf"the notice to {listener.address} {said}.*The run is as it was recorded\.") as caught:  # fmt: skip
        record = run_text(folder, text)
    assert record.status == "done"
    assert len(listener.got) == tries
    assert not any("secret" in str(w.message) for w in caught)


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_what_hangs_holds_a_run_no_longer_than_its_limit(folder, listener, answer):
    listener.answers = [503, answer, answer]
    text = SVD + HOOK.format(listener.address) + "retries = 9\nseconds = 0.7\n"
    began = time.monotonic()
    with pytest.warns(
        UserWarning, match=r"did not answer within 0\.7 seconds|could not be reached: timed out"
    ):
        record = run_text(folder, text)
    assert time.monotonic() - began < 60  # and not the two minutes for which it hangs
    assert record.status == "done"


def test_no_try_begins_that_would_end_after_the_limit(listener, monkeypatch):
    monkeypatch.setattr(webhooks, "FIRST_WAIT_S", 100.0)
    listener.answers = [503]
    assert webhooks.post(f"{listener.address}/x", b"{}", seconds=50, retries=9).startswith(
        "answered 503"
    )
    assert len(listener.got) == 1


@pytest.mark.parametrize("code", [302, 307])
def test_a_redirect_is_not_followed(folder, listener, code):
    with listening() as other:
        listener.answers = [(code, f"{other.address}/elsewhere")]
        words = rf"sends on to {other.address} \({code}\), which is not followed"
        with pytest.warns(UserWarning, match=words):
            run_text(folder, SVD + HOOK.format(listener.address) + "retries = 3\n")
        assert other.got == []
    assert len(listener.got) == 1


def test_nobody_there_is_a_warning(folder, listener):
    with listening() as gone:
        address = gone.address
    with pytest.warns(UserWarning, match=rf"the notice to {address} could not be reached: "):
        assert run_text(folder, SVD + HOOK.format(address)).status == "done"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "ftp://host is neither http nor https"),
        ("file:///etc/passwd", "file:// is neither http nor https"),
        ("host/x", "'host/x' is neither http nor https"),
        ("", "'' is neither http nor https"),
        ("http://", "http:// names no host"),
        ("http://:80/x", "http://:80 names no host"),
        ("http://host:0/", "http://host:0 names no host"),
        ("http://host:99999/", "http://host:99999 is no address: Port out of range 0-65535"),
        ("http://me:secret@host/", "http://host has a user or a password, which is not sent"),
        ("http://host/a b", "http://host has characters that no address has"),
        ("http://host/ä", "http://host has characters that no address has"),
    ],
)
def test_what_is_no_address_is_refused_in_words(folder, url, said):
    text = SVD + f'[[notify]]\nurl = "{url}"\n'
    found = refusal(folder, text)
    assert found.startswith(said)
    assert " - at $.notify[0].url. Write it as http://HOST:PORT/PATH or https://HOST/PATH." in found
    assert "secret" not in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('url = "http://h"\ncommand = ["true"]', "a notice has a command or a url, found both - at $.notify[0]. Write two notices."),
        ('url = "http://h"\nretries = -1', "retries=-1 is out of range - at $.notify[0].retries. Pass 0 to 20."),
        ('url = "http://h"\nretries = 21', "retries=21 is out of range - at $.notify[0].retries. Pass 0 to 20."),
        ('url = "http://h"\nseconds = 0', "seconds=0 leaves it no limit of time - at $.notify[0].seconds. Pass a number above 0."),
        ('command = ["true"]\nretries = 1', "retries=1 is of addresses, and a command is run once - at $.notify[0].retries. Leave it out."),
        ("", 'there is no command - at $.notify[0].command. Write its words, such as ["mail", "-s", "run", "me"].'),
        ('url = "${NO_SUCH_HOOK}"', "the environment has no variable NO_SUCH_HOOK - at $.notify[0].url."),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_words(folder, words, said):
    assert refusal(folder, SVD + f"[[notify]]\n{words}\n").startswith(said)
