"""Names in lines: nothing lost, nothing too wide, no part torn that fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit.study.report.wrapping import split_name, wrap_name

LONG = "gaussian-dropout(p=0.5,input=0.2)+max-norm(c=3.5)+weight-decay(l2=0.0005)"


@given(st.text("ab+(,)=.-", max_size=60), st.integers(1, 40))
def test_nothing_is_lost_or_too_wide(name: str, width: int) -> None:
    assert "".join(split_name(name)) == name
    lines = wrap_name(name, width).split("\n")
    assert "".join(lines) == name
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [17, 20, 40])
def test_no_part_that_fits_is_torn(width: int) -> None:
    assert all(
        any(piece in line for line in wrap_name(LONG, width).split("\n"))
        for piece in split_name(LONG)
    )


def test_whole_methods_stay_together_where_they_can() -> None:
    assert wrap_name(LONG, 35).split("\n") == [
        "gaussian-dropout(p=0.5,input=0.2)",
        "+max-norm(c=3.5)",
        "+weight-decay(l2=0.0005)",
    ]
    assert wrap_name("l1", 20) == "l1"


def test_nothing_joins_a_broken_method() -> None:
    assert wrap_name("dropout(p=0.3,input=0.1)+l1", 16) == "dropout(p=0.3,\ninput=0.1)\n+l1"
