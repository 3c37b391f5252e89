"""Options are the settings themselves: every field has one, with its type, default and help."""

import dataclasses
import re
import shlex

import pytest

from dropkit import cli
from dropkit.study import Execution, Study
from dropkit.study.data._load import BUILT_IN
from dropkit.study.settings import explanations, to_options

SETTINGS = [field for kind in (Study, Execution) for field in dataclasses.fields(kind)]


@pytest.fixture
def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run(["compare", "--help"]) == 0
    # Words that the terminal's width has divided at a hyphen are put together again.
    return re.sub(r"(?<=\w-)\s+", "", " ".join(capsys.readouterr().out.split()))


def test_every_setting_is_an_option_with_its_default_and_help(help_text: str) -> None:
    for field in SETTINGS[1:]:  # the first is the argument DATA
        option = f"--{field.name.replace('_', '-')} "
        assert option in help_text
        _, _, after = help_text.partition(option)
        kind = Study if field in dataclasses.fields(Study) else Execution
        said = explanations(kind)[field.name]
        assert said[1:].rstrip(".") in after
        default = field.default
        if default not in (None, ()):
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            shown = {"True": "yes", "False": "no"}.get(shown, shown)
            assert after.partition("(default: ")[2].startswith(f"{shown}).")


def test_every_known_set_is_named(help_text: str) -> None:
    for name in BUILT_IN:
        assert name in help_text


@pytest.mark.parametrize("kind", [Study, Execution])
def test_every_setting_is_explained_and_nothing_else(kind: type) -> None:
    assert list(explanations(kind)) == [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(
    "settings",
    [
        Study(data="digits"),
        Study(
            data="a b.csv",
            target="y z",
            task="regression",
            header=False,
            preprocess=False,
            hidden=(8, 4),
            methods=("none", "dropout(p=0.3,input=0)+l1"),
            seeds=2,
            epochs=3,
            lr=1.0,
            tune=12,
            prune=True,
            weights="best",
            val_fraction=0.25,
        ),
        Execution(jobs=2, time_limit=0.5),
        Execution(ray="auto", cpus_per_run=2.0, gpus_per_run=0.5),
    ],
)
def test_what_options_say_is_read_back(
    settings: Study | Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[type, object] = {}

    def choose_workers(study: Study, execution: Execution) -> None:
        read.update({Study: study, Execution: execution})
        raise KeyboardInterrupt

    monkeypatch.setattr("dropkit.study.start.choose_workers", choose_workers)
    words = to_options(settings, skip=["data"])
    data = settings.data if isinstance(settings, Study) else "digits"
    assert cli.run(["compare", data, *words]) == 130
    assert read[type(settings)] == settings


def test_the_command_can_be_pasted_into_a_shell() -> None:
    study = Study(data="my data.csv", methods=("none", "dropout(p=0.3)"))
    words = shlex.join(to_options(study, skip=["data"]))
    assert words == "--methods 'none,dropout(p=0.3)'"
