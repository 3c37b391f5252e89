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


@pytest.mark.parametrize("fixed", [(), ("test",), ("test", "val")])
@pytest.mark.parametrize("key", [{}, {"time": "day"}, {"group": "owner"}])
def test_tables(tmp_path, key, fixed):
    # The validation rows hold categories that the others lack.
    more = FRAME[:9].assign(zip="90210")
    parts = {f"{what}_{part}": v for part in fixed for what, v in (("X", more), ("y", LABELS[:9]))}
    data = from_arrays(FRAME, LABELS, **parts, **key)
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


def test_arrays(tmp_path):
    X = RNG.normal(size=(COUNT, 3))
    data = from_arrays(X, LABELS, X_test=X[:5], y_test=LABELS[:5], X_val=X[5:9], y_val=LABELS[5:9])
    save_rows(data, tmp_path)
    again = load(
        **{"source" if k == "data" else k: v for k, v in row_settings(data, tmp_path).items()}
    )
    assert again.fingerprint == data.fingerprint
    np.testing.assert_array_equal(again.val_rows, range(COUNT, COUNT + 4))
