"""Pages of a server: what they say is escaped, and nothing but reports below the folder is read, whatever is asked."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamsvd.errors import StoreError
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.records import RunLog
from streamsvd.pipelines.serving.duties import DutyState
from streamsvd.pipelines.serving.pages import index_page
from streamsvd.pipelines.serving.web import pages
from tests.pipelines.kit import SVD, run_text, write, write_matrix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


SECRET = b"<p>secret</p>"


class Browser:
    """Asks one server, in the very words it is told."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname == "127.0.0.1"
        self.host, self.port = parts.hostname, parts.port

    def ask(
        self, path: str, method: str = "GET", host: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def send(self, words: bytes) -> bytes:
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            found = b""
            with suppress(OSError):  # it need not hear out what is too long
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    found += part
        return found


@pytest.fixture
def browser(folder: Path, tmp_path: Path) -> Iterator[Browser]:
    """Of a folder with reports, beside and in which lies what must not be read."""
    (tmp_path / "secret.html").write_bytes(SECRET)
    (folder / "report.html").write_bytes(b"<p>report</p>")
    (folder / "deep er").mkdir()
    (folder / "deep er" / "a%2e.html").write_bytes(b"<p>deep</p>")
    (folder / "secret.toml").write_bytes(SECRET)
    (folder / ".secret.html").write_bytes(SECRET)
    (folder / ".git").mkdir()
    (folder / ".git" / "secret.html").write_bytes(SECRET)
    (folder / "link.html").symlink_to("../secret.html")
    (folder / "own.html").symlink_to("secret.toml")
    (folder / "out").symlink_to("..")
    (folder / "folder.html").mkdir()
    os.mkfifo(folder / "pipe.html")
    with pages(folder, lambda: "<p>index</p>", 0) as address:
        yield Browser(address)


def test_reports_and_the_index_are_served(browser):
    status, head, body = browser.ask("/")
    assert (status, body) == (200, b"<p>index</p>")
    assert head["content-security-policy"].startswith("default-src 'none'; base-uri")
    assert "unsafe" not in head["content-security-policy"]
    status, head, body = browser.ask("/report.html?x=1#y")
    assert (status, body, head["content-length"]) == (200, b"<p>report</p>", "13")
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in head["content-security-policy"]  # fmt: skip
    assert browser.ask("/deep%20er/a%252e.html")[2] == b"<p>deep</p>"
    for path in ("/", "/report.html", "/none.html"):
        head = browser.ask(path)[1]
        assert head["cache-control"] == "no-store"
        assert head["x-content-type-options"] == "nosniff"
        assert head["server"] == "streamsvd"
        status, same, body = browser.ask(path, "HEAD")
        assert body == b""
        assert {k: v for k, v in same.items() if k != "date"} == {
            k: v for k, v in head.items() if k != "date"
        }


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/%2E%2E%2Fsecret.html",
        "/..%2fsecret.html",
        "/%252e%252e/secret.html",
        "/..%5csecret.html",
        "/..\\secret.html",
        "/deep%20er/../../secret.html",
        "/deep%20er/%2e%2e/%2e%2e/secret.html",
        "/out/secret.html",
        "/link.html",
        "/own.html",
        "/.secret.html",
        "/.git/secret.html",
        "/secret.toml",
        "/secret.toml%00.html",
        "/secret.toml/.html",
        "//secret.html",
        "///secret.html",
        "/./secret.html",
        "/report.html/",
        "/report.html/secret.html",
        "/folder.html",
        "/pipe.html",
        "/p.runs",
        "/none.html",
        "/%ff.html",
        "/a%0d%0aX-Bad:%20yes.html",
        "/" + "a" * 300 + ".html",
        "/" + "a/" * 3000 + "b.html",
        "http://127.0.0.1/../secret.html",
        "*",
        "secret.html",
    ],
)
def test_no_path_leaves_the_folder(browser, tmp_path, path):
    status, head, body = browser.ask(path)
    assert status == 404
    assert body == b"there is no such page\n"
    assert "x-bad" not in head
    assert b"secret" not in body


def test_an_absolute_path_leads_nowhere(browser, tmp_path):
    for path in (
        f"{tmp_path}/secret.html",
        f"/{tmp_path}/secret.html",
        f"/%2f{tmp_path}/secret.html",
    ):
        assert browser.ask(path.replace(" ", "%20"))[0] == 404


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
)
def test_nothing_can_be_changed(browser, folder, method):
    status, head, _ = browser.ask("/report.html", method)
    assert (status, head["allow"]) == (405, "GET, HEAD")
    assert (folder / "report.html").read_bytes() == b"<p>report</p>"


def test_a_name_of_another_for_this_machine_is_refused(browser):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        status, _, body = browser.ask("/report.html", host=host)
        assert (status, body) == (421, b"no such host here\n")
    for host in (
        "localhost",
        f"localhost:{browser.port}",
        f"127.0.0.1:{browser.port}",
        "[::1]:80",
        "[::1]",
    ):
        assert browser.ask("/report.html", host=host)[0] == 200


@pytest.mark.parametrize(
    "words",
    [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\0\xff\xfe\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000, b"BREW / HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_nonsense_ends_no_server(browser, words):
    assert b"Traceback" not in browser.send(words)
    assert browser.ask("/report.html")[0] == 200


def test_it_listens_on_the_loopback_alone(folder):
    with pages(folder, str, 0) as address:
        assert address.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_refused_in_words(folder):
    with (
        pages(folder, str, 0) as address,
        pytest.raises(StoreError, match=r"port=\d+ of 127.0.0.1 cannot be served: Address already in use. Pass another port, or 0"),
        pages(folder, str, urlsplit(address).port),
    ):  # fmt: skip
        pass


def state_of(pipeline, **more: object) -> DutyState:
    return DutyState(
        pipeline,
        datetime(2026, 11, 29, 3, tzinfo=UTC),
        **{"is_running": False, "trouble": ""} | more,
    )


def test_the_index_says_how_each_pipeline_is(folder):
    pipeline = write(folder, SVD)
    page = index_page([state_of(pipeline)], folder)
    assert "<td>p</td><td>no run yet</td>" in page
    assert "<td>2026-11-29T03:00:00+00:00</td>" in page
    record = run_text(folder, SVD)
    page = index_page([state_of(pipeline)], folder)
    assert f"<td>p</td><td>done</td><td>{record.started}</td>" in page
    assert "<td>running</td>" in index_page([state_of(pipeline, is_running=True)], folder)
    RunLog(pipeline.state).begin("p", "2026-01-01T00:00:00+00:00", "0")
    assert "<td>killed</td>" in index_page([state_of(pipeline)], folder)
    with run_lock(pipeline.state):
        assert "<td>running</td>" in index_page([state_of(pipeline)], folder)


def test_what_comes_from_files_and_runs_is_escaped(folder):
    bad = "<script>alert(1)</script>"
    pipeline = write(folder, SVD)
    page = index_page([state_of(pipeline, trouble=bad + '"&')], folder)
    assert bad not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;" in page
    run_text(folder, SVD)
    (record,) = (pipeline.state / "runs").glob("*1.json")
    record.write_bytes(record.read_bytes().replace(b'"error":""', b'"error":"<b>bold</b>"'))
    page = index_page([state_of(pipeline)], folder)
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>" not in page


def test_a_record_that_is_damaged_does_not_spoil_the_index(folder):
    pipeline = write(folder, SVD)
    run_text(folder, SVD)
    (pipeline.state / "runs" / "000001.json").write_bytes(b"<b>")
    page = index_page([state_of(pipeline)], folder)
    assert "is no record of a run" in page
    assert "<b>" not in page


@dataclass(frozen=True)
class WithReport:
    """A pipeline that writes a report."""

    pipeline: object
    report: str | Path

    def __getattr__(self, name: str) -> object:
        return getattr(self.pipeline, name)


@pytest.mark.parametrize(
    ("report", "link"),
    [
        ("report.html", '<td><a href="/report.html">report</a></td>'),
        ("deep er/a&amp.html", '<td><a href="/deep%20er/a%26amp.html">report</a></td>'),
        ("none.html", ""),
        ("../secret.html", ""),
        ("link.html", ""),
        (".hidden.html", ""),
        ("report.txt", ""),
    ],
)
def test_the_index_links_to_reports_that_are_served(folder, tmp_path, report, link):
    (folder / "deep er").mkdir()
    (tmp_path / "secret.html").write_bytes(SECRET)
    for name in ("report.html", "deep er/a&amp.html", ".hidden.html", "report.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "link.html").symlink_to("report.html")
    pipeline = write(folder, SVD)
    for written in (report, folder / report):
        page = index_page([state_of(WithReport(pipeline, written))], folder)
        assert (link in page) if link else ("href" not in page)
