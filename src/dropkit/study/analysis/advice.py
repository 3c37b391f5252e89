"""Suggest the next step, with a command to paste."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dropkit.study.record import Record


@dataclass(frozen=True)
class NextStep:
    """The suggested next step: a sentence, and a command to paste if there is one."""

    text: str
    command: str = ""


NOTHING = NextStep("")


def suggest(record: Record, text: str, **options: object) -> NextStep:
    """Suggest repeating the study with other options, if a command created it."""
    command = change_command(record.command, **options) if record.command and options else ""
    return NextStep(text, command)


def change_command(command: str, **options: object) -> str:
    """Return a study's command with some options changed; for a call from Python its arguments.

    >>> change_command("dropkit compare digits --seeds 5 --lr 0.1", seeds=20)
    'dropkit compare digits --lr 0.1 --seeds 20'
    >>> change_command("dropkit.study.compare(X, y, ...)", seeds=20)
    'dropkit.study.compare(..., seeds=20)'
    """
    if not command.startswith("dropkit compare"):
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"dropkit.study.compare(..., {given})"
    words = shlex.split(command)
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if option in words:
            place = words.index(option)
            del words[place : place + 2]
        words += [option, str(value)]
    return shlex.join(words)
