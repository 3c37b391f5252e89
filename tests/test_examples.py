"""The examples: ordinary trainings whose study says what numpy and scipy alone say."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dropkit.study import compare_training, run_once
from dropkit.user_code import load_function
from helpers.known_sets import write_sst2

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {
    "plain_loop": "sklearn",
    "lightning_module": "lightning",
    "hugging_face_trainer": "transformers",
}
DATA = EXAMPLES.parents[1] / "shared" / "data"
SMALL = {"EPOCHS": 2, "ROWS": 100, "VAL_ROWS": 50}
METHODS, SEEDS = ("as-is", "dropout(p=0.5)"), 2


def test_every_example_is_tried() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == NEEDS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NEEDS)
def test_the_verdict_of_an_example_is_that_of_an_independent_script(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(NEEDS[name])
    write_sst2(tmp_path / "sst-2")
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path))
    file = tmp_path / f"{name}.py"
    source = (EXAMPLES / file.name).read_text()
    for constant, small in SMALL.items():
        source = re.sub(rf"^{constant} = \d+", f"{constant} = {small}", source, flags=re.MULTILINE)
    file.write_text(source)
    results = compare_training(f"{file}:train", methods=METHODS, seeds=SEEDS, jobs=1)

    def error(method: str, seed: int) -> float:
        outcome = run_once(load_function(f"{file}:train"), method=method, seed=seed)
        predictions = getattr(outcome.predictions, "detach", lambda: outcome.predictions)()
        return float(np.mean(np.asarray(predictions).argmax(1) != np.asarray(outcome.targets)))

    plain, dropped = (np.array([error(m, s) for s in range(SEEDS)]) for m in METHODS)
    summary = results.analysis.summaries[1]
    assert summary.value is not None
    assert summary.difference is not None
    assert summary.claim_here is not None
    assert summary.value.mean == pytest.approx(dropped.mean())
    assert summary.difference.mean == pytest.approx((dropped - plain).mean())
    if np.ptp(dropped - plain) > 1e-9:
        assert summary.claim_here.p == pytest.approx(stats.ttest_rel(dropped, plain).pvalue)
    assert results.record.starts_alike
    assert not any("not repeatable" in note for note in results.data.notes)
    assert all(run.curve.val_loss[-1] is not None for run in results.runs)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not (DATA / "sent-conv").is_dir(), reason="needs SST-2 in ../shared/data")
def test_bert_learns_from_the_real_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("DROPKIT_DATA", str(DATA))
    scored = run_once(load_function(f"{EXAMPLES / 'hugging_face_trainer.py'}:train")).score()
    assert scored.rows == 1821
    assert scored.scores.value < 0.4


@pytest.mark.parametrize("command", [["python"], ["dropkit", "compare", "--jobs", "1"]])
def test_an_example_reports_missing_data_in_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path))
    program = [sys.executable] if command == ["python"] else [sys.executable, "-m", *command]
    script = EXAMPLES / "hugging_face_trainer.py"
    words = [*program, f"{script}:train" if command[0] == "dropkit" else str(script)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    (line,) = done.stderr.splitlines()
    assert "no stsa.binary.train in" in line
    assert done.returncode != 0


@pytest.mark.parametrize("name", NEEDS)
def test_the_lines_that_the_guide_adds_are_those_of_the_example(name: str) -> None:
    guide = (EXAMPLES.parent / "docs" / "your-training.md").read_text(encoding="utf-8")
    section = guide.partition(f"examples/{name}.py")[2]
    added = re.findall(
        r"^\+(.+)$", section.partition("```diff")[2].partition("```")[0], re.MULTILINE
    )
    source = (EXAMPLES / f"{name}.py").read_text()
    assert 4 <= len(added) <= 10
    for line in added:
        assert line.strip() in source, line
