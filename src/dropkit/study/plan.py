"""What the settings of all studies have in common."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from dropkit.errors import StudyError
from dropkit.study.limits import DRAWN, MOST
from dropkit.study.methods.expression import Expression
from dropkit.study.seeds import plan_looks

FREE = frozenset({"methods", "seeds", "until_decided", "max_seeds", "worthwhile"})
"""Settings that no single training depends on: more may be asked of trainings that are done."""


class Plan(ABC):
    """What every study has, whoever does its trainings: a frozen dataclass of plain settings."""

    methods: tuple[Expression, ...]
    seeds: int
    until_decided: bool
    max_seeds: int | None
    tune: int
    prune: bool
    threads: int
    call: ClassVar[str]
    """How it is repeated from Python, where its settings are not enough."""

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods as text, by which runs are known."""
        return tuple(map(str, self.methods))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which the results are looked at, if nothing is decided before."""
        if not self.until_decided:
            return (self.seeds,)
        return plan_looks(self.seeds, self.max_seeds)

    def read_shared(self) -> Callable[[bool, str, str], None]:
        """Parse the methods, check what all studies have, and return the check for the rest."""

        def must(holds: bool, name: str, rule: str) -> None:
            if not holds:
                raise StudyError(f"{name} must be {rule}, got {getattr(self, name)}")

        # Here and not above: the catalogue of methods needs torch, and the settings' names do not.
        from dropkit.study.methods.parsing import parse

        methods = {str(method): method for method in map(parse, self.methods)}
        object.__setattr__(self, "methods", tuple(methods.values()))
        must(bool(methods), "methods", "at least one method, for example none,dropout")
        must(1 <= self.seeds <= MOST, "seeds", f"from 1 to {MOST}")
        several = self.count_runs(self.seeds) > 1
        must(not self.until_decided or several, "seeds", "2 or more with until_decided")
        if self.max_seeds is not None:
            if not self.until_decided:
                raise StudyError("max_seeds needs until_decided; add --until-decided")
            rule = f"from {self.seeds}, the number of seeds, to {MOST}"
            must(self.seeds <= self.max_seeds <= MOST, "max_seeds", rule)
        must(0 <= self.tune <= MOST, "tune", f"from 0 to {MOST} trials")
        if self.prune and self.tune <= DRAWN:
            raise StudyError(
                f"prune needs tune above {DRAWN}, since the first {DRAWN} trials of a method are "
                f"never pruned; got tune={self.tune}"
            )
        must(self.threads >= 1, "threads", "at least 1")
        return must

    @property
    def folds(self) -> int | None:
        """How many parts every repetition tests in turn; settings of that name may say so."""
        return None

    def count_runs(self, seeds: int) -> int:
        """How many trainings a method has in so many repetitions: one for each fold.

        They are numbered from 0: that of repetition r and fold f is r · folds + f.
        """
        return seeds * (self.folds or 1)

    @property
    def devices(self) -> int:
        """How many devices a training takes; settings of that name may say more."""
        return 1

    @property
    @abstractmethod
    def is_named(self) -> bool:
        """Whether its settings are enough to repeat it, as the name of a function is not."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What every single training depends on.

        The settings in `FREE` are not in it.
        """

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, those that are ``None`` left out."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        values["methods"] = self.method_names
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value is not None
        }

    def to_toml(self) -> str:
        """The settings as TOML text."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def digest(self, *extra: str) -> str:
        """Eight hexadecimal digits that name `identity` and ``extra``."""
        text = json.dumps([self.identity(), *extra], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a study file's settings, without the fingerprint by which a run folder knows its data.

    Raises:
        StudyError: there is no such file, or it is no TOML.
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"no study file {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"cannot read {path} as TOML: {error}") from error
    settings.pop("fingerprint", None)
    return settings
