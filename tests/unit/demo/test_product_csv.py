"""Broken and whole CSV files."""

import pytest

from demo.errors import SeedError
from demo.product_csv import MOST_LINES, Refusal, open_csv


@pytest.fixture
def read(tmp_path):
    def read(content: bytes | str):
        path = tmp_path / "products.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        rows = list(open_csv(path).rows())
        kept = [row["product_id"] for row in rows if not isinstance(row, Refusal)]
        return kept, {row.line: row.reason for row in rows if isinstance(row, Refusal)}

    return read


def test_columns_may_come_in_any_order_and_case_and_be_missing(tmp_path):
    """Only product_id is needed; what is missing or blank is None."""
    path = tmp_path / "products.csv"
    path.write_text("Brand, PRODUCT_ID ,department\nNational,5,\n,6\n")
    first, second = open_csv(path).rows()
    assert (first["product_id"], first["brand"], first["department"], first["package_size"]) == (
        5,
        "National",
        None,
        None,
    )
    assert (second["product_id"], second["brand"], second["department"]) == (6, None, None)


def test_a_byte_order_mark_and_windows_line_ends_are_no_obstacle(read):
    """What a spreadsheet saves can be seeded."""
    assert read(b"\xef\xbb\xbfproduct_id,brand\r\n1,A\r\n2,B\r\n") == ([1, 2], {})


def test_each_broken_row_is_named_by_its_line_and_the_rest_is_kept(read):
    """A row is refused alone, with the line it starts in and the reason."""
    kept, refused = read(
        b"product_id,manufacturer_id,brand\n"
        b"1,2,A\n"
        b"abc,2,A\n"  # line 3
        b",2,A\n"  # line 4
        b"1,2,again\n"  # line 5
        b"5,2,A,surplus\n"  # line 6
        b"6,2,\xff\xfe\n"  # line 7
        b"7,two,A\n"  # line 8
        b"-8,2,A\n"  # line 9
        b"99999999999999999999,2,A\n"  # line 10
        b'11,2,"A"B\n'  # line 11
        b"\n"
        b"13,2,A\n"
    )
    assert kept == [1, 13]
    assert list(refused) == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "'abc'" in refused[3]
    assert "missing" in refused[4]
    assert "line 2" in refused[5]
    assert "4 columns where the header has 3" in refused[6]
    assert "UTF-8" in refused[7]
    assert "manufacturer_id 'two'" in refused[8]


def test_a_quoted_field_over_several_lines_counts_them_all(read):
    """The line that is named is the one an editor shows."""
    kept, refused = read('product_id,brand\n1,"one\ntwo\nthree"\nbad,x\n6,"a\nb"\nbad,y\n')
    assert kept == [1, 6]
    assert list(refused) == [5, 8]


def test_an_unclosed_quote_costs_its_own_row_only(read):
    """The rows behind a stray quote are kept, however many there are."""
    rows = "".join(f"{number},x\n" for number in range(3, MOST_LINES * 3))
    kept, refused = read(f'product_id,brand\n1,x\n2,"x\n{rows}')
    assert kept == [1, *range(3, MOST_LINES * 3)]
    assert refused == {3: "a quote is never closed."}


def test_an_unclosed_quote_does_not_swallow_a_later_quoted_row(read):
    """A later row's quotes do not close an earlier row's."""
    kept, refused = read('product_id,brand\n1,"x\n2,y\n3,"z"\n')
    assert kept == [2, 3]
    assert list(refused) == [2]


def test_a_field_beyond_the_csv_limit_is_refused_alone(read):
    """A row that is too long to be one is no reason to stop."""
    kept, refused = read("product_id,brand\n1," + "x" * 200_000 + "\n2,y\n")
    assert kept == [2]
    assert "field larger than field limit" in refused[2]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"1,2,GROCERY\n", "It must name product_id"),  # no header
        (b"product_id;brand\n1;x\n", "commas separate"),
        (b"product_id,product_id\n1,1\n", "no column twice"),
        (b"product_id,brand,brand\n1,x,y\n", "no column twice"),
        ("product_id,brand\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_file_without_a_usable_header_is_refused_in_one_sentence(read, content, sentence):
    """Without a header nothing can be kept, and the sentence says what it should be."""
    with pytest.raises(SeedError, match=sentence):
        read(content)


def test_a_missing_file_and_a_folder_are_refused_in_one_sentence(tmp_path):
    """What is no file is named, with the reason of the operating system."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(SeedError, match="cannot be read"):
            open_csv(path)


def test_unknown_columns_are_ignored_and_named(tmp_path):
    """A surplus column is the seeder's to mention, and no obstacle."""
    path = tmp_path / "products.csv"
    path.write_text("product_id,colour\n1,red\n")
    source = open_csv(path)
    assert source.ignored == ["colour"]
    assert len(list(source.rows())) == 1
