"""Columns: each is read as what it holds, or left out with a note."""

import datetime

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import DataError
from dropkit.study.data._columns import read_columns
from dropkit.study.data._dates import find_date
from dropkit.study.data._numbers import find_notation

KEEP = [3.0, 1.0, 2.0] * 10


def one(values, **more):
    """The column that becomes of ``values`` (``None`` if it is dropped), and the notes."""
    columns = read_columns(pd.DataFrame({"keep": KEEP, "x": values, **more}))
    return columns.X.get("x"), columns.notes


def read(values, name="x", told=None, hint=""):
    """The reading of one column, and its features."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"keep": rng.random(len(values)), name: values})
    columns = read_columns(frame, told and {name: told}, hint=hint)
    return columns.readings[1], columns.X.drop(columns="keep")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 2] * 10, [1.0, 2.0, 2.0] * 10),
        ([" 1", "2.5 ", "?"] * 10, [1.0, 2.5, np.nan] * 10),
        ([True, False, True] * 10, [1.0, 0.0, 1.0] * 10),
        (["true", "False", None] * 10, [1.0, 0.0, np.nan] * 10),
        (["Ja", "nein", "ja"] * 10, [1.0, 0.0, 1.0] * 10),
    ],
)
def test_numbers(values, expected):
    column, notes = one(values)
    assert column.dtype == np.float64
    np.testing.assert_array_equal(column, expected)
    assert notes == ()


VALUES = [1200.5, -3.25, 0.5, 1234567.0, 89.0, 12.75] * 5


@pytest.mark.parametrize(
    "write",
    [
        lambda v: repr(v),
        lambda v: f"{v:,.2f}",
        lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")),
        lambda v: f"{v:,.2f}".replace(",", " ").replace(".", ","),
        lambda v: f"{v:,.2f}".replace(",", "'"),
        lambda v: f"{v:,.2f}".replace(",", "\u202f").replace("-", "−"),
        lambda v: f"${v:,.2f}".replace("$-", "-$"),
        lambda v: f"{v:.2f} €".replace(".", ","),
        lambda v: f"EUR {v:,.2f}",
        lambda v: f"({-v:,.2f})" if v < 0 else f"{v:,.2f}",
        lambda v: f"{v:.8e}",
        lambda v: f"{v}%",
        lambda v: f"{v} mg/dL",
        lambda v: f"{abs(v):.2f}-" if v < 0 else f"{v:.2f}",
    ],
)
def test_the_same_numbers_in_any_notation(write):
    reading, X = read([write(v) for v in VALUES])
    assert reading.kind == "number"
    np.testing.assert_array_equal(X["x"], VALUES)


def test_an_ambiguous_decimal_mark_follows_the_table_or_is_noted():
    words = ["1,234", "2,500", "12,000"] * 10
    reading, X = read(words)
    assert X["x"][0] == 1234
    assert reading.notes == (
        "column 'x': '1,234' is read as 1234; --read x=decimal-comma changes it",
    )
    assert read(words, told="decimal-comma")[1]["x"][0] == 1.234
    reading, X = read(words, hint=",")
    assert (X["x"][0], reading.notes) == (1.234, ())
    assert read(["1.234", "2.500"] * 10, hint=",")[1]["x"][0] == 1234


def test_units_that_convert_are_converted_and_others_make_categories():
    assert read(["1.5 kg", "500 g", "2 kg"] * 10)[1]["x"][:2].tolist() == [1500, 500]
    assert read(["$1.2M", "$900", "$5k"] * 10)[1]["x"][:3].tolist() == [1.2e6, 900, 5e3]
    assert read(["90 min", "2 h", "1 h"] * 10)[1]["x"][:2].tolist() == [5400, 7200]
    assert read(["$5", "€4", "$6", "€7"] * 10)[0].kind == "category"
    assert read(["12A", "13B", "14C", "12B"] * 10)[0].kind == "category"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (["02134", "10001", "94105"] * 10, "x"),
        (["4e400", "123", "77e1"] * 10, "x"),
        ([94105, 10001, 10001] * 10, "zip"),
        ([17, 4, 4] * 10, "storeID"),
        (["12345678901234567", "12345678901234568"] * 15, "x"),
    ],
)
def test_codes_are_categories(values, name):
    reading, X = read(values, name)
    assert reading.kind == "category"
    assert X[name][0] == str(values[0])
    assert f"--read {name}=number" in reading.notes[0]


def test_numbers_that_merely_look_like_codes_stay_numbers():
    assert read(["0.5", "00.25", "12"] * 10)[0].kind == "number"
    assert read(["0", "10", "7"] * 10)[0].kind == "number"
    assert read(["1e5", "2e3", "7"] * 10)[0].kind == "number"
    assert read([0.5, 1.5, 2.0] * 10, "zip")[0].kind == "number"


DAYS = pd.date_range("2023-01-05", periods=60, freq="37h")


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y-%m-%d",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S.%f",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y %I:%M %p",
        "%d-%b-%y",
        "%B %d, %Y",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%Y%m%d",
        "%Y/%m/%d",
    ],
)
def test_dates(pattern):
    reading, X = read([day.strftime(pattern) for day in DAYS])
    assert reading.kind == "date"
    assert reading.notes == ()
    exact = "%H" in pattern or "%I" in pattern
    days = DAYS if exact else DAYS.normalize()
    expected = (days - pd.Timestamp(0)) / pd.Timedelta(days=1)
    tolerance = 1 / 1440 if exact else 0.0  # some patterns have no seconds
    np.testing.assert_allclose(X["x days"], expected, rtol=0, atol=tolerance)
    assert ("x hour sine" in X) == exact


def test_dates_of_other_kinds():
    seconds = ((DAYS - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).astype(int)
    expected = read(DAYS)[1]
    pd.testing.assert_frame_equal(
        read(seconds, "x_ts")[1].set_axis(expected.columns, axis=1), expected
    )
    aware = DAYS.tz_localize("Europe/Berlin")
    assert read(aware)[1]["x days"][0] == pytest.approx(expected["x days"][0] - 1 / 24)
    assert read(pd.Series(DAYS).diff())[1]["x"][1] == 37 * 3600


def test_an_ambiguous_order_of_day_and_month_is_noted():
    words = ["03/04/2024", "05/06/2024", "07/08/2024"] * 10
    reading, X = read(words)
    assert "month/day; --read x=day-first changes it" in reading.notes[0]
    day_first = read(words, told="day-first")[1]
    assert day_first["x days"][0] - X["x days"][0] == 30  # 3 April and 4 March 2024


far = pytest.mark.skipif(
    pd.__version__ < "3", reason="pandas 2 has no dates beyond 2262: they count as missing"
)


@far
@pytest.mark.parametrize("pattern", ["%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%Y-%m-%d %H:%M"])
def test_dates_beyond_the_nanoseconds_of_pandas(pattern):
    """Tables of banks write "no end" as 9999-12-31; pandas' nanoseconds end in 2262."""
    words = [day.strftime(pattern) for day in DAYS] + [
        pd.Timestamp(9999, 12, 31).strftime(pattern),
        pd.Timestamp(1500, 3, 1).strftime(pattern),
    ]
    reading, X = read(words)
    assert reading.kind == "date"
    days = [datetime.date(9999, 12, 31), datetime.date(1500, 3, 1)]
    assert X["x days"][-2:].tolist() == [(day - datetime.date(1970, 1, 1)).days for day in days]
    assert X["x year"][-2:].tolist() == [9999, 1500]
    stamps = pd.Series([*DAYS.normalize(), *days]).astype("datetime64[s]")
    assert read(stamps)[1]["x days"][-2:].tolist() == X["x days"][-2:].tolist()


@far
def test_a_year_that_means_no_date_is_noted():
    words = [f"{day:%Y-%m-%d}" for day in DAYS] + ["9999-12-31"] * 3
    (note,) = read(words)[0].notes
    assert note.startswith(
        "column 'x' holds the year 9999 in 3 rows, far from its other values (20"
    )


@pytest.mark.parametrize(
    "usual", ["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%y", "%Y-%m-%d %H:%M", "%d/%m/%Y at %H:%M:%S.%f"]
)
def test_dates_of_other_formats_are_read_beside_the_usual_one(usual):
    """pandas parses the words of the usual format together; all others are read one by one."""
    words = [day.strftime(usual) for day in DAYS]
    odd = ["5 March 2024", "2024-3-5T07:30:00+02:00", "20240305"]
    reading, X = read([*words, *odd])
    times = [datetime.datetime.strptime(word, usual) for word in words]
    expected = [(time - datetime.datetime(1970, 1, 1)).total_seconds() / 86400 for time in times]
    assert reading.kind == "date"
    assert X["x days"][: len(words)].tolist() == pytest.approx(expected, abs=1e-9)
    assert (X["x days"][-3:] // 1).tolist() == [19787.0] * 3


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        (["20240105", "20231231"], "2024115"),  # November 5 or January 15
        (["2024-01", "2023-12"], "2999-01"),  # four digits and two are years only from 1900 to 2099
    ],
)
def test_dates_that_the_usual_format_would_misread_are_missing(usual, odd):
    words = [*usual, odd]
    days = find_date(words).features(words)["days"]
    assert np.isnan(days).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["$1,200.50", "$ 3", "5$", "-$7", "$5$", "$1" + ",000" * 20],
            [1200.5, 3, 5, -7, np.nan, np.nan],
        ),
        (["5 kg", "1,200kg", "7", "kg8"], [5.0, 1200.0, 7.0, np.nan]),
        (["3k", "4.5k", "1,200"], [3e3, 4.5e3, 1200.0]),
        (["1.200,5 €", "€ 3", "12,"], [1200.5, 3.0, 12.0]),
        (["1,200", "12,34", "1,200.5.5"], [1.2, 12.34, np.nan]),
    ],
)
def test_numbers_beside_their_unit_and_what_is_none(words, expected):
    values = find_notation(words).features(words)[""]
    np.testing.assert_array_equal(values[:-1], expected)


def test_a_circle_closes_and_a_gap_lies_in_its_middle():
    _, X = read(["2024-01-01", "2024-12-31", "2024-07-01", ""] * 10)
    january, december, _, gap = X[["x month sine", "x month cosine"]].to_numpy()[:4]
    assert np.linalg.norm(january - december) == pytest.approx(2 * np.sin(np.pi / 12))
    assert gap.tolist() == [0.0, 0.0]
    assert np.isnan(X["x days"][3])


def test_times_and_durations():
    reading, X = read(["06:00", "18:30", "23:59"] * 10)
    assert (reading.kind, X["x hours"][1]) == ("time", 18.5)
    assert read(["1:30 PM", "12:15 AM"] * 15)[1]["x hours"][:2].tolist() == [13.5, 0.25]
    for words, seconds in (
        (["1h 30m", "45m", "2h"], [5400, 2700, 7200]),
        (["36:00:00", "01:30:00", "00:00:05"], [129600, 5400, 5]),
        (["PT1H30M", "PT45M", "P1DT1S"], [5400, 2700, 86401]),
        (["1 days 02:00:00", "0 days 00:00:01", "3 days 00:00:00"], [93600, 1, 259200]),
    ):
        reading, X = read(words * 10)
        assert reading.kind == "duration"
        assert X["x"][:3].tolist() == seconds
    assert read(["06:00", "18:30", "23:59"] * 10, told="duration")[1]["x"][1] == 18.5 * 3600


@pytest.mark.parametrize("between", ["|", "; ", ", "])
def test_lists_of_categories(between):
    rng = np.random.default_rng(0)
    held = [
        rng.choice(["drama", "war", "sci-fi", "noir"], rng.integers(1, 4), False) for _ in range(80)
    ]
    reading, X = read([between.join(items) for items in held])
    assert reading.kind == "list"
    assert list(X) == ["x: drama", "x: noir", "x: sci-fi", "x: war"]
    assert X["x: war"].tolist() == ["war" in items for items in held]
    assert read([str(list(map(str, items))) for items in held])[1].equals(X)


def test_text_is_stripped_and_missing_becomes_nan():
    column, _ = one([" a", "b ", "N/A"] * 10)
    assert column.dtype == object
    assert column[:2].tolist() == ["a", "b"]
    assert column.isna()[:3].tolist() == [False, False, True]


def test_words_that_may_mean_missing_are_kept_where_they_are_frequent():
    frequent, _ = read(["None", "Attached", "Built-in"] * 40)
    assert frequent.missing == 0
    rare, X = read(["None"] * 3 + ["Attached", "Built-in"] * 60)
    assert (rare.missing, rare.missing_words) == (3, ("None",))
    assert X["x"].isna().sum() == 3
    numbers, X = read(["-", "1.5", "2.5", "unknown"] * 10)
    assert (numbers.kind, numbers.missing) == ("number", 20)
    assert set(numbers.missing_words) == {"-", "unknown"}


def test_what_comes_as_categories_stays_so():
    column, _ = one(pd.Categorical(["1", "2", "none"] * 10))
    assert column[:3].tolist() == ["1", "2", "none"]


TEXT = [f"the {i}th of them said a great many words" for i in range(30)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([5] * 30, "constant"),
        (["a"] * 30, "constant"),
        (["2024-05-01"] * 30, "constant"),
        ([None] * 30, "without any value"),
        (["-", "n/a", ""] * 10, "without any value"),
        (range(7, 37), "count the rows"),
        ([f"id-{i}" for i in range(30)], "differ in every row"),
        (TEXT, "free text"),
        (KEEP, "repeat another"),
        ([str(v) for v in KEEP], "repeat another"),
    ],
)
def test_useless_columns_are_dropped_with_a_note(values, reason):
    column, notes = one(values)
    assert column is None
    assert len(notes) == 1
    assert notes[0].startswith("dropped ")
    assert reason in notes[0]
    assert ": x" in notes[0]


def test_numbers_that_name_every_row_are_dropped_by_their_name_alone():
    ids = np.random.default_rng(0).choice(10**6, 100, replace=False)
    assert read(ids, "PassengerId")[0].kind == "identifier"
    assert read(ids, "population")[0].kind == "number"


def test_one_value_with_gaps_is_kept_for_its_gaps():
    column, _ = one([5.0, np.nan, 5.0] * 10)
    assert column is not None


def test_a_few_words_among_numbers_are_missing_with_a_note():
    column, notes = one([*map(str, range(100, 158, 2)), "ask Bob"])
    assert column.dtype == np.float64
    assert column.isna().tolist() == [False] * 29 + [True]
    assert notes == (
        "column 'x' holds other cells among its numbers, taken as missing: 'ask Bob' in row 30",
    )


def test_many_words_among_numbers_make_categories():
    column, notes = one(["1", "2", "x"] * 10)
    assert column.dtype == object
    assert notes == ()


NUMBERS = [str(i % 70) for i in range(180)]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (
            NUMBERS + ["low"] * 19 + ["x"],
            "column 'x' holds numbers in 90 % of its cells, but not 'low' in row 181, and 19 more: "
            "read as categories; with --read x=number those cells are missing",
        ),
        (
            [f"2024-01-{i % 30 + 1:02d}" for i in range(180)] + ["soon"] * 20,
            "column 'x' holds dates in 90 % of its cells, but not 'soon' in row 181, and 19 more",
        ),
        ([f"1,{i:03d}" for i in range(200)], "'1,000' is read as 1000"),
        (
            [f"name {i % 70}" for i in range(200)],
            "column 'x' holds rare values in 100 % of its cells",
        ),
        ([f"name {i % 30}" for i in range(200)], None),
        (pd.Categorical(NUMBERS + ["-"] * 20), None),
        (["-999"] * 4 + [f"{i % 49}.5" for i in range(196)], "holds -999 in 4 rows, far from its"),
        (["Berlin", "berlin ", "Bonn", "BONN"] * 50, "'berlin' differ by case or spaces (2 such"),
    ],
)
def test_ambiguous_columns_are_noted(values, note):
    notes = read_columns(pd.DataFrame({"keep": [3.0, 1.0] * 100, "x": values})).notes
    told = [text for text in notes if not text.startswith("dropped")]
    assert len(told) == (note is not None)
    assert note is None or note in told[0]


def test_the_kind_of_a_column_can_be_set():
    assert read(["1", "2", "3"] * 10, told="category")[1]["x"][0] == "1"
    assert read(TEXT, told="category")[1]["x"][0] == TEXT[0]
    assert read([5] * 30, told="number")[1]["x"][0] == 5.0
    assert read(["02134", "10001"] * 15, told="number")[1]["x"][0] == 2134.0
    assert read(["1", "2", "x"] * 10, told="number")[1]["x"].isna().sum() == 10
    assert read(["a;b", "c", "b;c"] * 10, told="list")[0].becomes == ("x: a", "x: b", "x: c")
    assert read(["1", "2", "3"] * 10, told="drop")[0].is_left_out


def test_text_can_be_hashed():
    texts = ["late again", "Late AGAIN!", "quick and kind", ""] * 10
    reading, X = read(texts, told="text")
    assert reading.kind == "text"
    assert len(reading.becomes) == 64
    late, same, quick, none = X.to_numpy()[:4]
    np.testing.assert_array_equal(late, same)
    assert np.linalg.norm(late) == pytest.approx(1)
    assert abs(late @ quick) < 0.9
    assert not none.any()
    assert "--read x=text keeps one" in one(TEXT)[1][0]


@pytest.mark.parametrize(
    ("values", "told", "message"),
    [
        (["a", "b", "3"] * 10, "number", r"cannot be read as number: 'a' in row 1, and 19 more"),
        (["a", "b"] * 15, "date", "cannot be read as date: 'a' in row 1"),
        (["a", "b"] * 15, "boolean", "cannot be read as boolean: it holds 'a', 'b'"),
        (["a", "b"] * 15, "list", "cannot be read as list"),
    ],
)
def test_a_kind_that_does_not_suit_is_refused(values, told, message):
    with pytest.raises(DataError, match=message):
        read(values, told=told)


def test_a_kind_of_no_column():
    with pytest.raises(DataError, match="no column 'y' to read as number"):
        read_columns(pd.DataFrame({"x": KEEP}), {"y": "number"})


def test_infinite_feature():
    with pytest.raises(DataError, match="column 'x' is infinite in row 3"):
        one([1.0, 2.0, -np.inf] * 10)


def test_no_feature_left():
    with pytest.raises(DataError, match=r"no feature is left.*constant columns: a"):
        read_columns(pd.DataFrame({"a": [1, 1, 1]}))


def test_test_columns_are_read_as_the_training_columns():
    train = read_columns(pd.DataFrame({"n": KEEP, "c": ["1", "2", "x"] * 10}))
    test, notes = train.read_test(
        pd.DataFrame({"c": [1, 2] * 10, "extra": 0, "n": ["3", "no"] + ["4"] * 18})
    )
    assert list(test) == ["n", "c"]
    assert test["c"].tolist()[:2] == ["1", "2"]
    np.testing.assert_array_equal(test["n"], [3.0, np.nan] + [4.0] * 18)
    assert "'no' in row 2" in notes[0]
    with pytest.raises(DataError, match=r"'n' must hold numbers.* 2 of 20 rows: 'no' in row 2"):
        train.read_test(pd.DataFrame({"c": [1] * 20, "n": ["3", "no"] + ["no"] + ["4"] * 17}))
    with pytest.raises(DataError, match="no column 'n': did you mean 'nn'"):
        train.read_test(pd.DataFrame({"nn": [1], "c": ["x"]}))


def test_test_columns_keep_notation_order_items_and_features():
    frame = pd.DataFrame(
        {
            "price": ["1.200,50 €", "3,5 €"] * 15,
            "day": ["13/01/2024", "02/03/2024"] * 15,
            "tags": ["a;b", "b;c", "a", "b", "c", "a;c"] * 5,
        }
    )
    # None of these cells says by itself how it is to be read.
    other = pd.DataFrame({"price": ["1.234 €"], "day": ["05/01/2024"], "tags": ["a;zzz"]})
    test, _ = read_columns(frame).read_test(other)
    assert test["price"][0] == 1234
    assert test["day days"][0] == (pd.Timestamp("2024-01-05") - pd.Timestamp(0)).days
    assert [test["tags: a"][0], test["tags: c"][0]] == [1.0, 0.0]
