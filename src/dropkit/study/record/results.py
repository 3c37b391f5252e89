"""What a study measured: one frozen record per training, and the collection of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from dropkit.errors import StudyError, first_line
from dropkit.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMAT = "dropkit-results/1"


@dataclass(frozen=True, slots=True)
class Scores:
    """How well fixed weights do on one set of rows.

    ``loss`` is the mean negative log-likelihood in nats (classification) or the mean squared
    error of the standardised target (regression); ``error`` the misclassified fraction or the
    root mean squared error in the target's own units; ``calibration`` the expected calibration
    error over 15 equal-width bins of confidence, ``None`` for regression.
    """

    loss: float
    error: float
    calibration: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """One value per epoch; ``step`` counts parameter updates at that epoch's end.

    A loss that became NaN or infinite is ``None``. ``first_net`` has the validation loss of an
    ensemble's first net alone, and is empty of a single net.
    """

    step: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    val_error: tuple[float | None, ...]
    first_net: tuple[float | None, ...] = ()

    @property
    def judged(self) -> tuple[float | None, ...]:
        """The validation losses that pruning goes by: those of the net that is trained first."""
        return self.first_net or self.val_loss


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds: nothing else in a result may differ between two equal runs.

    ``epochs`` has those of training alone, without evaluation, up to each epoch's end.
    """

    seconds: float
    seconds_per_step: float
    epochs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One finished training of one method with one seed.

    ``status`` is ``"finished"``, ``"diverged"`` (the loss became NaN or infinite) or, of a trial
    alone, ``"pruned"``; the scores of the latter two are ``None``. ``selected_epoch`` is the
    epoch, from 1, whose weights were scored. ``row_errors`` holds the loss of every test row in
    order, as `pack_rows` writes it: 0 or 1 for a classified row, the squared error in the
    target's own units for a regression. An ensemble counts the steps of all its members; its
    curve is that of the averaged prediction.
    """

    method: str
    seed: int
    status: str
    steps: int
    selected_epoch: int
    arguments: dict[str, float]
    curve: Curve
    train: Scores | None
    val: Scores | None
    test: Scores | None
    row_errors: str | None
    timing: Timing


def pack_rows(values: npt.NDArray[Any], task: str) -> str:
    """Write one loss per test row as base64: bits for classification, float32 for regression."""
    raw = np.packbits(values.astype(bool)) if task == "classification" else values.astype("<f4")
    return base64.b64encode(raw.tobytes()).decode("ascii")


def unpack_rows(text: str, task: str, count: int) -> npt.NDArray[np.float64]:
    """Read what `pack_rows` wrote for ``count`` rows; `ValueError` if it is not that."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != ((count + 7) // 8 if task == "classification" else 4 * count):
        raise ValueError(f"{len(raw)} bytes cannot be the losses of {count} test rows")
    if task == "classification":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(np.float64)
    return np.frombuffer(raw, "<f4").astype(np.float64)


@dataclass(frozen=True)
class DataInfo:
    """What the data were, as far as a reader of the results needs it.

    ``constant_error`` is the test error of the best constant answer to the training rows of the
    first seed: their most frequent class, or mean; ``constant_train_error`` its error on these rows
    themselves. Results of before this was kept have none.
    """

    name: str
    task: str
    target: str
    rows_train: int
    rows_val: int
    rows_test: int
    inputs: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    constant_error: float | None = None
    constant_train_error: float | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the search of one method took: its trials, and the epochs that they trained in all.

    Of an ensemble the epochs of every net count.
    """

    trials: int
    pruned: int
    diverged: int
    epochs: int


@dataclass(frozen=True)
class Results:
    """Everything a study measured; saved and loaded without loss, reported without retraining.

    ``study`` is the configuration as `Study.to_dict` gives it, ``methods`` the canonical method
    expressions in the order asked for (``none``, or else the first, is the baseline), ``tuned``
    the arguments that tuning chose per method, ``tuning`` what that took, ``environment`` versions
    and hardware, ``command`` what repeats it, ``timing`` when and how it ran: like `Timing`, the
    only part that a repetition may change.
    """

    study: dict[str, Any]
    data: DataInfo
    methods: tuple[str, ...]
    runs: tuple[Run, ...]
    tuned: dict[str, dict[str, float]] = field(default_factory=dict)
    tuning: dict[str, Tuning] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    timing: dict[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """The method that every other one is paired with: ``none`` if present, else the first."""
        return "none" if "none" in self.methods else self.methods[0]

    def of(self, method: str) -> tuple[Run, ...]:
        """The runs of one method, in order of their seeds."""
        return tuple(sorted((r for r in self.runs if r.method == method), key=lambda r: r.seed))

    def table(self) -> pd.DataFrame:
        """One row per method: errors, differences, gap, cost, with their intervals."""
        from dropkit.study.analysis.summary import to_frame

        return to_frame(self)

    def plot(self) -> Figure:
        """Validation error against epoch for every method, with bands over the seeds."""
        from dropkit.study.report.figures import curves

        return curves(self)

    def save(self, path: str | Path) -> None:
        """Write the results as JSON, whole or not at all; `load` reads them back."""
        with replacing(Path(path)) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(self._pieces())

    def __str__(self) -> str:
        from dropkit.study.analysis.verdict import verdict

        said = verdict(self)
        return "\n".join((said.headline, *said.details, *said.alerts))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(str(self)).replace(chr(10), '<br>')}</p>{self.table().to_html()}"

    def to_json(self) -> str:
        """The whole as JSON text, with the format's name and version first."""
        return "".join(self._pieces())

    def _pieces(self) -> Iterator[str]:
        """The text of `to_json`, one training after the other: each takes memory for a moment."""
        encoder = json.JSONEncoder(
            indent=1, ensure_ascii=False, allow_nan=False, default=to_jsonable_python
        )
        tokens = encoder.iterencode({"format": FORMAT, **vars(self)})
        yield from iter(lambda: "".join(islice(tokens, 10_000)), "")
        yield "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Results:
        """Rebuild what `to_json` wrote; raises `StudyError` for anything else."""
        try:
            record = json.loads(text, object_hook=_run_or_record)
            found = record.pop("format", None) if isinstance(record, dict) else None
            if found == FORMAT:
                results = _RESULTS.validate_python(record)
                _check(results)
                return results
        except ValueError as error:
            raise StudyError(
                f"these are no whole results of a study: {first_line(error)}"
            ) from error
        raise StudyError(
            f"expected results of format {FORMAT!r}, got {found!r}; "
            "rerun the study with this version of dropkit"
        )

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read ``results.json``, or the one in the run folder ``path``.

        Raises:
            StudyError: there is none, it is damaged, or the folder's
                study is not finished.
        """
        from dropkit.study.store.folder import check_complete

        path = Path(path)
        file = path / "results.json" if path.is_dir() else path
        if file is not path:
            check_complete(path)
        try:
            return cls.from_json(file.read_bytes())
        except StudyError as error:
            raise StudyError(f"cannot read {file}: {error}") from error
        except FileNotFoundError:
            raise StudyError(f"no results: {file} is missing") from None


_RESULTS = TypeAdapter(Results)
_RUN = TypeAdapter(Run)
_OF_A_RUN = {field.name for field in fields(Run)}


def _run_or_record(record: dict[str, Any]) -> Any:
    """A training as soon as its text is read: as lists it would take five times the memory."""
    return _RUN.validate_python(record) if record.keys() >= _OF_A_RUN else record


def _check(results: Results) -> None:
    """Raise `ValueError` for what no study writes, though every value is of its type."""

    def must(holds: object, rule: str) -> None:
        if not holds:
            raise ValueError(rule)

    task, rows = results.data.task, results.data.rows_test
    must(results.methods, "there must be a method")
    must(
        task in ("classification", "regression") and rows > 0, "there must be a task and test rows"
    )
    for run in results.runs:
        where, curve = f"{run.method}, seed {run.seed}", run.curve
        must(run.status in ("finished", "diverged"), f"{where} must be finished or diverged")
        lengths = set(map(len, (curve.step, curve.train_loss, curve.val_loss, curve.val_error)))
        must(len(lengths) == 1 and curve.step, f"{where} must have a value for every epoch")
        scores = run.train, run.val, run.test
        must(run.status == "diverged" or all(scores), f"{where} must have its scores")
        if run.row_errors is not None:
            unpack_rows(run.row_errors, task, rows)
