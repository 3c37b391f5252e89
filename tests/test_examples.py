"""The examples: ordinary trainings whose study says what numpy and scipy alone say."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dropkit.study import compare_training, once
from dropkit.user_code import load_function

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {
    "plain_loop": "sklearn",
    "lightning_module": "lightning",
    "hugging_face_trainer": "transformers",
}
METHODS, SEEDS = ("as-is", "dropout(p=0.5)"), 2


def test_every_example_is_tried() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == NEEDS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NEEDS)
def test_the_verdict_of_an_example_is_that_of_an_independent_script(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip(NEEDS[name])
    file = tmp_path / f"{name}.py"
    source = (EXAMPLES / file.name).read_text()
    file.write_text(re.sub(r"^EPOCHS = \d+", "EPOCHS = 2", source, flags=re.MULTILINE))
    results = compare_training(f"{file}:train", methods=METHODS, seeds=SEEDS, jobs=1)

    def error(method: str, seed: int) -> float:
        outcome = once(load_function(f"{file}:train"), method=method, seed=seed)
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
