"""Find the column for each role: given by the user, or guessed from common names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from dropkit.errors import StudyError
from dropkit.study.judging import metrics
from dropkit.study.judging.exports import RUN, split_names, stack_methods
from dropkit.study.judging.table import Table, read_number
from dropkit.text import nearest

_NAMES: dict[str, tuple[str, ...]] = {
    "method": (
        "method", "methods", "model", "model_name", "algorithm", "algo", "approach", "variant",
        "regularizer", "regularization", "classifier", "estimator", "learner", "system",
        "optimizer", "technique", "treatment", "arm", "condition", "setting", "group",
    ),
    "seed": (
        "seed", "random_seed", "rng_seed", "random_state", "repetition", "repeat", "rep",
        "replicate", "replication", "trial", "run_number",
    ),
    "fold": ("fold", "cv_fold", "fold_id", "split", "split_id"),
    "dataset": (
        "dataset", "data_set", "dataset_name", "data", "task", "task_name", "benchmark", "problem",
        "environment", "env", "env_name", "game", "corpus",
    ),
    "step": ("step", "epoch", "global_step", "_step", "iteration", "training_iteration"),
    "row": ("row", "row_id", "example", "example_id", "sample", "sample_id", "index", "idx", "id"),
    "prediction": ("prediction", "predictions", "predicted", "pred", "y_pred", "yhat", "y_hat"),
    "target": ("target", "y_true", "label", "truth", "true", "actual", "gold", "y", "reference"),
}  # fmt: skip
_RUN_NAMES = (RUN, "name", "run_name", "mlflow_runname", "file", "run_id")
_STATES = ("state", "status")
_FINISHED = ("finished", "completed", "complete", "done", "success", "succeeded")
_PREFIX = re.compile(r"^(params?|config|metrics?|summary|tags|hparams|hyperparameters)[./]")


@dataclass(frozen=True)
class Columns:
    """The name of the column for each role; ``None`` for a role without a column.

    Attributes:
        method: the method, which is compared.
        score: the score of a run.
        seed: the seed, which pairs runs of different methods.
        fold: the test fold of a run in a cross-validation.
        dataset: the data set of the run.
        step: the step at which a score was logged; the last score of a run is used.
        row: the test row of a prediction.
        prediction: the prediction for this row.
        target: the true value of this row.
    """

    method: str
    score: str | None = None
    seed: str | None = None
    fold: str | None = None
    dataset: str | None = None
    step: str | None = None
    row: str | None = None
    prediction: str | None = None
    target: str | None = None

    @property
    def taken(self) -> dict[str, str]:
        """The columns that were found, by role."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {role: column for role, column in named.items() if column is not None}


def find_columns(table: Table, given: Mapping[str, str | None]) -> tuple[Table, Columns]:
    """Find the column for each role, and return the table with one row per run, step or prediction.

    Args:
        table: a table with one row per run, logged step or prediction, or with one column per
            method.
        given: the columns that the user named, by role.

    Raises:
        StudyError: a given column does not exist, or a needed column cannot be found.
    """
    for role, column in given.items():
        if column is not None and column not in table.columns and role != "score":
            hint = nearest(column, table.columns)
            raise StudyError(f"no column {column!r} for the {role}: {hint}")
    found = {role: given.get(role) or _find_usual(table, role, given) for role in _NAMES}
    if found["method"] is None:
        table, found = _find_methods(table, found, given.get("score"))
    if not (found["prediction"] and found["target"]) or given.get("score"):
        found |= dict.fromkeys(("row", "prediction", "target"))
        score = _find_score(table, given.get("score"), found)
    else:
        score = None
    method = found.pop("method")
    assert method is not None, "a table without methods was refused"
    return table, Columns(method=method, score=score, **found)


def find_unfinished(table: Table) -> list[int]:
    """Return the rows with a state other than finished, in a tracker's column of states."""
    for name, cells in table.columns.items():
        states = {cell.lower() for cell in cells}
        if _shorten(name) in _STATES and states & {*_FINISHED}:
            return [i for i, cell in enumerate(cells) if cell and cell.lower() not in _FINISHED]
    return []


def measure_overlap(table: Table, columns: Columns) -> float:
    """Return the ratio of test to training rows with k folds, 1/(k − 1); 0 without folds."""
    folds = len(set(table.columns[columns.fold])) if columns.fold else 1
    return 1 / (folds - 1) if folds > 1 else 0.0


def _shorten(name: str) -> str:
    """Return a column's name without the prefix of a tracker: ``params.Seed`` is ``seed``."""
    return re.sub(r"[\W]+", "_", _PREFIX.sub("", name).strip().lower()).removeprefix("mlflow_")


def _find_usual(table: Table, role: str, given: Mapping[str, str | None]) -> str | None:
    """Return the first unused column with a common name for the role and suitable values."""
    others = {column for other, column in given.items() if other != role}
    short: dict[str, str] = {}
    for name in table.columns:
        short.setdefault(_shorten(name), name)
    there = [short[usual] for usual in _NAMES[role] if usual in short]
    kept = [name for name in there if name not in others and _suits(role, table.columns[name])]
    return kept[0] if kept else None


def _suits(role: str, cells: list[str]) -> bool:
    if role in ("step", "fold"):
        return all(_is_whole(cell) for cell in cells)
    if role in ("method", "dataset"):
        return len(set(cells)) > 1
    return any(cells)


def _is_whole(cell: str) -> bool:
    number = read_number(cell)
    return number is not None and number.is_integer()


def _find_methods(
    table: Table, found: dict[str, str | None], score: str | None
) -> tuple[Table, dict[str, str | None]]:
    """Find methods in the names of runs, or take each column of numbers as a method."""
    for name, cells in table.columns.items():
        if _shorten(name) not in _RUN_NAMES or not all(cells):
            continue
        split = split_names(cells) if found["seed"] is None and found["fold"] is None else None
        if split:
            table = table.with_column("method", split[0]).with_column("seed", split[1])
            return table, found | {"method": "method", "seed": "seed"}
        if len(set(cells)) > 1 and (found["seed"] or _shorten(name) == "file"):
            return table, found | {"method": name}
    taken = {column for column in found.values() if column}
    numbers = [name for name in _list_numbers(table) if name not in taken]
    if len(numbers) > 1 and not any(metrics.find_direction(name) is not None for name in numbers):
        return _stack(table, numbers, score or "value", found)
    usual = next((n for n in table.columns if _shorten(n) in _NAMES["method"]), None)
    if usual is not None:
        only = table.columns[usual][0]
        raise StudyError(
            f"there is one method, {only!r}, in column {usual!r}; a comparison needs two: add the "
            "runs of another method, or name another column with --method-column"
        )
    raise StudyError(
        "no column with methods was found; name it with --method-column, one of "
        f"{', '.join(table.columns)}"
    )


def _stack(
    table: Table, methods: list[str], score: str, found: dict[str, str | None]
) -> tuple[Table, dict[str, str | None]]:
    """Stack the columns of methods; values in one row share a seed, fold or data set."""
    found = found | {"method": "method"}
    if found["dataset"] is None and found["seed"] is None and found["fold"] is None:
        left = [name for name in table.columns if name not in methods and any(table.columns[name])]
        named = [name for name in left if len(set(table.columns[name])) == len(table)]
        if len(named) == 1:
            found |= {"dataset": named[0]}
        else:
            table = table.with_column("seed", [str(i) for i in range(1, len(table) + 1)])
            found |= {"seed": "seed"}
    return stack_methods(table, methods, score), found


def _find_score(table: Table, given: str | None, found: Mapping[str, str | None]) -> str:
    if given is not None:
        if given not in table.columns:
            raise StudyError(f"no column {given!r} for the score: {nearest(given, table.columns)}")
        return given
    taken = {column for column in found.values() if column}
    numbers = [name for name in _list_numbers(table) if name not in taken]
    known = [name for name in numbers if metrics.find_direction(name) is not None]
    best = min(map(metrics.rank_part, known), default=0)
    chosen = [name for name in known if metrics.rank_part(name) == best] or numbers
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise StudyError(
            f"several columns may be the score: {', '.join(chosen)}; name one with --score-column"
        )
    text = [name for name in table.columns if name not in taken and any(table.columns[name])]
    raise StudyError(
        "no column holds only numbers, so none can be the score; the columns are "
        f"{', '.join(text)}: make one of them numeric"
        if text
        else "no column is left that could be the score: the table needs a column of numbers"
    )


def _list_numbers(table: Table) -> Iterator[str]:
    """Yield the columns that hold only numbers and are not bookkeeping, such as times.

    A column named like a score is also taken if only some of its cells are numbers. So a text in
    this column is reported as an error, and no other column is chosen instead.
    """
    for name, cells in table.columns.items():
        if _shorten(name) in _BOOKKEEPING or _shorten(name).endswith(("_id", "_time")):
            continue
        are_numbers = [read_number(cell) is not None for cell in cells if cell]
        enough = all if metrics.find_direction(name) is None else any
        if are_numbers and enough(are_numbers):
            yield name


_BOOKKEEPING = frozenset(
    {"id", "index", "unnamed_0", "column_1", "runtime", "duration", "created", "timestamp",
     "wall_time", "relative_time", "start_time", "end_time", "seconds", "_runtime", "_timestamp",
     "time", "_step", "lr", "learning_rate", "batch_size", "epochs", "steps", "weight_decay", "p",
     "rate", "dropout_rate", "version", "gpu", "n_params", "parameters"}
)  # fmt: skip
