"""Commands to paste: options set once, wherever they stood."""

import shlex
from types import SimpleNamespace

from dropkit.study.analysis.advice import change_command, suggest
from dropkit.study.plan import FREE


def test_an_option_is_replaced_or_added() -> None:
    command = "dropkit compare digits --methods 'none,dropout(p=0.3)' --seeds 3"
    words = shlex.split(change_command(command, seeds=9, test_fraction=0.4))
    assert words == shlex.split(
        "dropkit compare digits --methods 'none,dropout(p=0.3)' --seeds 9 --test-fraction 0.4"
    )
    again = change_command(command, methods="none,l1(l1=1e-3)")
    assert again == "dropkit compare digits --seeds 3 --methods 'none,l1(l1=1e-3)'"


def test_from_python_it_is_a_call() -> None:
    command = "dropkit.study.compare(..., model=net), with the settings of study.toml"
    assert change_command(command, seeds=9) == "dropkit.study.compare(..., seeds=9)"
    own = "dropkit.study.compare_training(train, ...), with the settings below"
    assert change_command(own, seeds=9) == "dropkit.study.compare_training(..., seeds=9)"


def test_finished_runs_count_only_with_settings_that_no_run_depends_on() -> None:
    record = SimpleNamespace(command="dropkit compare digits")
    kept = {name for name in FREE if suggest(record, "", **{name: 1}).keeps_runs}
    assert {"methods", "seeds", "max_seeds"} <= kept
    assert not suggest(record, "", seeds=5, epochs=9).keeps_runs
