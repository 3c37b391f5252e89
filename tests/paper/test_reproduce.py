"""Every name of `dropkit reproduce`, at its quick budget, as a user would run it."""

import csv
import gzip
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dropkit import paper
from dropkit.paper._outcome import Check
from dropkit.study import StudyError
from helpers.known_sets import write_all

REAL = Path(__file__).parents[3] / "shared" / "data"
NAMES = sorted(paper.experiments())


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Small data sets in the form of the real ones."""
    return write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data_dir(stand_ins):
    """The real data where there are some, else the stand-ins."""
    real = Path(os.environ.get("DROPKIT_DATA", REAL))
    return real if real.is_dir() else stand_ins


def test_all_of_the_paper_is_there():
    assert set(NAMES) == {
        *("figure-4", "figure-7", "figure-8", "figure-9", "figure-10", "figure-11"),
        *("table-mnist", "table-regularizers", "table-gaussian", "linear-regression"),
        *("speech", "text", "sentiment", "genetics", "images", "cost"),
    }


@pytest.fixture
def few_updates(monkeypatch):
    """Make the quick budget a fiftieth of what it is."""

    def shrunk(experiment):
        quick = experiment.sizes["quick"]
        fewer = {k: v // 50 for k, v in quick.settings.items() if k.endswith("updates")}
        quick = replace(quick, settings=quick.settings | fewer)
        return replace(experiment, sizes=experiment.sizes | {"quick": quick})

    shorter = {name: shrunk(each) for name, each in paper.experiments().items()}
    monkeypatch.setattr("dropkit.paper._reproduce.experiments", lambda: shorter)
    monkeypatch.setattr("dropkit.paper.linear_regression.SPLITS", 2)


def check_written(name, result, folder):
    kept = json.loads((folder / f"{name}.json").read_text())
    assert kept["budget"] == "quick"
    assert kept["statement"] == paper.experiments()[name].sizes["quick"].statement
    assert kept["environment"]["torch"]
    assert kept["checks"]
    for check in kept["checks"]:
        assert isinstance(check["measured"], int | float), check
        # What takes a million updates is never judged by a quick run.
        assert check["verdict"] == "budget too short" or not check["full"]
    with (folder / f"{name}.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(kept["rows"]) == len(result.outcome.rows)
    assert list(table[0]) == list(kept["rows"][0])
    assert (folder / f"{name}.svg").read_text().count("<path") > 3
    for suffix in result.outcome.pictures:
        assert (folder / f"{name}{suffix}.png").stat().st_size > 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_few_updates_on_stand_ins(name, stand_ins, few_updates, tmp_path):
    result = paper.reproduce(name, out=tmp_path, data_dir=stand_ins, jobs=1, show=False)
    check_written(name, result, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_quick(name, data_dir, tmp_path):
    # One process: the tests themselves run side by side.
    result = paper.reproduce(name, "quick", out=tmp_path, data_dir=data_dir, jobs=1, show=False)
    check_written(name, result, tmp_path)


def test_stopped_runs_go_on_and_equal_an_undisturbed_one(few_updates, tmp_path):
    first = paper.reproduce("linear-regression", out=tmp_path, jobs=1, show=False)
    trainings = sorted((tmp_path / "trainings").iterdir())
    before = [file.read_text() for file in trainings]
    trainings[0].unlink()
    untouched = trainings[1].stat().st_mtime_ns
    again = paper.reproduce("linear-regression", out=tmp_path, jobs=1, show=False)
    assert [file.read_text() for file in trainings] == before
    assert trainings[1].stat().st_mtime_ns == untouched
    assert again.outcome.rows == first.outcome.rows


def test_every_size_says_what_it_is():
    for experiment in paper.experiments().values():
        assert set(experiment.sizes) - {"medium"} == {"quick", "short", "full"}
        for size in experiment.sizes.values():
            assert size.statement.endswith(".")


def test_what_has_no_medium_budget_says_which_it_has():
    with pytest.raises(StudyError, match="figure-7 has no budget 'medium'; choose one of quick"):
        paper.reproduce("figure-7", "medium")


@pytest.mark.parametrize("name", ["figure-4", "table-mnist"])
def test_a_part_of_the_trainings_can_be_shown(name, stand_ins, few_updates, tmp_path):
    call = {"out": tmp_path, "data_dir": stand_ins, "jobs": 1, "show": False}
    with pytest.raises(StudyError, match="finished"):
        paper.reproduce(name, only_finished=True, **call)
    whole = paper.reproduce(name, **call).outcome.rows
    files = {
        file: json.loads(file.read_text())["settings"]["hidden"]
        for file in (tmp_path / "trainings").iterdir()
    }
    gone = next(iter(files.values()))
    for file, hidden in files.items():
        if hidden == gone:
            file.unlink()
    part = paper.reproduce(name, only_finished=True, **call).outcome.rows
    assert 0 < len(part) < len(whole)
    assert [row for row in whole if row in part] == part


def test_what_needs_all_trainings_says_how_many_are_missing(few_updates, tmp_path):
    paper.reproduce("linear-regression", out=tmp_path, jobs=1, show=False)
    next(iter((tmp_path / "trainings").iterdir())).unlink()
    with pytest.raises(StudyError, match=r"1 of \d+ trainings are not finished"):
        paper.reproduce("linear-regression", out=tmp_path, only_finished=True, show=False)


def test_trainings_can_be_moved_but_not_to_other_data(stand_ins, few_updates, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    moved = shutil.copytree(stand_ins, tmp_path / "elsewhere")
    call = {"jobs": 1, "show": False}
    first = paper.reproduce("figure-4", out=here, data_dir=stand_ins, **call)
    shutil.copytree(here / "trainings", there / "trainings")
    part = {"out": there, "only_finished": True, **call}
    assert paper.reproduce("figure-4", data_dir=moved, **part).outcome.rows == first.outcome.rows
    labels = moved / "mnist" / "train-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(labels.read_bytes()))
    raw[-1] = (raw[-1] + 1) % 10
    labels.write_bytes(gzip.compress(raw))
    with pytest.raises(StudyError, match="finished"):
        paper.reproduce("figure-4", data_dir=moved, **part)


def test_a_band_that_the_paper_does_not_give():
    assert Check("", 50.0, "not stated").verdict("short", True) == "no range"


def test_trainings_of_other_versions_do_not_count(few_updates, tmp_path, monkeypatch):
    paper.reproduce("linear-regression", out=tmp_path, jobs=1, show=False)
    kept = set((tmp_path / "trainings").iterdir())
    monkeypatch.setattr("dropkit.paper._trainings.__version__", "0.0.0")
    paper.reproduce("linear-regression", out=tmp_path, jobs=1, show=False)
    assert len(list((tmp_path / "trainings").iterdir())) == 2 * len(kept)


def test_trainings_know_the_folder_of_their_data(tmp_path, monkeypatch):
    class Told(Exception):
        pass

    def run(trainings, data_dir, **settings):
        raise Told(data_dir)

    told = replace(paper.experiments()["figure-4"], run=run, data=None)
    monkeypatch.setattr("dropkit.paper._reproduce.experiments", lambda: {"figure-4": told})
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path / "a" / ".." / "b"))
    with pytest.raises(Told, match=re.escape(str(tmp_path / "b"))):
        paper.reproduce("figure-4", out=tmp_path, show=False)


def test_unknown_name():
    with pytest.raises(StudyError, match=r"figure-5.*did you mean"):
        paper.reproduce("figure-5")


@pytest.mark.parametrize(
    ("measured", "full", "budget", "verdict"),
    [
        (1.0, False, "quick", "within the range"),
        (3.0, False, "quick", "outside the range"),
        (1.0, True, "quick", "budget too short"),
        (1.0, True, "short", "within the range"),
        (3.0, True, "short", "budget too short"),
        (3.0, True, "full", "outside the range"),
        (0.5, False, "full", "within the range"),
        (0.4, False, "full", "outside the range"),
        (float("nan"), False, "full", "outside the range"),
    ],
)
def test_verdicts(measured, full, budget, verdict):
    check = Check("it", measured, "1", 0.5, 2.0, full)
    assert check.verdict(budget, complete=budget == "full") == verdict


def test_a_shorter_budget_can_be_the_papers_own_length():
    check = Check("it", 3.0, "1", 0.5, 2.0, full=True)
    assert check.verdict("short", complete=True) == "outside the range"
    assert check.verdict("quick", complete=True) == "budget too short"
