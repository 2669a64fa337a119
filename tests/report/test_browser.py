"""The page in a real browser: it runs nothing, asks for nothing, and fits the window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paddlenlp_embtune.report import write_report
from tests.report.chromium import Browser, browser, browser_path
from tests.report.invented import write_run

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed (apt-get install chromium)")

WIDER = """
[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll > *, pre > *, svg *, details:not([open]) > *'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
  .map(e => e.outerHTML.slice(0, 120))
"""
CUT = """
[...document.querySelectorAll('figure')].filter(seen).flatMap(figure => {
  const box = figure.querySelector('svg').getBoundingClientRect();
  return [...figure.querySelectorAll('svg text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 6 || own.right > box.right + 6 || own.top < box.top - 6 || own.bottom > box.bottom + 6;
  }).map(text => text.textContent);
})
"""
DRAWN = """
[...document.querySelectorAll('figure svg')].filter(svg => {
  const box = svg.getBoundingClientRect();
  return box.width > 150 && box.height > 50 && svg.querySelectorAll('path').length > 3 && svg.querySelector('text');
}).length
"""
SMALLEST = """
Math.min(...[...document.querySelectorAll('figure svg text')].filter(seen).map(text => {
  const svg = text.closest('svg');
  return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}))
"""
SEEN = "window.seen = element => !element.closest('details:not([open])')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("browser")))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_runs_nothing_and_asks_for_nothing(width: int, page: Path, chromium: Browser) -> None:
    chromium.open(page, width=width)
    chromium.evaluate(SEEN)
    assert chromium.evaluate("innerWidth") == width
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(WIDER) == []
    assert chromium.evaluate(CUT) == []
    assert chromium.evaluate(DRAWN) == chromium.evaluate("document.querySelectorAll('figure').length") == 17
    assert chromium.evaluate(SMALLEST) >= 8
    assert chromium.evaluate("typeof hit") == "undefined"
    assert chromium.complaints() == []


def test_what_is_folded_opens_and_still_fits(page: Path, chromium: Browser) -> None:
    chromium.open(page, width=400)
    chromium.evaluate(SEEN)
    chromium.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 400
    assert chromium.evaluate(WIDER) == []
    assert chromium.evaluate(CUT) == []


def test_it_prints(page: Path, chromium: Browser, tmp_path: Path) -> None:
    chromium.open(page, width=1280)
    chromium.paper(tmp_path / "page.pdf")
    chromium.call("Emulation.setEmulatedMedia", media="print")
    assert chromium.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
