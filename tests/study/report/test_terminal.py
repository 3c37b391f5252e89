"""The terminal table and the files beside the page."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from dropkit.study.record.results import Results
from dropkit.study.report import show, write
from dropkit.study.report.files import to_csv
from helpers.fabricated import make_results, make_run

ERRORS = {"none": [0.20, 0.21, 0.22], "dropout+max-norm": [0.1, 0.11, 0.13], "l1": [0.2, 0.3, None]}


def shown(results: Results, width: int = 80) -> str:
    out = io.StringIO()
    show(results, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def test_the_verdict_comes_first_and_every_method_has_a_line() -> None:
    text = shown(make_results(ERRORS), width=120)
    assert text.startswith("dropout+max-norm lowers test error by 9.67 points [")
    lines = text.splitlines()
    for method in ERRORS:
        assert any(line.startswith(method) for line in lines[1:])
    assert "(1 of 3 diverged)" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_nothing_is_cut_off(width: int) -> None:
    long = "dropout(p=0.3,input=0.1)+max-norm(c=2)"
    text = shown(make_results({**ERRORS, long: [0.1, 0.2, 0.3]}), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert "−9.67 ±1.43 ▼" in text or width < 80
    column = "".join(line.split(" ")[0] for line in text.splitlines())
    assert long in column  # broken between its parts, but whole


def test_a_usual_table_fits_80_columns_unfolded() -> None:
    text = shown(
        make_results({"none": [0.02, 0.03, 0.031], "dropout+max-norm": [0.01, 0.02, 0.018]})
    )
    rows = [line for line in text.splitlines() if line.startswith(("none ", "dropout+max-norm "))]
    assert all(row.rstrip().endswith("×") for row in rows[-2:])


def test_a_detectable_difference_is_marked_without_colour() -> None:
    lines = shown(make_results({**ERRORS, "noise": [0.4, 0.42, 0.41]})).splitlines()
    mark = {line.split()[0]: line for line in lines[1:] if line.split()}
    assert "▼" in mark["dropout+max-norm"]
    assert "▲" in mark["noise"]
    assert not {"▼", "▲"} & set(mark["l1"] + mark["none"])


def test_steps_to_target_say_how_many_seeds_got_there() -> None:
    # The baseline's best validation loss is 0.4.
    late = (0.9, 0.9)
    curves = {"all": [()] * 3, "most": [(), (), late], "few": [(), late, late], "no": [late] * 3}
    runs = [
        make_run(name, seed, 0.1, val_loss=losses or (0.9, 0.4))
        for name, each in curves.items()
        for seed, losses in enumerate(each)
    ]
    errors = {name: [0.1, 0.1, 0.1] for name in ("none", *curves)}
    lines = shown(make_results(errors, runs=runs)).splitlines()
    cells = {line.split()[0]: line.split("  ")[-2].strip() for line in lines if "×" in line}
    assert cells == {
        "none": "30", "all": "20", "most": "20 (2/3)", "few": "– (1/3)", "no": "never"
    }  # fmt: skip


@pytest.mark.parametrize(
    "results",
    [
        make_results({"none": [0.1]}),
        make_results({"none": [None, None], "l1": [None, None]}),
        make_results({"none": [51234.0, 49000.0], "l1": [40100.0, 41000.0]}, task="regression"),
        make_results({"none": [0.1, 0.2]} | {f"noise(std={i})": [0.1, 0.1] for i in range(11)}),
    ],
    ids=["alone", "all diverged", "large", "twelve"],
)
def test_odd_results_fit_80_columns(results: Results) -> None:
    text = shown(results)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(method in text for method in results.methods)
    assert "nan" not in text
    assert "e+" not in text


def test_names_are_text_and_not_markup() -> None:
    lines = shown(make_results({"none": [0.1, 0.2], "[red]x[/red]": [0.1, 0.1]})).splitlines()
    assert any(line.startswith("[red]x[/red] ") for line in lines)


def test_csv_has_a_line_per_run_and_no_formula() -> None:
    results = make_results({"none": [0.25, None], "=cmd()": [0.5, 0.5]})
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert len(rows) == 4
    assert rows[0]["test_error"] == "0.25"
    assert (rows[1]["status"], rows[1]["test_error"]) == ("diverged", "")
    assert rows[2]["method"] == "'=cmd()"


def test_write_makes_both_files(tmp_path: Path) -> None:
    write(make_results(ERRORS), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "results.csv"]
