"""Define the settings that all kinds of studies share."""

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
"""Settings that no single run depends on; changing them keeps the finished runs valid."""


class Plan(ABC):
    """Base class of the settings of a study: a frozen dataclass of plain values."""

    methods: tuple[Expression, ...]
    seeds: int
    until_decided: bool
    max_seeds: int | None
    tune: int
    prune: bool
    threads: int
    call: ClassVar[str]
    """The Python call that the study file names if no shell command can repeat the study."""

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods as text; runs are identified by them."""
        return tuple(map(str, self.methods))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds after which the results are analyzed."""
        if not self.until_decided:
            return (self.seeds,)
        return plan_looks(self.seeds, self.max_seeds)

    def read_shared(self) -> Callable[[bool, str, str], None]:
        """Parse the methods, check the shared settings, and return a function for more checks."""

        def must(holds: bool, name: str, rule: str) -> None:
            if not holds:
                raise StudyError(f"{name} must be {rule}, got {getattr(self, name)}")

        # Imported here because parsing methods needs torch, and reading the settings' names does
        # not.
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
        """The number of folds of every repetition; ``None`` without folds."""
        return None

    def count_runs(self, seeds: int) -> int:
        """Return the number of runs per method: one per repetition, or one per repetition and fold.

        Runs are numbered from 0: the run of repetition r and fold f has the number r · folds + f.
        """
        return seeds * (self.folds or 1)

    @property
    def devices(self) -> int:
        """The number of devices per run; a study with a setting of this name overrides it."""
        return 1

    @property
    @abstractmethod
    def is_named(self) -> bool:
        """Whether the settings alone can repeat the study, without a function from Python."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the settings that every single run depends on, without those in `FREE`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, without those that are ``None``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        values["methods"] = self.method_names
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value is not None
        }

    def to_toml(self) -> str:
        """Return the settings as TOML text."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def digest(self, *extra: str) -> str:
        """Return the first eight hexadecimal digits of a hash of `identity` and ``extra``."""
        text = json.dumps([self.identity(), *extra], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings of a study file, without the fingerprint of its data.

    Raises:
        StudyError: the file does not exist, or is not valid TOML.
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"no study file {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"cannot read {path} as TOML: {error}") from error
    settings.pop("fingerprint", None)
    return settings
