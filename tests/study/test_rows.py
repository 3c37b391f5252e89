"""Rows that came from Python are read back from the run folder as they were."""

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import from_arrays, load, split
from dropkit.study.rows import row_settings, save_rows

COUNT = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "price": [f"${v:,.2f}" for v in RNG.uniform(1, 5000, COUNT)],
        "day": pd.date_range("2024-01-01", periods=COUNT),  # counts the rows
        "zip": RNG.choice(["02134", "10001"], COUNT),
        "tags": RNG.choice(["a|b", "b", "a", "c|a", "c"], COUNT),
        "owner": RNG.choice([f"p{i}" for i in range(12)], COUNT),
        "gap": RNG.choice(["None", "x"], COUNT),
        "same": 1,
    }
)
LABELS = RNG.choice(["02", "10"], COUNT)


@pytest.mark.parametrize("key", [{}, {"time": "day"}, {"group": "owner"}])
def test_tables(tmp_path, key):
    data = from_arrays(FRAME, LABELS, X_test=FRAME[:9], y_test=LABELS[:9], **key)
    save_rows(data, tmp_path)
    settings = row_settings(data, tmp_path)
    again = load(settings.pop("data"), **settings, **key)
    assert again.fingerprint == data.fingerprint
    assert again.columns == data.columns
    assert again.classes == ("02", "10")
    by = next(iter(key), "random")
    for part in ("train", "val"):
        rows = [getattr(split(each, seed=1, by=by), part) for each in (data, again)]
        np.testing.assert_array_equal(*rows)
