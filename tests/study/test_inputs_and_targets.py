"""Several inputs and sequences together with several targets and fixed validation rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dropkit import cli
from dropkit.study import Results, Study, StudyError, compare, inspect
from dropkit.study.data import DataError, from_arrays, load
from dropkit.study.training.folds import make_fold

RNG = np.random.default_rng(0)
COUNT, FIXED = 160, 40
IMAGE = RNG.integers(0, 256, (COUNT + FIXED, 4, 4), np.uint8)
TABLE = RNG.normal(5, 3, (COUNT + FIXED, 3))
LABELS = np.stack([IMAGE.mean((1, 2)) > 127, TABLE[:, 0] > 5], 1).astype(int)
# The longest of all are among the fixed rows.
SERIES = [RNG.normal(2, 3, (2 + i % 3 + 3 * (i >= COUNT), 2)) for i in range(COUNT + FIXED)]
SUMS = np.array([(100 * row[:, 0].sum(), row[:, 1].mean()) for row in SERIES])
QUICK = {"seeds": 2, "jobs": 1, "methods": "none,dropout(input=0)"}

BOTH = """
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16 + inputs["table"][0], 16), nn.ReLU())
        self.head = nn.Linear(16, outputs)

    def forward(self, image, table):
        return self.head(self.body(torch.cat([image.flatten(1), table], 1)))
"""


def both(rows: slice) -> dict[str, Any]:
    return {"image": IMAGE[rows], "table": TABLE[rows]}


FIRST, LAST, END = slice(COUNT), slice(COUNT, COUNT + FIXED // 2), slice(COUNT + FIXED // 2, None)
PARTS = {"X_val": both(LAST), "y_val": LABELS[LAST], "X_test": both(END), "y_test": LABELS[END]}


def runs_of(results: Results) -> list[Any]:
    return [replace(run, timing=None) for run in results.runs]


def test_two_inputs_labels_and_fixed_rows(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(BOTH)
    out, settings = tmp_path / "run", QUICK | {"epochs": 30, "lr": 0.2, "batch_size": 16}
    model = f"{tmp_path}/nets.py:Both"
    results = compare(both(FIRST), LABELS[FIRST], model=model, out=out, **PARTS, **settings)
    data = results.data
    assert (data.task, data.targets) == ("multi-label", ("y1", "y2"))
    assert data.inputs == {"image": (1, 4, 4), "table": (3,)}
    assert (data.rows_train, data.rows_val, data.rows_test) == (COUNT, FIXED // 2, FIXED // 2)
    assert max(run.test.value for run in results.runs if run.test) < 0.25

    again = ["compare", str(out / "study.toml"), "--out", str(tmp_path / "again"), "--jobs", "1"]
    assert cli.run(again) == 0
    assert runs_of(Results.load(tmp_path / "again")) == runs_of(results)


def test_a_penalty_for_two_passes_is_refused_for_labels_of_two_inputs(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(BOTH)
    with pytest.raises(
        StudyError, match="it compares the probabilities of classes, and this is a multi"
    ):
        compare(
            both(FIRST),
            LABELS[FIRST],
            model=f"{tmp_path}/nets.py:Both",
            **QUICK | {"methods": "none,r-drop(input=0)"},
        )


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_an_archive_of_two_inputs_labels_and_fixed_rows(tmp_path: Path, where: str) -> None:
    def save(name: str, **arrays: Any) -> Path:
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    names = {"targets": np.array(["bright", "high"])}
    rows = {**both(FIRST), "y": LABELS[FIRST], **names}
    parts = {end: {**both(at), "y": LABELS[at]} for end, at in (("val", LAST), ("test", END))}
    if where == "inside":
        fixed = {f"{n}_{end}": a for end, part in parts.items() for n, a in part.items()}
        data = load(save("rows.npz", **rows, **fixed))
    else:
        files = {end: save(f"{end}.npz", **part) for end, part in parts.items()}
        data = load(save("rows.npz", **rows), **files)
    assert data.targets == ("bright", "high")
    y = pd.DataFrame(LABELS[FIRST], columns=data.targets)
    assert data.fingerprint == from_arrays(both(FIRST), y, **PARTS).fingerprint
    assert data.notes == ()


class Series(nn.Module):
    def __init__(self, inputs: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs[1], 16, batch_first=True)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        out: Tensor = self.head(self.gru(packed)[1][-1])
        return out


def test_sequences_numbers_and_fixed_rows(tmp_path: Path) -> None:
    parts = {"X_val": SERIES[LAST], "y_val": SUMS[LAST], "X_test": SERIES[END], "y_test": SUMS[END]}
    settings = QUICK | {"epochs": 12, "lr": 0.02, "optimizer": "adam", "batch_size": 16}
    results = compare(
        SERIES[FIRST], SUMS[FIRST], model=Series, out=tmp_path / "run", **parts, **settings
    )
    data = results.data
    assert (data.task, data.inputs, data.rows_val) == ("multi-output", (7, 2), FIXED // 2)
    np.testing.assert_allclose(data.units, SUMS[: COUNT + FIXED // 2].std(0))
    assert data.constant_value is not None
    assert max(run.test.value for run in results.runs if run.test) < 0.7 * data.constant_value

    kept = load(tmp_path / "run" / "data.npz")
    assert kept.fingerprint == data.fingerprint
    fold = make_fold(kept, Study(data="arrays"), 1)
    steps = fold.x_train.parts["X"].steps
    torch.testing.assert_close(steps.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    np.testing.assert_array_equal(fold.x_val.parts["X"].lengths, [len(x) for x in SERIES[LAST]])
    np.testing.assert_allclose(fold.own_targets("val"), SUMS[LAST], rtol=1e-5, atol=1e-4)
    assert fold.own_targets("train").shape == (COUNT, 2)


def test_rows_that_repeat_are_found_by_all_inputs_and_all_targets() -> None:
    twice = {name: np.concatenate([rows, rows]) for name, rows in both(slice(50)).items()}
    labels = LABELS[:50]
    found = inspect(twice, np.concatenate([labels, labels]))
    assert found.repeated == 100
    assert found.summary[0] == "data: 100 rows, 2 inputs; multi-label classification of y1, y2"
    assert inspect(twice, np.concatenate([labels, 1 - labels])).repeated == 0


@pytest.mark.parametrize(
    ("X", "X_val", "message"),
    [
        (both(FIRST), TABLE[LAST], "X holds image and table and X_val one array"),
        (both(FIRST), {"image": IMAGE[LAST], "t": TABLE[LAST]}, "X_val image and t; give arrays"),
        (
            both(FIRST),
            {"image": IMAGE[LAST] / 255, "table": TABLE[LAST]},
            "image of X_val is an array of float64, image one of uint8",
        ),
        (SERIES[FIRST], [row[:, 0] for row in SERIES[LAST]], "row of X of X_val has shape"),
    ],
)
def test_fixed_rows_of_another_kind(X: Any, X_val: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X, LABELS[FIRST], X_val=X_val, y_val=LABELS[LAST])


class Heads(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(outputs))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [head(x) for head in self.heads]


def test_the_error_for_separate_heads_says_how_to_join_them() -> None:
    with pytest.raises(StudyError, match=r"join the outputs .* torch.cat\(output, 1\)"):
        compare(TABLE, LABELS, model=lambda inputs, outputs: Heads(outputs), **QUICK)
