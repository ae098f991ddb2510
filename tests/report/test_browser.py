"""Pages in a real browser: nothing is fetched or complained of, both themes can be read, and a narrow screen need not be scrolled sideways."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import streamsvd
from streamsvd.factor.result import PCA
from streamsvd.report import write_report
from streamsvd.testing.writing import write_grid
from tests.pipelines.kit import CHAIN, grow, run_text, write_sources
from tests.promises.test_saving import BLOCKS, MAKERS
from tests.report.kinds import EVIL, factors

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install --group browser"
)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if BROWSER is None:
    pytest.skip("no chromium is on the PATH", allow_module_level=True)

KINDS = ("run", "refused", "maps", "model", "long", "rank500", "compressed", *MAKERS)
REPORT = 'report = "r.html"\n'
AIR = '[sources.air]\npath = "air.zarr"\nvariable = "t2m"\nrows = "time"\n[[steps]]\nname = "eof"\npca = {source = "air", rank = 4}\n'
WRONG = '[[checks]]\nstep = "eof"\nquantity = "captured"\nat_most = 0.1\n'
CONTRAST = """
() => {
  const parse = (c) => c.match(/[0-9.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = parse(c).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = getComputedStyle(n).backgroundColor, p = parse(c);
      if (p.length < 4 || p[3] > 0) return c;
    }
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim()) || !node.getClientRects().length) continue;
    if (["TITLE", "DESC", "SCRIPT", "STYLE"].includes(node.tagName.toUpperCase())) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node instanceof SVGElement ? style.fill : style.color), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${node.tagName} ${node.className.baseVal ?? node.className} ${node.textContent.slice(0, 40)}`];
  }
  return worst;
}
"""
"""Least contrast of any text to what is behind it, and whose that is."""
OUTSIDE = """
() => [...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((t) => {
    const box = t.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map((t) => `${svg.querySelector("title").textContent}: ${t.textContent}`);
})
"""
"""Words of drawings that stick out of them."""


def write_pages(root: Path) -> dict[str, Path]:
    """A page of everything."""
    rng = np.random.default_rng(0)
    folder = write_sources(root / "my data")
    for rows in (0, 40, 40):
        if rows:
            grow(folder / "a.zarr", rows)
        run_text(folder, REPORT + CHAIN)
    found = {"run": (folder / "r.html").rename(root / "run.html")}
    run_text(folder, REPORT + CHAIN + WRONG)
    found["refused"] = (folder / "r.html").rename(root / "refused.html")
    field = np.cumsum(np.cumsum(rng.standard_normal((60, 30, 50)), 1), 2).astype("f4")
    write_grid(folder / "air.zarr", "t2m", field, ("time", "lat", "lon"), {}, chunk=20)
    run_text(folder, REPORT + AIR, "state=air.runs")
    found["maps"] = (folder / "r.html").rename(root / "maps.html")
    for i in range(6):
        streamsvd.update(
            root / "m", rng.standard_normal((90, 40)) * 0.9 ** np.arange(40), f"b{i}", rank=5
        )
    streamsvd.compress(
        {EVIL: BLOCKS["noise"], "x" * 150: BLOCKS["noise"] + 1, **BLOCKS}, root / "c"
    )
    kept = {"model": root / "m", "compressed": root / "c"}
    for kind, makers in MAKERS.items():
        kept[kind] = makers[0]().save(root / f"{kind}.result")
    kept["long"] = factors(100_000, 3, PCA).save(root / "long.result")
    kept["rank500"] = factors(700, 500).save(root / "rank500.result")
    for kind, place in kept.items():
        found[kind] = write_report(
            place, root / f"{kind}.html", grid=(20, 35) if kind == "rank500" else None
        ).path
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, pages):
    """A page of a kind, as wide and in the colours that are asked for; what it does that it may not do fails the test."""
    contexts, faults = [], []

    def show(kind, *, width=1280, colours="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=colours
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: faults.append(f"{kind} says {m.text}"))
        page.on("pageerror", lambda e: faults.append(f"{kind} fails: {e}"))
        page.on("dialog", lambda d: faults.append(f"{kind} asks {d.message}"))
        page.on("request", lambda r: r.url == pages[kind].as_uri() or r.url.startswith("data:") or faults.append(f"{kind} fetches {r.url}"))  # fmt: skip
        page.goto(pages[kind].as_uri(), wait_until="load")
        return page

    yield show
    for context in contexts:
        context.close()
    assert not faults


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_page_can_be_read(opened, kind, colours):
    for width in (1280, 360):
        page = opened(kind, width=width, colours=colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []
        ratio, whose = page.evaluate(CONTRAST)
        assert ratio >= 4.5, whose
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('p, dd, td, h1, h2')].map((e) => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert smallest >= 12


def test_the_button_turns_the_colours(opened):
    page = opened("run")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    button = page.get_by_role("button", name="Dark colours")
    button.click()
    dark = page.evaluate(paper)
    assert dark != light
    assert opened("run", colours="dark").evaluate(paper) == dark
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate(paper) == light


def test_tables_are_sorted_by_their_heads(opened):
    page = opened("rank500")
    table = page.locator("table").first
    head = table.locator("th", has_text="width").first
    values = "(t) => [...t.tBodies[0].rows].map((r) => Number(r.cells[1].dataset.key))"
    first = table.evaluate(values)
    button = table.get_by_role("button", name="singular value")
    button.focus()
    page.keyboard.press("Enter")
    assert table.evaluate(values) == sorted(first)
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert table.evaluate(values) == sorted(first, reverse=True)
    assert button.locator("..").get_attribute("aria-sort") == "descending"
    assert head.get_attribute("aria-sort") == "none"


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened):
    page = opened("run")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(4):
        page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert page.evaluate(f"{style}.outlineStyle") != "none"
        assert page.evaluate(f"parseFloat({style}.outlineWidth)") >= 2
