"""Text tables: encoding, separator, header, rows that do not fit."""

import pytest

from dropkit.study.data import DataError
from dropkit.study.data._text import read_text_table


def read(tmp_path, text, suffix=".csv", header=None):
    file = tmp_path / f"table{suffix}"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_text_table(file, header)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(tmp_path, separator):
    rows = [["height", "sex"], ["1.5", "f"], ["2.5", "m"]]
    frame, header = read(tmp_path, "\n".join(separator.join(row) for row in rows))
    assert header
    assert list(frame) == ["height", "sex"]
    assert frame["height"].tolist() == ["1.5", "2.5"]


def test_a_tsv_file_need_not_have_tabs(tmp_path):
    assert list(read(tmp_path, "a,b\n1,2\n", ".tsv")[0]) == ["a", "b"]
    assert list(read(tmp_path, "a,b\tc,d\n1\t2\n", ".tsv")[0]) == ["a,b", "c,d"]


def test_separator_inside_quotes_or_sentences_does_not_count(tmp_path):
    frame, _ = read(tmp_path, 'text;n\n"a; b, c";1\nd, e;2\n')
    assert frame["text"].tolist() == ["a; b, c", "d, e"]


@pytest.mark.parametrize("header", ["a;b\n", ""])
def test_decimal_comma(tmp_path, header):
    frame, _ = read(tmp_path, header + "1,5;2\n-0,25;3\n")
    assert frame.iloc[:, 0].tolist() == ["1,5", "-0,25"]


def test_every_cell_is_text_as_it_stands_in_the_file(tmp_path):
    frame, _ = read(tmp_path, "a,b\n01, x\n?, NA\n4e400,\n")
    assert frame["a"].tolist() == ["01", "?", "4e400"]
    assert frame["b"].tolist() == ["x", "NA", ""]


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    frame, _ = read(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")
    assert list(frame) == ["a", "b"]


def test_line_break_inside_quotes_is_one_row(tmp_path):
    frame, _ = read(tmp_path, 'a,b\n"one\ntwo",1\nthree,2\n')
    assert len(frame) == 2


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n3,4\n", True),
        ("1,2\n3,4\n5,6\n", False),
        ("x,1\ny,2\nx,3\n", False),
        ("name,kind\nann,u\nbob,v\ncid,u\ndan,v\n", True),
        ("u,v\nv,u\nu,v\n", False),
        ("0,1,2,3\n5,5,9,9\n7,7,1,1\n", True),  # a table written with numbered columns
        ("0,1,2,class\n5,5,9,u\n7,7,1,u\n2,7,1,v\n8,1,1,v\n", True),
        ("1,2,u\n5,5,u\n7,7,v\n", False),
        ("40,?,u\n?,5,u\n7,7,v\n", False),
        (",a\n0,5\n1,6\n", True),
    ],
)
def test_header_is_found(tmp_path, text, header):
    frame, found = read(tmp_path, text)
    assert found is header
    assert len(frame) == text.count("\n") - header


def test_without_header_columns_are_numbered_from_one(tmp_path):
    frame, _ = read(tmp_path, "1,2\n3,4\n")
    assert list(frame) == ["column_1", "column_2"]


def test_the_header_can_be_set(tmp_path):
    assert list(read(tmp_path, "1999,2000\n3,4\n", header=True)[0]) == ["1999", "2000"]
    assert len(read(tmp_path, "a,b\n3,4\n", header=False)[0]) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n", "has a header and no rows"),
        (b"a,b\n1,2\n3,\xe9\n", r"byte 0xe9 at position 10 \(line 3\).*iconv"),
        ("a,b\n1,2\n".encode("utf-16"), "iconv -f UTF-16"),
        (b"a,b\n1,2\n\n3,4,5\n", "line 4 has 3 cells, expected 2"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, expected 2"),
        (b"a\n1\n2\n", "has one column"),
        (b"a,b,a\n1,2,3\n", r"'a' occurs 2 times \(columns 1, 3\)"),
        (b"a,b\n1,\0\n", "zero byte at position 6"),
    ],
)
def test_bad_files(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_decimal_commas_in_quotes_and_without_a_header(tmp_path):
    frame, header = read(tmp_path, '"a";"b"\n"1,5";"2,5"\n"3,5";"4,5"\n')
    assert header
    rows = [f"{i / 7:.4f};{i / 3:.4f};{i * 1.7:.3f}".replace(".", ",") for i in range(1, 99)]
    frame, header = read(tmp_path, "\n".join(rows))
    assert not header
    assert len(frame) == 98


@pytest.mark.parametrize("cell", ["$1,200.50", "1.200,50 €", "12 %", "(300)", "1e-3", "5 kg"])
def test_numbers_in_any_notation_are_no_header(tmp_path, cell):
    _, header = read(tmp_path, f'"{cell}";"u"\n' * 3)
    assert not header
    assert read(tmp_path, f'amount;"kind"\n"{cell}";"u"\n"{cell}";"v"\n')[1]
