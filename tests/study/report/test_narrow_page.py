"""A report on a phone, in a real browser."""

import shutil
from pathlib import Path

import pytest

from dropkit.study.report import write
from helpers.fabricated import make_analysis

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")

ERRORS = {
    "none": [0.032, 0.031, 0.036],
    "gaussian-dropout": [0.016, 0.018, 0.015],
    "dropout+max-norm": [0.021, 0.019, 0.022],
}


def test_neither_the_page_nor_its_main_table_scrolls_sideways(tmp_path: Path) -> None:
    write(make_analysis(ERRORS, constant_value=0.9), tmp_path)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 900})
        page.goto((tmp_path / "report.html").as_uri())
        widths = page.evaluate(
            "e => [e.scrollWidth, e.clientWidth]", page.query_selector(".scroll")
        )
        whole = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        browser.close()
    assert widths[0] <= widths[1]
    assert whole[0] <= whole[1]
