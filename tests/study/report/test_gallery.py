"""The gallery: what a report says of typical outcomes, as the documentation shows it."""

from pathlib import Path

import pytest

from dropkit.study.analysis import analyze
from dropkit.study.record import Record
from dropkit.study.report import render
from helpers.outcomes import make_outcomes

PAGE = Path(__file__).parents[3] / "docs" / "gallery.md"
OUTCOMES = make_outcomes()


def describe(name: str, record: Record) -> str:
    """An outcome as the page has it."""
    verdict = analyze(record).verdict
    lines = [f"## {name}", "", f"> **{verdict.headline}**"]
    for line in verdict.details:
        lines += [">", f"> {line}"]
    lines += [">", f"> Next: {verdict.step.text}"]
    command = ["", "```sh", verdict.step.command, "```"] if verdict.step.command else []
    return "\n".join([*lines, *command])


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_gallery_page_is_up_to_date(name: str) -> None:
    assert describe(name, OUTCOMES[name]) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Not learned", "Rows twice"])
def test_a_void_comparison_has_a_report(name: str) -> None:
    analysis = analyze(OUTCOMES[name])
    assert analysis.verdict.headline in render(analysis)
