"""Define the interface of workers, and restart items whose worker was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

from dropkit.errors import StudyError

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 3  # per item, because an item may end every worker that runs it


class Workers(Protocol):
    """Processes that run work; a context manager that is ready between entry and exit."""

    def start(self) -> None:
        """Start slow preparations in the background, and return at once."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def __str__(self) -> str:
        """Describe the number and kind of workers."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with the function's result, in the order in which items finish.

        ``say`` receives one line for each worker that was lost.

        Raises:
            StudyError: after all other items, if an item lost its worker three times.
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
        """Report a lost worker, and return whether its item may be restarted."""
        if attempt < ATTEMPTS:
            self._say(f"{item}: its worker was lost ({cause}); {plan}")
            return True
        self._given_up.append(f"{item}: its worker was lost {ATTEMPTS} times ({cause})")
        self._say(self._given_up[-1])
        return False

    def check(self) -> None:
        """Raise `StudyError` if an item lost its worker too often."""
        if self._given_up:
            first, *others = self._given_up
            more = f", and {len(others)} more" if others else ""
            raise StudyError(f"{first}{more}; the others are kept: repeat the command to resume")
