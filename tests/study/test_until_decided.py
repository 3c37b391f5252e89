"""Seeds are added until a study is decided, and no more claims are false for it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results, Run, Study, StudyError
from dropkit.study.analysis import analyze
from dropkit.study.analysis.decision import is_decided
from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.family import claim_all
from dropkit.study.analysis.looks import spend_level
from dropkit.study.record import Record
from dropkit.study.seeds import plan_looks
from dropkit.study.store.manifest import Manifest
from dropkit.study.training.work import Job, Work
from helpers.fabricated import make_record
from helpers.tiny import train_nothing, write_table

WORDS = "compare rows.csv --methods none,l1 --epochs 1 --hidden 4 --jobs 1 --out run --seeds 3"


@contextmanager
def made_up(gain: Callable[[int], float]) -> Iterator[list[str]]:
    """Trainings of an error that the other methods have lower by ``gain(seed)``."""
    trained: list[str] = []

    def train(work: Work, job: Job) -> Run:
        trained.append(str(job))
        run = train_nothing(work, job)
        assert run.test is not None
        value = 0.4 if str(job.method) == "none" else 0.4 - gain(job.seed)
        return replace(run, test=replace(run.test, value=value), row_errors=None)

    with patch.object(Work, "__call__", train):
        yield trained


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "rows.csv")
    return tmp_path


def alternate(seed: int) -> float:
    return 0.1 if seed % 2 else -0.1


def test_seeds_are_added_up_to_the_most(capsys: pytest.CaptureFixture[str]) -> None:
    with made_up(alternate) as trained:
        assert cli.run([*WORDS.split(), "--until-decided", "--max-seeds", "10"]) == 0
    results = Results.load("run")
    assert results.record.looks == (3, 6, 10)
    assert len(results.of("l1")) == 10
    assert len(trained) == len(set(trained)) == 20
    assert "3 seeds have not decided it: going on to 6" in capsys.readouterr().err
    assert Manifest.read(Path("run")).asked == 20  # type: ignore[union-attr]


def test_the_first_decision_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with made_up(lambda seed: 0.1 + 0.001 * (seed % 3)) as trained:
        assert cli.run([*WORDS.split(), "--until-decided"]) == 0
    assert len(trained) == 6
    assert Results.load("run").record.looks == (3,)
    assert "have not decided it" not in capsys.readouterr().err


def test_what_was_done_is_kept_and_what_was_decided_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*WORDS.split(), "--until-decided", "--max-seeds", "6"]
    with made_up(alternate):
        assert cli.run(words) == 0
    first = capsys.readouterr().out
    with made_up(alternate) as trained:
        assert cli.run(words) == 0
    assert trained == []
    assert capsys.readouterr().out == first
    with made_up(alternate) as trained:  # more of them may be asked for
        assert cli.run([*words[:-1], "12"]) == 0
    assert len(trained) == 12
    assert Results.load("run").record.looks == (3, 6, 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seeds": 9}, "max_seeds needs until_decided"),
        ({"until_decided": True, "max_seeds": 4}, "max_seeds must be from 5"),
        ({"until_decided": True, "seeds": 1}, "seeds must be 2 or more"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Study.from_dict({"data": "digits", **settings})


def test_looks_are_part_of_no_training() -> None:
    study = Study(data="digits")
    assert study.looks == (5,)
    asked = replace(study, until_decided=True)
    assert asked.looks == plan_looks(5, 20) == (5, 10, 20)
    assert asked.digest() == study.digest()


def test_every_look_has_its_share_of_the_level() -> None:
    assert math.isclose(sum(map(spend_level, range(40))), 0.05)
    effect = Effect(mean=1.0, seeds=10, seed_variance=0.8)
    (once,) = claim_all([effect], looks=(10,), new_rows=False)
    for looks, share in (((10,), 0.2), ((5, 10), 0.24)):
        (claim,) = claim_all([effect], looks=looks, planned=(looks[0], 10, 20), new_rows=False)
        assert once.p is not None
        assert claim.p == pytest.approx(once.p / share)
        assert claim.estimate.half > once.estimate.half  # type: ignore[operator]
    by_hand = [
        claim_all([effect], looks=(7, 10), planned=planned, new_rows=False)
        for planned in ((), (5, 10, 20))
    ]
    assert by_hand[0] == by_hand[1]  # looks that were not planned need a test that allows for any


def look_at(values: dict[str, Sequence[float]], looks: Sequence[int]) -> Record:
    """The record of a study at its last look."""
    seen = {method: errors[: looks[-1]] for method, errors in values.items()}
    record = make_record(seen, task="other")
    study = record.study | {"until_decided": True, "seeds": looks[0], "max_seeds": 20}
    return replace(record, study=study, looks=tuple(looks))


def stop(values: dict[str, Sequence[float]], looks: Sequence[int]) -> tuple[int, bool]:
    """When a study stops, and whether it claims a difference then."""
    for place in range(1, len(looks) + 1):
        analysis = analyze(look_at(values, looks[:place]))
        if is_decided(analysis):
            break
    return looks[place - 1], any(s.is_significant_here for s in analysis.summaries)


@pytest.mark.soak
@pytest.mark.parametrize("methods", [2, 3, 5, 10])
def test_false_claims_are_at_most_five_per_cent(methods: int) -> None:
    rng, rounds, looks = np.random.default_rng(methods), 1500, plan_looks(5, 20)
    names = ["none", *(f"m{i}" for i in range(1, methods))]
    claims = 0
    for _ in range(rounds):
        claims += stop({name: list(rng.normal(size=20)) for name in names}, looks)[1]
    assert claims / rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def test_what_seeds_cannot_change_is_decided() -> None:
    none, clear = [0.20, 0.21, 0.22, 0.20, 0.21], [0.100, 0.112, 0.119, 0.101, 0.108]
    for values, decided in (
        ({"none": none, "l1": [2 * a - b for a, b in zip(none, clear, strict=True)]}, True),
        ({"none": none, "l1": clear, "l2": none[::-1]}, True),  # a gain, whatever others do
        ({"none": none, "l1": [0.22, 0.20, 0.21, 0.22, 0.19]}, False),
        ({"none": [None] * 5, "l1": clear}, True),  # nothing to compare with
    ):
        record = make_record(values, task="other")
        assert is_decided(analyze(record)) == decided, values
    small = {"none": none, "l1": [error + 1e-5 * (-1) ** i for i, error in enumerate(none)]}
    record = make_record(small, task="other")
    assert not is_decided(analyze(record))
    worth = replace(record, study=record.study | {"worthwhile": 0.01})
    assert is_decided(analyze(worth))  # no difference that matters


def test_a_gain_on_these_rows_that_seeds_may_confirm_is_not_decided() -> None:
    none, noise = [0.20, 0.21, 0.22, 0.20, 0.23], (1.0, -1.0, 0.5, -0.5, 0.0)
    better = [error - 0.02 + 0.02 * z for error, z in zip(none, noise, strict=True)]
    analysis = analyze(make_record({"none": none, "l1": better}, study={"worthwhile": 0.1}))
    (summary,) = (s for s in analysis.summaries if s.method == "l1")
    assert summary.is_significant_here
    assert not summary.is_significant
    assert not is_decided(analysis)


def test_large_differences_are_found_early() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        luck = rng.normal(size=20)
        values = {"none": list(luck), "m1": list(luck - 1.5 + rng.normal(size=20))}
        found.append(stop(values, (5, 10, 20)))
    assert sum(claimed for _, claimed in found) > 55
    assert np.mean([seeds for seeds, _ in found]) < 12
