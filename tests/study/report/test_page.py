"""The page: complete, self-contained, escaped, well nested."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dropkit.study.analysis import Analysis, analyze
from dropkit.study.report import render
from helpers.fabricated import make_analysis, make_record, make_run

ERRORS = {"none": [0.20, 0.21, 0.22], "dropout+max-norm": [0.1, 0.11, 0.13], "l1": [0.2, 0.3, None]}
VOID = {"meta", "br", "wbr", "link", "img", "hr", "input"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "title"):
            self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(make_analysis(ERRORS)))


def test_verdict_first_then_every_section(page: Page) -> None:
    places = [
        page.text.index(part)
        for part in (
            "dropout+max-norm, the best of 2 methods, lowers the test error by",
            "Next:",
            "--tune 20",
            "diverged in 1 of 3 runs",
            "Numbers",
            "Error during training",
            "Final test error",
            "What it costs",
            "Cost, loss and calibration",
            "Reproduction",
            "seeds0, 1, 2",
        )
    ]
    assert places == sorted(places)
    assert page.open == []
    assert page.tags.count("figure") == 3
    assert page.tags.count("svg") == 2 + 2  # a panel of curves for each method but the baseline
    assert page.tags.count("table") == 2
    assert "diverged in 1 of 3" in page.text


def test_it_is_one_file_without_scripts_or_requests(page: Page) -> None:
    assert "script" not in page.tags
    assert not [link for link in page.links if not link.startswith("#")]
    text = render(make_analysis(ERRORS))
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text


def test_identifiers_are_unique_across_the_figures(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    targets = {link[1:] for link in page.links}
    assert targets <= set(page.ids)


def test_users_text_is_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    record = make_record(
        {"none": [0.2, 0.21, 0.22], evil: [0.1, 0.11, 0.13]}, name=evil, notes=(evil,)
    )
    record = replace(
        record,
        command=evil,
        environment={evil: evil},
        study=record.study | {"target": evil},
        tuned={evil: ({evil: 1.0},)},
    )
    page = Page(render(analyze(record)))
    assert "script" not in page.tags
    assert evil in page.text


@pytest.mark.parametrize(
    "analysis",
    [
        make_analysis({"none": [0.1]}),
        make_analysis({"none": [0.1], "l1": [0.2]}),
        make_analysis({"none": [None, None], "l1": [None, None]}),
        make_analysis({"none": [None, None], "l1": [0.1, 0.2]}),
        make_analysis({"none": [0.0, 0.0], "l1": [0.0, 0.0]}),
        make_analysis({"none": [3.0, 4.0], "l1": [2.0, 2.5]}, task="regression"),
        make_analysis({"none": [0.3, 0.4], "l1": [0.2, 0.5]}, task="other"),
        make_analysis({"none": [0.1, 0.2]} | {f"noise(std={i})": [0.1, 0.1] for i in range(11)}),
        make_analysis({"$x^$": [0.1, 0.2], "_hidden": [0.1, 0.3]}),
        make_analysis(
            {"none": [0.1, 0.2], "l1": [0.1, 0.1]},
            runs=[make_run("l1", 0, 0.1, val_loss=(1.0, None, 0.3, 0.2, 0.1))],
        ),
    ],
    ids=[
        "alone",
        "one seed",
        "all diverged",
        "no baseline",
        "zero",
        "regression",
        "other",
        "twelve",
        "signs",
        "gap",
    ],
)
@pytest.mark.filterwarnings("error")
def test_odd_results_render(analysis: Analysis) -> None:
    page = Page(render(analysis))
    assert page.open == []
    assert page.tags.count("figure") == 3
    assert page.tags.count("svg") == 2 + max(1, len(analysis.record.methods) - 1)
    for method in analysis.record.methods:
        assert method in page.text.replace("\n", "")


def test_the_same_results_give_the_same_page() -> None:
    assert render(make_analysis(ERRORS)) == render(make_analysis(ERRORS))
