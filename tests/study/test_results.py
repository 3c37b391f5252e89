"""What a user does with the results of a study."""

from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dropkit.study import Results, StudyError
from dropkit.study.analysis import analysis
from dropkit.study.store.manifest import Manifest
from helpers.fabricated import make_record

ERRORS = {"none": [0.20, 0.21, 0.22], "l1": [0.10, 0.11, 0.13]}


@pytest.fixture
def results() -> Results:
    return Results(make_record(ERRORS, name="<b>"))


def test_printed_they_give_the_verdict_and_the_alerts(results: Results) -> None:
    headline, *_, alert = str(results).splitlines()
    assert headline.startswith("l1 lowers the test error by 9.67 points [")
    assert alert == "The test set has only 200 rows: one row changes the error by 0.50 points."
    page = results._repr_html_()
    assert headline in page
    assert "<table" in page


def test_a_table_and_a_figure(results: Results) -> None:
    table = results.table()
    assert isinstance(table, pd.DataFrame)
    assert table.loc["l1", "difference"] == pytest.approx(-0.29 / 3)
    assert isinstance(results.plot(), Figure)


def test_what_was_measured(results: Results) -> None:
    record = results.record
    for name in ("study", "data", "methods", "baseline", "runs", "tuned", "tuning"):
        assert getattr(results, name) == getattr(record, name)
    for name in ("environment", "command", "timing"):
        assert getattr(results, name) == getattr(record, name)
    assert results.of("l1") == record.of("l1")


def test_nothing_is_computed_twice(results: Results) -> None:
    with patch.object(analysis, "summarize", wraps=analysis.summarize) as summarize:
        for _ in range(2):
            str(results)
            results.table()
            results.plot()
    assert summarize.call_count == 1


def test_they_are_saved_and_loaded(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results
    assert Results.load(tmp_path) == results


def test_a_study_that_is_not_finished_has_no_results(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "results.json")
    (tmp_path / "study.toml").write_text('data = "digits"\nseeds = 2\nmethods = ["none"]\n')
    Manifest(state="incomplete", asked=2, done=0).write(tmp_path)
    with pytest.raises(StudyError, match="not finished: 0 of 2 runs are done; to resume"):
        Results.load(tmp_path)
