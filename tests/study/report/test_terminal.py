"""The terminal table and the files beside the page."""

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from dropkit.study.analysis import Analysis
from dropkit.study.analysis.table import tabulate
from dropkit.study.record import Measure
from dropkit.study.report import show, write
from dropkit.study.report.files import to_csv
from helpers.fabricated import make_analysis, make_record, make_run

ERRORS = {"none": [0.20, 0.21, 0.22], "dropout+max-norm": [0.1, 0.11, 0.13], "l1": [0.2, 0.3, None]}


def shown(analysis: Analysis, width: int = 80) -> str:
    out = io.StringIO()
    show(analysis, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def test_the_verdict_comes_first_and_every_method_has_a_line() -> None:
    text = shown(make_analysis(ERRORS), width=120)
    assert text.startswith("dropout+max-norm, the best of 2 methods, lowers the test error by 9.67")
    lines = text.splitlines()
    for method in ("baseline", *list(ERRORS)[1:]):
        assert any(line.startswith(method) for line in lines[1:])
    assert "(1 of 3 diverged)" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_nothing_is_cut_off(width: int) -> None:
    long = "dropout(p=0.3,input=0.1)+max-norm(c=2)"
    text = shown(make_analysis({**ERRORS, long: [0.1, 0.2, 0.3]}), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert re.search(r"−9.67 ±\d+\.\d\d", text) or width < 80
    column = "".join(line.split(" ")[0] for line in text.splitlines())
    assert long in column  # broken between its parts, but whole


def test_a_usual_table_fits_80_columns_unfolded() -> None:
    text = shown(
        make_analysis({"none": [0.02, 0.03, 0.031], "dropout+max-norm": [0.01, 0.02, 0.018]})
    )
    rows = [
        line for line in text.splitlines() if line.startswith(("baseline ", "dropout+max-norm "))
    ]
    assert sum(row.rstrip().endswith("×") for row in rows) == 4  # in two tables


def test_a_detectable_difference_is_marked_without_colour() -> None:
    text = shown(make_analysis({**ERRORS, "noise": [0.4, 0.42, 0.41]}))
    lines = text.partition("reached")[0].splitlines()
    mark = {line.split()[0]: line for line in lines[1:] if line.split()}
    assert "▼" in mark["dropout+max-norm"]
    assert "▲" in mark["noise"]
    assert not {"▼", "▲"} & set(mark["l1"] + mark["baseline"])


def test_the_price_is_counted_until_the_baselines_best() -> None:
    # The baseline reaches its best validation error in its third epoch, and takes 0.4 s for each.
    late = (0.9, 0.9)
    curves = {"all": [()] * 3, "most": [(), (), late], "one": [(), late, late], "no": [late] * 3}
    runs = [
        make_run(name, seed, 0.1, val_loss=losses or (0.9, 0.4), seconds=1 + seed / 5)
        for name, each in curves.items()
        for seed, losses in enumerate(each)
    ]
    text = shown(make_analysis({name: [0.1] * 3 for name in ("none", *curves)}, runs=runs))
    table = text.partition("reached")[2].partition("\n\n")[0]
    cells = [re.split("  +", line.strip()) for line in table.splitlines()[2:7]]
    assert cells == [
        ["baseline", "3 of 3 (3)", "1.00×", "1.00×", "1.00×"],
        ["all", "3 of 3 (3)", "0.67×", "1.00× ±0.41", "0.60× ±0.25"],
        ["most", "2 of 3 (3)", "1.12× ±2.22", "1.31× ±1.93", "0.60× ±0.25"],
        ["one", "1 of 3 (3)", "1.71× ±2.90", "1.79× ±2.63", "0.60× ±0.25"],
        ["no", "0 of 3 (3)", "1.67×", "1.67×", "0.60× ±0.25"],
    ]
    said = " ".join(text.split())
    assert (
        "until the validation error reaches a target, and time per step, all as multiples" in said
    )


def test_a_baseline_alone_has_no_price() -> None:
    assert "reached" not in shown(make_analysis({"none": [0.1, 0.2]}))


@pytest.mark.parametrize(
    "analysis",
    [
        make_analysis({"none": [0.1]}),
        make_analysis({"none": [None, None], "l1": [None, None]}),
        make_analysis({"none": [51234.0, 49000.0], "l1": [40100.0, 41000.0]}, task="regression"),
        make_analysis({"none": [0.1, 0.2]} | {f"noise(std={i})": [0.1, 0.1] for i in range(11)}),
    ],
    ids=["alone", "all diverged", "large", "twelve"],
)
def test_odd_results_fit_80_columns(analysis: Analysis) -> None:
    text = shown(analysis)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(method in text for method in analysis.record.methods[1:])
    assert "baseline" in text
    assert "nan" not in text
    assert "e+" not in text


def test_names_are_text_and_not_markup() -> None:
    lines = shown(make_analysis({"none": [0.1, 0.2], "[red]x[/red]": [0.1, 0.1]})).splitlines()
    assert any(line.startswith("[red]x[/red] ") for line in lines)


def test_csv_has_a_line_per_run_and_no_formula() -> None:
    record = make_record({"none": [0.25, None], "=cmd()": [0.5, 0.5]})
    rows = list(csv.DictReader(io.StringIO(to_csv(record))))
    assert len(rows) == 4
    assert rows[0]["test_error"] == "0.25"
    assert (rows[1]["status"], rows[1]["test_error"]) == ("diverged", "")
    assert rows[2]["method"] == "'=cmd()"


def test_columns_are_named_by_the_measure() -> None:
    auc = Measure("auc", "test AUC", higher_is_better=True)
    analysis = make_analysis(
        {"none": [0.70, 0.71, 0.72], "l1": [0.8, 0.81, 0.83]}, task="other", measure=auc
    )
    text = shown(analysis)
    assert "test AUC" in text
    assert "+0.103 ±0.014 ▲" in text
    assert to_csv(analysis.record).splitlines()[0].count("test_auc") == 1
    assert analysis.record.data.measure.name in tabulate(analysis)


def test_write_makes_both_files(tmp_path: Path) -> None:
    write(make_analysis(ERRORS), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "results.csv"]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((f"{sign}cmd()", f"'{sign}cmd()") for sign in "=+-@\t"),
        ("\r=cmd()", "\\r=cmd()"),  # some take it for the end of a line
        ("a\r=cmd()", "a\\r=cmd()"),
    ],
)
def test_no_name_begins_a_formula(name: str, cell: str) -> None:
    text = to_csv(make_record({"none": [0.25], name: [0.5]}))
    *_, row = csv.DictReader(io.StringIO(text, newline=""))
    assert row["method"] == cell
    assert "\r" not in text
