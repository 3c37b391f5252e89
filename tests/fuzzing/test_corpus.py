"""What the fuzzer began with, and what failed once."""

from pathlib import Path

import pytest

from fuzzing.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
CASES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_case(case: Path) -> None:
    TARGETS[case.parent.name](case.read_bytes())


def test_every_target_has_cases() -> None:
    assert {case.parent.name for case in CASES} == set(TARGETS)
