"""The configuration of a study: frozen, checked when made, the same in TOML and in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from dropkit.errors import StudyError
from dropkit.study.calls import read_call
from dropkit.study.limits import FEWEST, MOST
from dropkit.study.methods.expression import Expression
from dropkit.study.optimizers import LR_OTHER, LR_SGD, SCHEDULES, parse_optimizer
from dropkit.study.plan import FREE, Plan, read_settings
from dropkit.study.reading import parse_kinds
from dropkit.study.settings import from_values
from dropkit.study.tasks import TASKS, Task, join_names

DEFAULT_METHODS = (
    "none",
    "dropout",
    "dropout+max-norm",
    "gaussian-dropout",
    "weight-decay",
    "early-stopping",
)

DATA_SETTINGS = (
    *("target", "test", "task", "header", "data_dir", "preprocess", "read"),
    *("image_size", "stream", "val", "split", "time", "group", "folds"),
    *("val_fraction", "test_fraction"),
)
"""The settings that say how the data are read and divided."""

BUILT_IN = ("mlp", "cnn")
"""The networks that a study knows by name."""


@dataclass(frozen=True, kw_only=True)
class Study(Plan):
    """What is compared, on what, and how; equal studies give equal numbers.

    Args:
        data: a known data set (digits, mnist, fashion-mnist, fsdd, 20ng-bow, dna, sst-2); a .csv,
            .tsv, .txt, .parquet or .npz file; or a folder of images with one subfolder per class.
        target: column to predict, or several, joined by commas: numbers, or labels of 0 and 1.
        test: file with a fixed test set; without one, a share of the rows is locked away.
        val: file (or folder) with fixed validation rows; without one, each seed draws them.
        task: what is predicted: classes (classification), numbers (regression), several labels a
            row (multi-label) or several numbers (multi-output); inferred from the target if not
            given.
        header: whether a table's first line names its columns; detected if not given.
        data_dir: folder that holds known data sets; ``$DROPKIT_DATA`` if not given.
        preprocess: whether features are standardized and encoded; if not, networks get numbers as
            they are, whole ones as int64 (bytes as uint8) and others as float32.
        read: how columns of a table are read where their values mislead, such as
            ``zip=category,price=decimal-comma``; ``dropkit inspect`` shows how they are read.
        image_size: height and width that a folder's images are brought to: the shorter side becomes
            so long, and the middle of the longer one is kept.
        stream: whether a Parquet table or a folder of images is read in pieces, so that it need not
            fit in memory; if not given, tables of more than 100 million cells and images of more
            than a gigabyte are.
        model: the network: ``mlp``, ``cnn``, or a function of yours as ``file.py:function``.
        hidden: widths of the hidden layers of ``mlp``.
        methods: methods to compare, for example ``none,dropout(p=0.3)+l1``, where ``+`` combines
            two; ``dropkit methods`` lists them. The baseline is ``none`` if present, else the
            first.
        seeds: paired repetitions, with seeds 0 to seeds - 1; each trains every fold, if there are
            folds.
        until_decided: whether seeds are added until a method differs significantly, or is shown not
            to differ by as much as matters. The number of seeds is doubled each time, and every
            look at the results needs more evidence.
        max_seeds: seeds at most, with until_decided; four times seeds if not given.
        epochs: passes over the training rows; if not given, 20 to 100, so that about 2,000 updates
            are made.
        until_converged: whether the number of epochs is found first, with one seed: it is doubled,
            up to eight times epochs, until that lowers no method's validation loss by more than
            2 %. All methods get the number found.
        batch_size: rows per update.
        optimizer: sgd, or any of torch.optim's with its arguments, for example
            adamw(weight_decay=0.01); the momentum of sgd is 0.9 unless given.
        lr: learning rate of the plain net, which a method may multiply; 0.05 with sgd and 0.001
            with any other optimizer if not given.
        lr_schedule: how the learning rate goes over the budget: it falls to 0 in a straight line
            (linear) or along half a cosine, stays constant, or rises first (one-cycle).
        loss: what is minimized: cross-entropy or multi-margin of classes;
            binary-cross-entropy-with-logits of labels; mse, l1, smooth-l1 or huber of numbers, with
            arguments as torch has them, for example cross-entropy(label_smoothing=0.1); or a
            function of outputs and targets as file.py:function. Cross-entropy and mse if not given;
            these are reported in any case.
        class_weights: balanced, so that every class counts alike in the loss, however many rows
            it has; of labels, those that hold and those that do not.
        metric: what methods are compared by: error, balanced-error, auc, average-precision,
            f1-macro, f1-micro, log-loss, brier; subset-error of labels; rmse, mae, r2,
            pinball(0.9). The error or the rmse if not given, but the auc where one of two classes
            has less than a tenth of the rows.
        tune: trials per method and seed that search its arguments on the validation rows.
        prune: whether a trial ends early that falls behind the median of its method's others; the
            first ten are never pruned.
        weights: which weights are scored, for every method alike: those after the ``final``
            update or those of the epoch with the ``best`` validation loss.
        split: how rows are divided: at ``random``; by ``time``, the last ones for the test and
            those before them for validation; or by ``group``, all rows of a group in one part.
        time: column with the time of a row, which implies split ``time``; if not given, the only
            column of dates.
        group: column that says which rows belong together, which implies split ``group``.
        folds: how many parts to divide the rows into anew for every repetition, so that each part
            is the test part once and every row is tested; intervals and p-values then allow for
            other training rows too, and for those that folds share. One test part for all
            repetitions if not given.
        val_fraction: share of all rows to validate on.
        test_fraction: share of all rows to test on, without folds.
        worthwhile: the smallest difference that matters, in points of the error or in the target's
            units; if not given, a tenth of the baseline's error, or a hundredth of the target's
            standard deviation.
        threads: processor threads per training, of each device; the last bits of every number
            depend on it.
        devices: GPUs, or processes where there is none, that share the rows of every batch.
        strategy: how several devices train one net: ``ddp``, each with all weights and the mean
            gradient.
    """

    data: str
    target: str | None = None
    test: str | None = None
    val: str | None = None
    task: Task | None = None
    header: bool | None = None
    data_dir: str | None = None
    preprocess: bool = True
    read: tuple[str, ...] = ()
    image_size: int | None = None
    stream: bool | None = None
    model: str = "mlp"
    hidden: tuple[int, ...] = (512, 512)
    methods: tuple[Expression, ...] = DEFAULT_METHODS  # type: ignore[assignment]  # read below
    seeds: int = 5
    until_decided: bool = False
    max_seeds: int | None = None
    epochs: int | None = None
    until_converged: bool = False
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float | None = None
    lr_schedule: Literal["linear", "cosine", "constant", "one-cycle"] = "linear"
    loss: str | None = None
    class_weights: Literal["balanced"] | None = None
    metric: str | None = None
    tune: int = 0
    prune: bool = False
    weights: Literal["final", "best"] = "final"
    split: Literal["random", "time", "group"] = "random"
    time: str | None = None
    group: str | None = None
    folds: int | None = None
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    worthwhile: float | None = None
    threads: int = 1
    devices: int = 1
    strategy: Literal["ddp"] = "ddp"

    call: ClassVar[str] = "dropkit.study.compare(model=...)"

    def __post_init__(self) -> None:
        must = self.read_shared()
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "read", tuple(f"{c}={k}" for c, k in self.kinds.items()))
        self._settle_split()
        self._check_folds(must)
        must(self.image_size is None or self.image_size >= 1, "image_size", "at least 1")
        must(self.epochs is None or self.epochs >= 1, "epochs", "at least 1")
        must(self.batch_size >= 1, "batch_size", "at least 1")
        must(0 < self.learning_rate < float("inf"), "lr", "a finite number above 0")
        must(self.lr_schedule in SCHEDULES, "lr_schedule", f"one of {', '.join(SCHEDULES)}")
        if self.optimizer != "sgd":
            parse_optimizer(self.optimizer)
        if self.metric is not None:
            from dropkit.study.metrics import find_metric  # needs numpy, as the names do not

            find_metric(self.metric)
        must(all(units >= 1 for units in self.hidden), "hidden", "widths of at least 1")
        must(self.devices >= 1, "devices", "at least 1")
        shared = self.devices == 1 or self.batch_size >= FEWEST * self.devices
        must(shared, "batch_size", f"at least {FEWEST} rows for each of {self.devices} devices")
        must(self.strategy == "ddp", "strategy", "ddp")
        must(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1")
        must(0 < self.test_fraction < 1, "test_fraction", "between 0 and 1")
        must(self.val_fraction + self.test_share < 1, "val_fraction", "less than 1 - test share")
        must(self.task in (None, *TASKS), "task", f"one of {', '.join(TASKS)}")
        matters = self.worthwhile is None or 0 <= self.worthwhile < float("inf")
        must(matters, "worthwhile", "a finite number, 0 or more")
        must(self.weights in ("final", "best"), "weights", "final or best")

    def _settle_split(self) -> None:
        """Take the kind of split from the column that is named for it."""
        if self.time is not None and self.group is not None:
            raise StudyError("rows are split by time or by group, not by both; leave one out")
        named = "time" if self.time is not None else "group" if self.group is not None else None
        if named and self.split not in ("random", named):
            raise StudyError(f"split {self.split} takes no column for {named}; leave one out")
        if named:
            object.__setattr__(self, "split", named)
        if self.split == "group" and self.group is None:
            raise StudyError(
                "split group needs the column that says which rows belong together: "
                "name it with --group"
            )

    def _check_folds(self, must: Callable[[bool, str, str], None]) -> None:
        """Refuse what cannot be tested in folds."""
        if self.folds is None:
            return
        must(self.folds >= 2, "folds", "at least 2")
        most = (self.max_seeds or self.seeds) * self.folds <= MOST
        must(most, "folds", f"so few that seeds times folds is at most {MOST}")
        if self.split == "time":
            raise StudyError(
                "a split by time tests the last rows, and folds test every row: leave out --folds, "
                "or split at random or by group"
            )
        if self.test is not None:
            raise StudyError(
                f"{self.test} is a fixed test set, and folds test every row: leave out --folds or "
                "--test"
            )
        if self.test_fraction not in (Study.test_fraction, 1 / self.folds):
            raise StudyError(
                f"test_fraction is for one test part, and {self.folds} folds test a share of "
                f"1/{self.folds} each: leave out --folds or --test-fraction"
            )

    @property
    def test_share(self) -> float:
        """The share of all rows that one training is tested on, without a fixed test set."""
        return self.test_fraction if self.folds is None else 1 / self.folds

    @property
    def time_column(self) -> str | None:
        """The column that rows are split by in time; empty for the only one with dates."""
        return self.time or ("" if self.split == "time" else None)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the plain net, given or not."""
        if self.lr is not None:
            return self.lr
        return LR_SGD if read_call("optimizer", self.optimizer)[0] == "sgd" else LR_OTHER

    @property
    def kinds(self) -> dict[str, str]:
        """What columns hold, by their names, as far as ``read`` says it."""
        return parse_kinds(self.read)

    @property
    def is_named(self) -> bool:
        return self.model in BUILT_IN or ":" in self.model

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Study:
        """Build a study from plain values; raises `StudyError` for unknown or ill-typed ones."""
        if "data" not in settings:
            raise StudyError('a study must say which data: add data = "digits" or a file')
        told = settings.get("read")
        if isinstance(told, str | Mapping):
            told = tuple(f"{column}={kind}" for column, kind in parse_kinds(told).items())
            settings = settings | {"read": told}
        if isinstance(settings.get("target"), list | tuple):
            settings = settings | {"target": join_names(map(str, settings["target"]))}
        return from_values(cls, settings)

    @classmethod
    def from_toml(cls, path: str | Path) -> Study:
        """Read a study file; relative paths in it are relative to the working folder."""
        return cls.from_dict(read_settings(path))

    def identity(self) -> dict[str, Any]:
        """What every single training depends on; one device has no strategy."""
        free = {*FREE, "stream"}  # the data say how they were read
        if self.until_converged:  # the number of epochs depends on all methods
            free.remove("methods")
        else:
            free.add("until_converged")
        if not self.prune:
            free.add("prune")
        if self.preprocess:
            free.add("preprocess")
        if not self.read:
            free.add("read")
        if self.split == "random":
            free.add("split")
        if self.devices == 1:
            free |= {"devices", "strategy"}
        settings = self.to_dict() | {"lr": self.learning_rate}
        return {key: value for key, value in settings.items() if key not in free}
