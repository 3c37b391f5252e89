"""The data of a study, as far as a reader of its results needs to know them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataInfo:
    """Name, task, sizes and classes of the data.

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
