"""Numbers of test rows as text: short where nothing is lost, exact where it would be."""

import numpy as np
import pytest

from dropkit.study.record import NUMBERS, pack_rows, unpack_rows
from dropkit.study.record.predictions import pack, unpack

SPREAD = np.random.default_rng(0).standard_normal(1000)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(1.7e9 + 100 * SPREAD, id="times since 1970"),
        pytest.param(1e24 * SPREAD, id="masses of planets"),
        pytest.param((1e24 * SPREAD) ** 2, id="squares above the largest float32"),
        pytest.param((1e-26 * SPREAD) ** 2, id="squares below the smallest float32"),
        pytest.param(SPREAD, id="standardized"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_numbers_keep_their_differences(values: np.ndarray) -> None:
    restored = unpack_rows(pack_rows(values, NUMBERS), NUMBERS, len(values))
    assert abs(restored - values).max() <= 1e-5 * values.std()
    packed = pack(values[:, None])
    assert packed is not None
    assert abs(unpack(packed)[:, 0] - values).max() <= 1e-5 * values.std()


def test_ordinary_numbers_take_four_bytes_each() -> None:
    assert len(pack_rows(SPREAD, NUMBERS)) < 4 * len(SPREAD) * 4 / 3 + 4


@pytest.mark.parametrize("count", [999, 1001])
def test_text_for_another_number_of_rows_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="cannot be the losses"):
        unpack_rows(pack_rows(SPREAD, NUMBERS), NUMBERS, count)
