"""Tables as banks, shops, clinics, sensors, surveys and web shops export them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dropkit.study.data import Preprocessor, load, split
from helpers.messy import Messy, tables

TABLES = tables()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_read_as_a_person_would(table: Messy, tmp_path):
    data = load(table.write(tmp_path), target=list(table.columns)[-1])
    assert {reading.name: reading.kind for reading in data.columns} == table.kinds
    assert data.task == table.task
    parts = split(data, seed=0)
    fitted = Preprocessor().fit(data.X.iloc[parts.train], data.y[parts.train])
    assert np.isfinite(fitted.transform(data.X)).all()


def test_there_are_many_of_them():
    assert len(TABLES) >= 30


def test_nothing_of_the_target_reaches_the_features(tmp_path):
    """The targets are drawn at random: whoever predicts them better than chance has seen them."""
    right = []
    for table in TABLES:
        if table.task == "classification":
            data = load(table.write(tmp_path), target=list(table.columns)[-1])
            parts = split(data, seed=0)
            fitted = Preprocessor().fit(data.X.iloc[parts.train], data.y[parts.train])
            rows, y = fitted.transform(data.X), data.y
            model = LogisticRegression(max_iter=200).fit(rows[parts.train], y[parts.train])
            # Against the chance of each class, which a constant answer has as well.
            share = np.bincount(y[parts.test])[model.predict(rows[parts.test])] / len(parts.test)
            right.extend((model.predict(rows[parts.test]) == y[parts.test]) - share)
    error = np.std(right) / np.sqrt(len(right))
    assert len(right) > 500
    assert abs(np.mean(right)) < 4 * error
