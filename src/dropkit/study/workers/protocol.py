"""What every kind of workers offers, and how often a lost one is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

from dropkit.errors import StudyError

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 3  # for one item: it may be what ends every worker that it is given to


class Workers(Protocol):
    """Processes that carry out trainings; a context manager, ready between entry and exit."""

    def start(self) -> None:
        """Start in the background what takes time to start, and return at once."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def __str__(self) -> str:
        """How many there are, and of which kind."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with the function's result, in the order in which they finish.

        ``say`` receives one line for each worker that was lost.

        Raises:
            StudyError: when everything else is done, if an item lost its worker three times.
        """


class Losses:
    """Decide which items to restart after their worker was lost.

    >>> losses = Losses(print)
    >>> [losses.restart("seed 0", attempt, "killed", "restarting it") for attempt in (1, 2, 3)]
    seed 0: its worker was lost (killed); restarting it
    seed 0: its worker was lost (killed); restarting it
    seed 0: its worker was lost 3 times (killed)
    [True, True, False]
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._given_up: list[str] = []

    def restart(self, item: Any, attempt: int, cause: str, plan: str) -> bool:
        """Report a lost worker; return whether its item may be started once more."""
        if attempt < ATTEMPTS:
            self._say(f"{item}: its worker was lost ({cause}); {plan}")
            return True
        self._given_up.append(f"{item}: its worker was lost {ATTEMPTS} times ({cause})")
        self._say(self._given_up[-1])
        return False

    def check(self) -> None:
        """Raise `StudyError` if an item was given up."""
        if self._given_up:
            first, *others = self._given_up
            more = f", and {len(others)} more" if others else ""
            raise StudyError(f"{first}{more}; the others are kept: repeat the command to resume")
