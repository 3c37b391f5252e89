"""The page that one can play with, in a real browser."""

import math
import shutil
from pathlib import Path

import pytest

from dropkit import explain
from dropkit.explain._page import SCRIPTS, _inside_script

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")

HERE = Path(__file__).parent
Z = 4.0  # standard deviations that a seeded frequency may be off


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return explain.write(tmp_path_factory.mktemp("page") / "dropout.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; at the end nothing may have been logged, nothing asked of a network."""
    contexts, complaints = [], []

    def open_it(width=1200, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url == address
                or request.url.startswith("data:")
                or complaints.append(request.url)
            ),
        )
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def slide(page, name, value):
    page.locator(f"#{name}").evaluate(
        "(e, value) => { e.value = value; e.dispatchEvent(new Event('input', {bubbles: true})); }",
        str(value),
    )


def number(page, name):
    return float(page.locator(f"#{name}").inner_text())


def gone(page, part):
    return page.locator(f"#thinning .{part}.gone").count()


@pytest.mark.parametrize(("p", "units", "edges"), [(0, 0, 0), (1, 10, 20 + 25 + 15)])
def test_nothing_and_everything_dropped(open_page, p, units, edges):
    page = open_page()
    slide(page, "thinning-p", p)
    page.click("#thinning-next")
    assert gone(page, "unit") == gone(page, "cross") == units
    assert gone(page, "edge") == edges
    assert page.locator("#thinning-seen").inner_text() == "1 of 1,024"


def test_dropped_units_are_drawn_and_counted(open_page):
    page = open_page()
    page.click("#thinning-next")
    dropped = page.evaluate("explain.thinning.dropped")
    assert 0 < dropped < 10
    assert gone(page, "unit") == gone(page, "cross") == dropped
    assert page.locator("#thinning-share").inner_text().startswith(f"{dropped} of 10")
    assert f"{dropped} of its 10" in page.locator("#thinning").get_attribute("aria-label")


@pytest.mark.parametrize("p", [0.2, 0.5, 0.75])
def test_the_fraction_dropped_is_within_its_binomial_bounds(open_page, p):
    page = open_page()
    slide(page, "thinning-p", p)
    for _ in range(5):
        page.click("#thinning-many")
    state = page.evaluate("({...explain.thinning, seen: explain.thinning.seen.size})")
    assert state["drawn"] == 50_000
    error = math.sqrt(p * (1 - p) / state["drawn"])
    assert abs(state["dropped"] / state["drawn"] - p) < Z * error
    assert state["seen"] <= 1024
    page.click("#thinning-reset")
    assert page.locator("#thinning-share").inner_text() == "none yet"


def test_the_example_of_weight_scaling(open_page):
    page = open_page()
    assert number(page, "scaling-trained") == 0.5
    assert number(page, "scaling-testweight") == 0.25
    assert number(page, "scaling-expected") == number(page, "scaling-scaled") == 1.0
    assert number(page, "scaling-article") == 1.0  # right at one half alone
    assert number(page, "scaling-unscaled") == 2.0
    assert page.locator("#scaling-masks li").count() == 16


@pytest.mark.parametrize("p", [0, 0.05, 0.2, 0.35, 0.6, 0.8, 0.95])
def test_scaling_by_the_keep_probability_matches_the_expectation_at_any_rate(open_page, p):
    page = open_page()
    slide(page, "scaling-p", p)
    state = page.evaluate("explain.scaling")
    assert state["chances"] == pytest.approx(1.0)
    assert state["expected"] == pytest.approx(1.0)
    assert state["scaled"] == pytest.approx(state["expected"])
    assert state["article"] == pytest.approx(p / (1 - p))
    wrong = "off" in (page.locator("#scaling-article").get_attribute("class") or "")
    assert wrong == (p != 0.5)


def test_scaling_when_nothing_is_kept(open_page):
    page = open_page()
    slide(page, "scaling-p", 1)
    assert number(page, "scaling-expected") == number(page, "scaling-scaled") == 0.0
    assert "nothing is ever kept" in page.locator("#scaling-said").inner_text()


def test_recorded_runs_are_shown_with_their_budget_and_origin(open_page):
    page = open_page()
    text = " ".join(page.locator("main").inner_text().split())
    for name in ("figure-4", "figure-7"):
        assert f"dropkit reproduce {name} --budget" in text
    assert text.count("budget: ") >= 2
    assert page.locator("#curves path").count() == 12
    assert page.locator("figure img").count() == 2
    widths = page.eval_on_selector_all("figure img", "all => all.map(i => i.naturalWidth)")
    assert min(widths) > 200
    first = page.locator("#curves-with").inner_text()
    page.locator("#curves-at").focus()
    page.keyboard.press("Home")
    assert page.locator("#curves-with").inner_text() != first


def test_gradients_of_the_net_in_the_page(open_page):
    """Backpropagation by hand against finite differences, with the same mask."""
    page = open_page()
    worst = page.evaluate((HERE / "gradients.js").read_text(encoding="utf-8"))
    assert worst < 1e-6


def test_training_in_the_page_shows_overfitting(open_page):
    page = open_page()
    before = page.evaluate("structuredClone(explain.training.errors)")
    page.evaluate("explain.train(3000)")
    errors = page.evaluate("explain.training.errors")
    assert errors["without"]["train"] < before["without"]["train"]
    assert errors["without"]["train"] < errors["with"]["train"]
    # 600 test points of which the nets get 14 % and 5 % wrong: seeded, so exact at every visit.
    assert errors["with"]["test"] < errors["without"]["test"] - 0.03
    page.click("#training-reset")
    assert page.evaluate("explain.training.errors") == before


def test_training_starts_and_pauses_by_keyboard(open_page):
    page = open_page()
    page.locator("#training-play").focus()
    page.keyboard.press("Enter")
    assert page.locator("#training-play").inner_text() == "Pause"
    page.wait_for_function("explain.training.updates > 0")
    page.keyboard.press("Space")
    assert page.locator("#training-play").inner_text() == "Train"
    assert "test error" in page.locator("#training-said").inner_text()


def test_every_control_is_reached_by_tab_and_has_a_name(open_page):
    page = open_page()
    controls = page.locator("a[href^='#'], button, input").count()
    reached = []
    for _ in range(controls):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.hash"))
    assert len(set(reached)) == controls
    unnamed = page.eval_on_selector_all(
        "input", "all => all.filter(i => !i.labels.length).map(i => i.id)"
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [320, 360, 768, 1400])
def test_no_width_scrolls_sideways(open_page, width):
    page = open_page(width=width, height=740)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    ratios = page.evaluate((HERE / "contrast.js").read_text(encoding="utf-8"))
    assert min(ratios) > 4.5


def test_the_page_is_one_file_of_its_own():
    html = explain.page()
    assert "<script src" not in html
    assert '<link rel="stylesheet' not in html
    assert all('"use strict";' in html for _ in SCRIPTS)
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html


def test_numbers_cannot_end_their_script():
    assert "</script>" not in _inside_script([{"name": "</script><script>alert(1)"}])


def test_writing_into_a_folder(tmp_path):
    assert explain.write(tmp_path) == tmp_path / "dropout.html"
    assert (tmp_path / "dropout.html").read_text(encoding="utf-8") == explain.page()
