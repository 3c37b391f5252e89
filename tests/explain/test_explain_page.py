"""The page that one can play with, in a real browser."""

import json
import math
import shutil
from pathlib import Path
from statistics import fmean

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


def test_dropped_units_are_drawn_and_counted_from_the_first_update_on(open_page):
    page = open_page()  # which has made one update, so that there is something to see
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
    bar = float(page.locator("#thinning-bar").get_attribute("width"))
    assert bar == pytest.approx(300 * state["dropped"] / state["drawn"])
    page.click("#thinning-reset")
    assert page.locator("#thinning-share").inner_text() == "none yet"


def test_the_latest_updates_are_drawn_a_column_each(open_page):
    page = open_page()
    slide(page, "thinning-p", 1)
    for updates in (1, 2):
        page.click("#thinning-next")
        squares = page.locator("#thinning-dropped").get_attribute("d").count("M")
        assert squares == 10 * updates
    assert page.locator("#thinning-kept").get_attribute("d") == ""
    page.click("#thinning-many")
    assert page.locator("#thinning-dropped").get_attribute("d").count("M") == 10 * 40


def test_the_example_of_weight_scaling(open_page):
    page = open_page()
    assert number(page, "scaling-inverted") == number(page, "scaling-testweightInverted") == 0.25
    assert number(page, "scaling-factor") == 2.0
    assert number(page, "scaling-expectedInverted") == number(page, "scaling-scaledInverted") == 1.0
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
    assert state["expectedInverted"] == pytest.approx(1.0)
    assert state["scaledInverted"] == pytest.approx(state["expectedInverted"])
    assert state["factor"] == pytest.approx(1 / (1 - p))
    assert state["article"] == pytest.approx(p / (1 - p))
    wrong = "off" in (page.locator("#scaling-article").get_attribute("class") or "")
    assert wrong == (p != 0.5)


def test_scaling_when_nothing_is_kept(open_page):
    page = open_page()
    slide(page, "scaling-p", 1)
    assert number(page, "scaling-expected") == number(page, "scaling-scaled") == 0.0
    assert number(page, "scaling-expectedInverted") == 0.0
    for undefined in ("trained", "inverted", "factor", "scaledInverted", "unscaled", "article"):
        assert page.locator(f"#scaling-{undefined}").inner_text() == "–"
    assert "NaN" not in page.locator("main").inner_text()
    assert "no unit is ever kept" in page.locator("#scaling-said").inner_text()


def recorded(name):
    file = Path(explain.__file__).parent / "recorded" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["figure-4", "figure-7"])
def test_recorded_runs_are_shown_with_their_budget_and_origin(open_page, name):
    text = " ".join(open_page().locator("main").inner_text().split())
    run = recorded(name)
    assert f"budget: {run['budget']}. {run['statement']} {run['command']}, {run['date']}" in text
    assert run["environment"]["processor"] in text
    for check in run["checks"]:
        shown = f"{check['what']} {check['measured']:.3g}, paper {check['paper']}"
        assert f"{shown}: {check['verdict']}" in text


def test_recorded_features_are_shown(open_page):
    pictures = open_page().locator("figure img")
    widths = pictures.evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 200


def test_curves_are_read_by_keyboard(open_page):
    page = open_page()
    curves = recorded("figure-4")["curves"]
    assert page.locator("#curves path").count() == len(curves)
    page.locator("#curves-at").focus()
    for key, at in (("End", -1), ("Home", 0)):
        page.keyboard.press(key)
        mean = fmean(curve["y"][at] for curve in curves if curve["group"] == "dropout")
        text = page.locator("#curves-with").inner_text()
        # JavaScript may round a mean in the middle of two hundredths the other way.
        assert float(text.removesuffix(" %")) == pytest.approx(mean, abs=0.0051)
        said = page.locator("#curves-at").get_attribute("aria-valuetext")
        assert said.startswith(f"{curves[0]['x'][at]:,} updates: mean error {text}")
        shown = page.locator("#curves-rows td").all_inner_texts()
        assert sorted(shown) == sorted(f"{curve['y'][at]:.2f} %" for curve in curves)


def test_a_curve_is_read_by_pointing_at_it(open_page):
    page = open_page()
    worst = max(recorded("figure-4")["curves"], key=lambda curve: curve["y"][-1])
    lines = page.locator("#curves")
    lines.scroll_into_view_if_needed()
    page.locator("#curves-at").focus()
    page.keyboard.press("Home")
    # Just above the curve that ends highest, no other is nearer.
    end = page.evaluate(
        """() => {
          const ends = [...document.querySelectorAll("#curves path")].map((path) => {
            const at = path.getPointAtLength(path.getTotalLength());
            const { x, y } = at.matrixTransform(path.getScreenCTM());
            return [y, x];
          });
          return ends.sort((a, b) => a[0] - b[0])[0];
        }"""
    )
    page.mouse.move(end[1], end[0] - 3)
    assert page.locator("#curves-updates").inner_text() == f"{worst['x'][-1]:,}"
    assert page.locator("#curves-rows td.near").all_inner_texts() == [f"{worst['y'][-1]:.2f} %"]
    assert page.locator("#curves path.near").count() == 1
    page.mouse.move(0, 0)
    assert page.locator("#curves path.near").count() == 0


def test_gradients_of_the_net_in_the_page(open_page):
    """Backpropagation by hand against finite differences, with the same mask."""
    page = open_page()
    worst = page.evaluate((HERE / "gradients.js").read_text(encoding="utf-8"))
    assert worst < 1e-6


def test_training_in_the_page_shows_overfitting(open_page):
    page = open_page()
    early = page.evaluate("structuredClone(explain.training.errors)")
    page.evaluate("explain.train(1800)")
    late = page.evaluate("structuredClone(explain.training.errors)")
    # Without dropout the test error grows while the training error falls.
    assert late["without"]["train"] < early["without"]["train"]
    assert late["without"]["test"] > early["without"]["test"]
    assert late["without"]["train"] < late["with"]["train"]
    # Both nets answer the same 600 points: seeded, and the gap is several standard errors wide.
    gap = late["without"]["test"] - late["with"]["test"]
    shares = (late["without"]["test"], late["with"]["test"])
    assert gap > 2 * math.sqrt(sum(share * (1 - share) for share in shares) / 600)
    page.click("#training-reset")
    page.evaluate("explain.train(200)")
    assert page.evaluate("explain.training.errors") == early


def test_the_same_points_come_at_every_visit_and_others_when_asked_for(open_page):
    errors = []
    for others in (0, 0, 1):
        page = open_page()
        for _ in range(others):
            page.click("#training-other")
        page.click("#training-step")
        errors.append(page.evaluate("explain.training.errors"))
    assert errors[0] == errors[1] != errors[2]


@pytest.mark.parametrize(("control", "value"), [("training-p", 0.8), ("training-noise", 0.3)])
def test_training_starts_again_where_a_setting_changes(open_page, control, value):
    page = open_page()
    page.click("#training-step")
    assert page.locator("#training-updates").inner_text() == "300"
    slide(page, control, value)
    assert page.locator("#training-updates").inner_text() == "0"
    assert page.locator(f"#{control}-shown").inner_text() == f"{value:.2f}"


def test_without_dropping_both_nets_stay_equal(open_page):
    page = open_page()
    slide(page, "training-p", 0)
    page.evaluate("explain.train(100)")
    errors = page.evaluate("explain.training.errors")
    assert errors["without"] == errors["with"]


def test_training_starts_and_pauses_by_keyboard(open_page):
    page = open_page()
    page.locator("#training-play").focus()
    page.keyboard.press("Enter")
    assert page.locator("#training-play").inner_text() == "Pause"
    page.wait_for_function("explain.training.updates > 200")
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


def test_reduced_motion_moves_nothing(open_page):
    for motion, still in (("reduce", True), ("no-preference", False)):
        page = open_page(reduced_motion=motion)
        moved = page.locator("#thinning .unit").first.evaluate(
            "unit => getComputedStyle(unit).transitionDuration"
        )
        assert (moved == "0s") == still


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    ratios = page.evaluate((HERE / "contrast.js").read_text(encoding="utf-8"))
    assert min(ratios) > 4.5


def test_the_page_is_one_file_of_its_own():
    html = explain.page()
    assert "<script src" not in html
    assert '<link rel="stylesheet' not in html
    folder = Path(explain.__file__).parent
    for name in (*SCRIPTS, "style.css"):
        assert (folder / name).read_text(encoding="utf-8") in html
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html


def test_numbers_cannot_end_their_script():
    assert "</script>" not in _inside_script([{"name": "</script><script>alert(1)"}])


def test_writing_into_a_folder(tmp_path):
    assert explain.write(tmp_path) == tmp_path / "dropout.html"
    assert (tmp_path / "dropout.html").read_text(encoding="utf-8") == explain.page()
