"""Define the settings of a study, which are the same in TOML and in Python."""

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
"""The settings for reading and splitting the data."""

BUILT_IN = ("mlp", "cnn")
"""The names of the built-in networks."""


@dataclass(frozen=True, kw_only=True)
class Study(Plan):
    """The settings of a study; the same settings give the same numbers.

    Args:
        data: a known data set (digits, mnist, fashion-mnist, fsdd, 20ng-bow, dna, sst-2); a .csv,
            .tsv, .txt, .parquet or .npz file; or a folder of images with one subfolder per class.
        target: column to predict. Several columns, joined by commas, must all hold numbers or all
            hold labels of 0 and 1.
        test: file or folder with a fixed test set; by default a fraction of the rows is reserved.
        val: file or folder with fixed validation rows. By default each seed draws its own, except
            with split ``time``.
        task: what to predict: classes (classification), numbers (regression), several labels per
            row (multi-label) or several numbers (multi-output); by default inferred from the
            target.
        header: whether the first line of a table names its columns; detected by default.
        data_dir: folder with known data sets; by default ``$DROPKIT_DATA``.
        preprocess: whether to standardize and encode features. Otherwise networks receive the raw
            numbers: integers as int64 (bytes as uint8), everything else as float32.
        read: the kinds of columns that dropkit misreads, such as
            ``zip=category,price=decimal-comma``; ``dropkit inspect`` shows how columns are read.
        image_size: height and width of the images of a folder: the shorter side is resized to this
            length, and the longer side is cropped to its middle.
        stream: whether to read a Parquet table or a folder of images in pieces, so that it need not
            fit in memory. By default Parquet tables of more than 100 million cells, and folders
            with more than a gigabyte of pixels, are read in pieces.
        model: the network: ``mlp``, ``cnn``, or your own function as ``file.py:function``.
        hidden: widths of the hidden layers of ``mlp``.
        methods: methods to compare, for example ``none,dropout(p=0.3)+l1``, where ``+`` combines
            two methods; ``dropkit methods`` lists all methods. The baseline is ``none`` if present,
            otherwise the first.
        seeds: number of random seeds. With the same seed, all methods have the same split, initial
            weights and batches. With folds, every seed trains once per fold.
        until_decided: whether to add seeds until one method is significantly better than the
            baseline, or each is worse or too close to matter. The number of seeds doubles each
            time, and p-values are corrected for the repeated tests.
        max_seeds: maximum number of seeds with until_decided; by default four times seeds.
        epochs: passes over the training rows; by default 20 to 100, for about 2,000 updates.
        until_converged: whether to find the number of epochs first, with one seed. The number is
            doubled as long as this lowers the validation loss of at least one method by more than
            2 %, up to 8 times ``epochs``. All methods then train for the number found.
        batch_size: rows per update.
        optimizer: name of an optimizer of torch.optim with its arguments, for example
            ``adamw(weight_decay=0.01)``. The momentum of sgd is 0.9 by default.
        lr: learning rate; some methods multiply it. By default 0.05 with sgd and 0.001 with any
            other optimizer.
        lr_schedule: how the learning rate changes during training: it decreases to 0 linearly or
            along half a cosine, stays constant, or rises first and then decreases (one-cycle).
        loss: loss to minimize: cross-entropy or multi-margin for classes;
            binary-cross-entropy-with-logits for labels; mse, l1, smooth-l1 or huber for numbers,
            with torch's arguments, for example cross-entropy(label_smoothing=0.1); or a function of
            outputs and targets as file.py:function. By default the usual loss of the task; reports
            show the usual loss in any case.
        class_weights: weights of the classes in the loss. With ``balanced``, every class has the
            same total weight. If a row can have several labels, each label is weighted separately:
            the rows that have it get the same total weight as the rows that do not.
        metric: metric to compare: error, accuracy, balanced-error, auc, average-precision,
            f1-macro, f1-micro, log-loss, perplexity, brier; subset-error for labels; rmse, mae, r2,
            pinball(0.9). By default error or rmse, but auc if one of two classes has less than a
            tenth of the rows.
        tune: trials per method and seed that tune the method's arguments on the validation rows.
        prune: whether to stop a trial early if its validation loss is above the median of the
            method's earlier, finished trials after the same epoch; the first ten trials are never
            pruned.
        weights: which weights of each network to score: the weights after the ``final`` update, or
            the weights of the epoch with the ``best`` validation loss.
        split: how to divide rows: at ``random``; by ``time``, with the last rows for the test and
            the rows before them for validation; or by ``group``, with all rows of a group in one
            part.
        time: column with the time of each row; implies split ``time``. With split ``time``, it may
            be omitted if the table has exactly one column of dates.
        group: column whose equal values mark rows that belong together; implies split ``group``.
        folds: number of parts to divide the rows into, with a new division for every seed. Each
            part is the test set once, so every row is tested. Intervals and p-values then also
            account for the choice of training rows. By default all seeds share one test set.
        val_fraction: fraction of all rows for validation.
        test_fraction: fraction of all rows for the test, without folds.
        worthwhile: smallest difference that matters, in percentage points if the metric is in per
            cent, otherwise in its own units. By default a tenth of the baseline's error; for
            numbers, a hundredth of the error of always predicting the mean; none if a higher metric
            is better.
        threads: CPU threads per run and device; the last bits of every number depend on it.
        devices: number of GPUs (of processes, if there is no GPU) that share every batch.
        strategy: how several devices train one network: with ``ddp``, every device holds all
            weights, and the gradients are averaged.
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
            from dropkit.study.metrics import find_metric  # imported here because it needs numpy

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
        """Set the kind of split if the settings name a column for time or group."""
        if self.time is not None and self.group is not None:
            raise StudyError("rows are split by time or by group, not by both; remove one")
        named = "time" if self.time is not None else "group" if self.group is not None else None
        if named and self.split not in ("random", named):
            raise StudyError(f"split {self.split} takes no column for {named}; remove one")
        if named:
            object.__setattr__(self, "split", named)
        if self.split == "group" and self.group is None:
            raise StudyError(
                "split group needs the column whose values group the rows: name it with --group"
            )

    def _check_folds(self, must: Callable[[bool, str, str], None]) -> None:
        """Raise `StudyError` for settings that cannot be combined with folds."""
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
        """The share of all rows that tests one run, if there is no fixed test set."""
        return self.test_fraction if self.folds is None else 1 / self.folds

    @property
    def time_column(self) -> str | None:
        """The column that orders rows in time; empty for the only column with dates."""
        return self.time or ("" if self.split == "time" else None)

    @property
    def learning_rate(self) -> float:
        """The given learning rate, or the optimizer's default."""
        if self.lr is not None:
            return self.lr
        return LR_SGD if read_call("optimizer", self.optimizer)[0] == "sgd" else LR_OTHER

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds that ``read`` gives to columns, by column name."""
        return parse_kinds(self.read)

    @property
    def is_named(self) -> bool:
        return self.model in BUILT_IN or ":" in self.model

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Study:
        """Build a study from plain values; raises `StudyError` for unknown or ill-typed ones."""
        if "data" not in settings:
            raise StudyError('a study needs data: add data = "digits" or a file')
        kinds = settings.get("read")
        if isinstance(kinds, str | Mapping):
            kinds = tuple(f"{column}={kind}" for column, kind in parse_kinds(kinds).items())
            settings = settings | {"read": kinds}
        if isinstance(settings.get("target"), list | tuple):
            settings = settings | {"target": join_names(map(str, settings["target"]))}
        return from_values(cls, settings)

    @classmethod
    def from_toml(cls, path: str | Path) -> Study:
        """Read a study file; relative paths in it are relative to the working folder."""
        return cls.from_dict(read_settings(path))

    def identity(self) -> dict[str, Any]:
        """The settings that every single run depends on; with one device, strategy is left out."""
        free = {*FREE, "stream"}  # the data's fingerprint tells how they were read
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
