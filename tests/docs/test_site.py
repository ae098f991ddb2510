"""The site: links that leave docs/ lead somewhere, the reference has every public name, and nothing is asked of another machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import streamsvd
from streamsvd.cli import commands
from streamsvd.verbs import VERBS
from tools import pages

ROOT = pages.ROOT
LOADING = {
    "link": "href",
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
"""Attributes by which a page makes a browser load something."""
NUMBER = re.compile(r"(?<![\d^.-])\d+\.\d+(?:e-\d+)?")


@pytest.mark.parametrize(
    ("page", "link", "place"),
    [
        ("docs/svd.md", "memory.md", "memory.md"),
        ("docs/svd.md", "../benchmarks/RESULTS.md", "measurements.md"),
        ("docs/uses/climate.md", "../../benchmarks/RESULTS.md", "../measurements.md"),
        ("docs/pipelines.md", "../pipelines/climate-eof.toml", "files/pipelines/climate-eof.toml/index.md"),
        ("docs/pipelines.md", "../pipelines", "files/pipelines/index.md"),
        ("docs/uses/nightly.md", "../pipelines.md", "../pipelines.md"),
        ("docs/uses/climate.md", "../notebooks/climate.ipynb", "../notebooks/climate.md"),
        ("docs/design.md", "../README.md", "index.md"),
        ("CONTRIBUTING.md", "docs/design.md", "design.md"),
        ("benchmarks/README.md", "RESULTS.md", "measurements.md"),
        ("docs/svd.md", "not-there.md", "not-there.md"),
        ("docs/svd.md", "../../outside.md", "../../outside.md"),
    ],
)  # fmt: skip
def test_a_link_of_the_repository_leads_to_the_page_of_the_site(page, link, place):
    assert pages.relink(f"see [it]({link}#there) and `f[0](x)`", page) == (
        f"see [it]({place}#there) and `f[0](x)`"
    )


def test_addresses_and_anchors_stay_as_they_are():
    text = "[a](http://127.0.0.1/x.md) [b](#below) [c](mailto:somebody)"
    assert pages.relink(text, "docs/svd.md") == text


def test_bars_in_the_code_of_a_table_are_as_mkdocs_wants_them():
    assert pages.plain_bars("| `\\|x\\|` | a \\| b |\n`\\|`") == "| `|x|` | a \\| b |\n`\\|`"


def test_every_file_to_which_a_page_leads_has_a_page():
    texts = {
        f"docs/{each.relative_to(ROOT / 'docs').as_posix()}": each.read_text(encoding="utf-8")
        for each in ROOT.glob("docs/**/*.md")
    }
    found = list(pages.file_pages(texts))
    assert len(found) == len(set(found))
    assert {f"pipelines/{file.name}" for file in (ROOT / "pipelines").iterdir()} <= set(found)
    for path in found:
        assert pages.file_page(path).startswith(f"# `{path}`\n")


def test_the_nav_names_every_page_that_is_there():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    there = {each.relative_to(ROOT / "docs").as_posix() for each in ROOT.glob("docs/**/*.md")}
    there |= {f"notebooks/{each.stem}.md" for each in ROOT.glob("docs/notebooks/*.ipynb")}
    there |= set(pages.WHOLE_PAGES.values()) | {
        f"reference/{family}.md" for family in pages.FAMILIES
    }
    placed = list(pages.places(nav))
    assert len(placed) == len(set(placed))
    assert set(placed) <= there | {"reference/commands.md"}


def test_a_page_that_nobody_placed_comes_at_the_end(tmp_path):
    for name in ("index.md", "uses/new.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Page\n")
    config = SimpleNamespace(docs_dir=str(tmp_path), nav=[{"Start": [{"Home": "index.md"}]}])
    pages.on_config(config)
    assert config.nav[1:] == [{"More": ["uses/new.md"]}]


def test_the_reference_has_every_public_name_once():
    text = "\n".join(pages.reference_pages().values())
    placed = re.findall(r"^::: streamsvd\.(\w+)$", text, re.M)
    assert len(placed) == len(set(placed))
    assert set(streamsvd.__all__) | {
        "IncrementalPCA",
        "KernelRidge",
        "Nystroem",
        "TruncatedSVD",
    } == set(placed)
    for family, names in pages.BESIDE.items():
        page = pages.reference_pages()[f"reference/{family}.md"]
        assert [name for name in names if f"::: streamsvd.{name}\n" in page] == list(names)


def test_the_reference_has_every_option_with_its_sentence():
    text = "\n".join(pages.reference_pages().values())
    for verb in VERBS.values():
        record = verb.resolve("options")
        assert f"The record `{record.__name__}`:" in text
        for f in fields(record):
            row = re.search(rf"^\| `{f.name}` \| .+ \| (.+) \|$", text, re.M)
            assert row, (record.__name__, f.name)


def test_the_help_of_every_command_is_there():
    text = pages.command_page()
    for name in commands.VERBS:
        assert f"\n## `streamsvd {name}`\n" in text
    assert "\n## `streamsvd krr predict`\n" in text
    assert "Usage: streamsvd svd [OPTIONS] SOURCE" in text


@pytest.mark.parametrize(
    ("page", "begin"), [("comparison.md", "## Passes"), ("uses/gpu.md", "## Is it worth it?")]
)
def test_every_figure_stands_in_the_measurements(page, begin):
    results = set(NUMBER.findall((ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")))
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(begin)[2]
    figures = [
        n for line in text.splitlines() if line.startswith("|") for n in NUMBER.findall(line)
    ]
    assert len(figures) > 5
    assert set(figures) <= results


# The site itself ------------------------------------------------------------------------------------------


class Loads(HTMLParser):
    """What a page makes a browser load, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found["id"] or ""} if "id" in found else set()
        if address := found.get(LOADING.get(tag, "")):
            self.addresses.append(address)


def test_what_a_page_loads_is_seen():
    page = Loads(
        '<img src="//127.0.0.1/a.png"><a href="http://127.0.0.1"></a><p id="here"><script src="x.js"></script>'
    )
    assert page.addresses == ["//127.0.0.1/a.png", "x.js"]
    assert page.anchors == {"here"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built strictly from a copy of what it is made of."""
    for package in ("material", "mkdocstrings_handlers", "nbconvert"):
        pytest.importorskip(package, reason="pip install --group docs")
    root = tmp_path_factory.mktemp("site of docs")
    for name in ("docs", "tools", "streamsvd", "pipelines", "benchmarks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "mkdocs.yml",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "LICENSE",
    ):
        shutil.copy(ROOT / name, root)
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(root / "built"),
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return root / "built"


@pytest.mark.slow
def test_no_page_asks_another_machine(site):
    html = sorted(site.rglob("*.html"))
    assert len(html) > 40
    for file in html:
        for address in Loads(file.read_text(encoding="utf-8")).addresses:
            assert not re.match(r"([a-z]+:)?//", address), (file.name, address)
    for file in site.rglob("*.css"):
        for address in re.findall(
            r"(?:url\(|@import )[\"']?([^\"')]+)", file.read_text(encoding="utf-8")
        ):
            assert not re.match(r"([a-z]+:)?//", address), (file.name, address)


@pytest.mark.slow
def test_every_public_name_and_every_command_has_a_place(site):
    anchors = {
        anchor
        for file in site.glob("reference/*.html")
        for anchor in Loads(file.read_text(encoding="utf-8")).anchors
    }
    assert {f"streamsvd.{name}" for name in streamsvd.__all__} <= anchors
    assert {f"streamsvd-{name}" for name in commands.VERBS} <= anchors


@pytest.mark.slow
def test_docstrings_are_as_markdown_wants_them(site):
    text = (site / "reference" / "factor.html").read_text(encoding="utf-8")
    explained = re.findall(r"<b><code>column_weights</code></b>\s*\(<code>(?:<[^>]+>)*(\w+)", text)
    assert len(explained) == 4  # of svd, pca and their plans
    assert set(explained) == {"Weights"}  # not the type of the first that the sentence explains
    assert ".. [1]" not in text
    assert "Musco" in text


@pytest.mark.slow
def test_what_pages_load_is_there(site):
    for file in site.rglob("*.html"):
        for address in Loads(file.read_text(encoding="utf-8")).addresses:
            place = address.partition("?")[0].partition("#")[0]
            if file.name != "404.html" and place and not place.startswith("data:"):
                assert (file.parent / place).exists(), (file.name, address)
