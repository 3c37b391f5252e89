"""What experiment trackers export is read as the runs that it is."""

from pathlib import Path

import numpy as np
import pytest

import dropkit
from dropkit.study.judging.exports import split_names
from helpers import finished_runs
from helpers.finished_runs import draw_runs, write_csv

ROWS = draw_runs(np.random.default_rng(0), 2, 4, gains=(0, 0.02))


@pytest.mark.parametrize(
    "export",
    ["write_wandb_runs", "write_wandb_api", "write_wandb_chart", "write_mlflow_runs"],
)
def test_trackers_exports_say_the_same(export: str, tmp_path: Path) -> None:
    path = getattr(finished_runs, export)(tmp_path / "export.csv", ROWS)
    judgment, expected = dropkit.judge(path), dropkit.judge(ROWS)
    assert judgment.verdict == expected.verdict
    assert judgment.table().difference.tolist()[1:] == pytest.approx(
        expected.table().difference.tolist()[1:]
    )
    assert "Runs with the same seed are compared in pairs." in judgment.notes


def test_scalars_of_tensorboard_are_a_file_per_run(tmp_path: Path) -> None:
    paths = finished_runs.write_tensorboard_scalars(tmp_path, ROWS)
    judgment = dropkit.judge(paths)
    assert judgment.verdict == dropkit.judge(ROWS).verdict
    assert judgment.columns.step == "Step"


def test_a_file_per_method_names_it(tmp_path: Path) -> None:
    paths = []
    for method in ("none", "m1"):
        mine = [
            {k: v for k, v in r.items() if k != "method"} for r in ROWS if r["method"] == method
        ]
        paths.append(write_csv(tmp_path / f"{method}.csv", mine))
    assert dropkit.judge(paths).verdict == dropkit.judge(ROWS).verdict


def test_a_column_of_scores_for_every_method() -> None:
    by_seed = [
        {"seed": s, **{r["method"]: r["test_acc"] for r in ROWS if r["seed"] == s}}
        for s in range(4)
    ]
    judgment = dropkit.judge(by_seed, higher_is_better=True, score_column="test_acc")
    assert judgment.verdict == dropkit.judge(ROWS).verdict
    # What stands in one row belongs together, also where no column says by what.
    unnamed = [{k: v for k, v in row.items() if k != "seed"} for row in by_seed]
    assert dropkit.judge(unnamed, higher_is_better=True).table().p["m1"] == pytest.approx(
        judgment.table().p["m1"]
    )
    sets = [{"data": f"set {row['seed']}", **row} for row in by_seed]
    named = [{k: v for k, v in row.items() if k != "seed"} for row in sets]
    assert len(dropkit.judge(named, higher_is_better=True).analyses) == 4


def test_runs_that_are_not_finished_are_refused_or_left_out(tmp_path: Path) -> None:
    path = finished_runs.write_wandb_runs(tmp_path / "export.csv", ROWS)
    text = path.read_text().splitlines()
    text[1] = text[1].replace("finished", "crashed")
    path.write_text("\n".join(text))
    with pytest.raises(ValueError, match=r"none, seed 0 is not finished \(export.csv line 2\)"):
        dropkit.judge(path)
    judgment = dropkit.judge(path, drop_missing=True, paired=True)
    assert judgment.table().runs.tolist() == [3, 4]
    assert any("Left out 1 run that has no score: none, seed 0." in note for note in judgment.notes)


def test_names_are_split_only_where_a_method_has_several_runs() -> None:
    assert split_names(["a_1", "a_2"]) == (["a", "a"], ["1", "2"])
    assert split_names(["drop-0.5-seed1", "drop-0.5-seed2"]) == (["drop-0.5"] * 2, ["1", "2"])
    assert split_names(["a_1", "b"]) is None
    assert split_names(["a_1", "b_2"]) is None
