"""Tables as banks, shops, clinics, sensors, surveys and web shops export them."""

import numpy as np
import pytest

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
