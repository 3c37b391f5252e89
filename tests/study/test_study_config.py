"""A study's configuration: checks, TOML both ways, identity."""

from pathlib import Path

import pytest

from dropkit.study import Study, StudyError
from dropkit.study.prepare import command


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds must be from 1 to 100000, got 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"lr": 0.0}, "lr must be a finite number above 0"),
        ({"lr": float("nan")}, "lr must be a finite number above 0"),
        ({"lr": "fast"}, "lr cannot be 'fast'"),
        ({"hidden": [0]}, "hidden must be widths of at least 1"),
        ({"methods": []}, "methods must be at least one method"),
        ({"methods": ["drpout"]}, "did you mean 'dropout'"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "val_fraction must be less than"),
        ({"weights": "last"}, "weights cannot be 'last'"),
        ({"epoch": 3}, "no setting 'epoch': did you mean 'epochs'"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Study.from_dict({"data": "digits", **settings})


def test_data_is_required() -> None:
    with pytest.raises(StudyError, match="a study needs data"):
        Study.from_dict({})


def test_toml_round_trip(tmp_path: Path) -> None:
    study = Study(
        data="a b.csv",
        target='say "x"',
        methods=("none", "dropout(p=0.3)"),
        hidden=(8,),
        header=False,
    )
    file = tmp_path / "study.toml"
    file.write_text(study.to_toml(), encoding="utf-8")
    assert Study.from_toml(file) == study


def test_broken_toml_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("data = ", encoding="utf-8")
    with pytest.raises(StudyError, match="as TOML"):
        Study.from_toml(file)
    with pytest.raises(StudyError, match="no study file"):
        Study.from_toml(tmp_path / "missing.toml")


def test_more_seeds_and_methods_keep_the_identity() -> None:
    few = Study(data="digits", seeds=2, methods=("none",), epochs=3)
    more = Study(data="digits", seeds=5, methods=("none", "l1"), epochs=3)
    longer = Study(data="digits", seeds=2, methods=("none",), epochs=4)
    assert few.digest() == more.digest()
    assert few.digest() != longer.digest()


def test_methods_are_canonical_and_each_once() -> None:
    study = Study(data="digits", methods=("none", "dropout( p=.30 )", "dropout(p=0.3)"))
    assert study.method_names == ("none", "dropout(p=0.3)")


def test_command_holds_what_is_not_default() -> None:
    study = Study(data="my data.csv", target="y", header=False, hidden=(8, 4), lr=0.01)
    assert command(study) == (
        "dropkit compare 'my data.csv' --target y --no-header --hidden 8,4 --lr 0.01"
    )
