"""Suggest the next step, with a command to paste."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from itertools import pairwise

from dropkit.study.record import Record

_CONTINUES = {"methods", "seeds", "max_seeds"}  # options with which finished runs still count
_ABOUT_DATA = {"target", "test", "task", "read", "val", "split", "time", "group", "image-size"}


@dataclass(frozen=True)
class NextStep:
    """The suggested next step: a sentence, and a command to paste if there is one.

    ``keeps_runs`` says whether the command continues the study and keeps its finished runs.
    """

    text: str
    command: str = ""
    keeps_runs: bool = False


NOTHING = NextStep("")


def suggest(record: Record, text: str, **options: object) -> NextStep:
    """Suggest repeating the study with other options, with a command if a command ran the study."""
    command = change_command(record.command, **options) if record.command and options else ""
    return NextStep(text, command, keeps_runs=_CONTINUES.issuperset(options))


def inspect_command(command: str) -> str:
    """Return the command that shows how a study's data are read; empty if no command ran the study.

    >>> inspect_command("dropkit compare a.csv --target price --seeds 5 --read zip=category")
    'dropkit inspect a.csv --target price --read zip=category'
    """
    if not command.startswith("dropkit compare"):
        return ""
    _, _, source, *options = shlex.split(command)
    words = ["dropkit", "inspect", source]
    for name, value in pairwise(options):
        if name.removeprefix("--") in _ABOUT_DATA:
            words += [name, value]
    return shlex.join(words)


def change_command(command: str, **options: object) -> str:
    """Return a study's command, or Python call, with some options changed.

    >>> change_command("dropkit compare digits --seeds 5 --lr 0.1", seeds=20)
    'dropkit compare digits --lr 0.1 --seeds 20'
    >>> change_command("dropkit.study.compare(X, y, ...)", seeds=20)
    'dropkit.study.compare(..., seeds=20)'
    >>> change_command("dropkit compare digits", until_converged=True)
    'dropkit compare digits --until-converged'
    """
    if not command.startswith("dropkit compare"):
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{command.partition('(')[0]}(..., {given})"
    words = shlex.split(command)
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        setting = [option] if value is True else [option, str(value)]
        if option in words:
            place = words.index(option)
            del words[place : place + len(setting)]
        words += setting
    return shlex.join(words)
