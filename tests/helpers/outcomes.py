"""Typical outcomes of studies, as fabricated records; docs/gallery.md shows their headlines."""

from dropkit.study.record import Record
from helpers.fabricated import make_record, make_run

NONE = [0.20, 0.21, 0.22, 0.20, 0.23]


def shifted(*shifts: float) -> list[float]:
    return [error + shift for error, shift in zip(NONE, shifts, strict=True)]


BETTER = shifted(-0.10, -0.11, -0.10, -0.09, -0.10)
CLOSE = shifted(-0.005, -0.006, -0.005, -0.006, -0.005)
WIDE = shifted(0.05, -0.04, 0.03, -0.04, 0.02)


def make_outcomes() -> dict[str, Record]:
    """The records by what they show."""
    level = [
        make_run("none", seed, error, test_loss=0.3, train_loss=0.299 + 0.001 * (seed % 2))
        for seed, error in enumerate(NONE)
    ]
    chance = {"constant_value": 0.5, "train_error": 0.5}
    rare = {"constant_value": 0.035, "train_error": 0.035}
    return {
        "A clear win": make_record({"none": NONE, "dropout": BETTER, "l1": WIDE}),
        "A tie": make_record({"none": NONE, "dropout": CLOSE}),
        "Nothing decided": make_record({"none": NONE, "dropout": WIDE}, study={"worthwhile": 5}),
        "A tiny test set": make_record(
            {"none": NONE, "dropout": CLOSE},
            compared=("l1", "l2"),
            study={"worthwhile": 0.1, "test_fraction": 0.2},
        ),
        "Not learned": make_record({"none": [0.5] * 5, "dropout": shifted(*[-0.19] * 5)}, **chance),
        "No overfitting": make_record({"none": NONE, "dropout": WIDE}, runs=level),
        "A rare class": make_record({"none": [0.04] * 5, "dropout": [0.035] * 5}, **rare),
        "A run diverged": make_record({"none": NONE, "dropout": [*BETTER[:4], None]}),
        "A regression": make_record(
            {"none": [4.0, 4.1, 4.2, 4.15], "dropout": [3.0, 3.05, 3.2, 3.1]},
            task="regression",
            constant_value=10.0,
        ),
        "Rows twice": make_record(
            {"none": NONE, "dropout": BETTER},
            doubts=(
                "120 of 200 test rows are also in the training data, which makes the scores too "
                "good: remove them to compare methods",
            ),
        ),
        "Inputs lost": make_record(
            {"none": NONE, "dropout": BETTER},
            doubts=(
                "Most inputs were lost in reading: 2 of 3 columns ('price', 'share') were read as "
                "categories, and almost all of their values are too rare to use; 1,785 of 1,800 "
                "rows have the same features as another row. "
                "Correct the kinds of these columns, for example: --read price=number",
            ),
        ),
    }
