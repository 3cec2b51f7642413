"""The product store on SQLite."""

import pytest

from demo.errors import StoreError
from demo.product import parse_product
from demo.store import SEED_BATCH, Store


def product(product_id, **fields):
    return parse_product({"product_id": product_id, **fields})


def seed(store, *products):
    return list(store.seed(products))


def test_seeding_twice_changes_nothing(own_store):
    """A seed is idempotent: the same rows give the same products."""
    for _ in range(2):
        assert seed(own_store, product(2), product(1)) == [2]
    assert own_store.product_ids() == [1, 2]


def test_seeding_updates_details_and_keeps_when_they_were_refreshed(own_store):
    """New details arrive, and the count of a workflow's refreshed products stays."""
    own_store.save(product(1, brand="old"), "workflow")
    seed(own_store, product(1, brand="new"))
    assert own_store.details(1)["brand"] == "new"
    assert own_store.counts("workflow") == (1, 1)


def test_a_large_seed_is_committed_in_batches(own_store):
    """Each transaction is told of, so that a progress bar can move."""
    assert seed(own_store, *(product(number) for number in range(1, SEED_BATCH + 11))) == [SEED_BATCH, 10]


def test_a_saved_product_is_stored_and_counted_for_its_workflow(own_store):
    """counts() tells all products from those this workflow refreshed."""
    seed(own_store, product(1), product(2))
    own_store.save(product(2, department="GROCERY"), "a")
    own_store.save(product(3), None)
    assert own_store.counts("a") == (3, 1)
    assert own_store.details(2)["department"] == "GROCERY"


def test_a_product_that_the_database_refuses_fails_alone(own_store):
    """A value that no column takes is an error of its own row, and the store works on."""
    with pytest.raises(StoreError, match=r"products\.db"):
        own_store.save({**product(1), "brand": ["not", "text"]}, "a")
    own_store.save(product(2), "a")
    assert own_store.product_ids() == [2]


def test_ids_come_in_order_and_up_to_the_limit(own_store):
    """The first N products are the same ones each time."""
    seed(own_store, product(30), product(10), product(20))
    assert own_store.product_ids(2) == [10, 20]
    assert own_store.product_ids(0) == []


def test_an_unknown_product_is_none(own_store):
    """Asking for what is not there is no error."""
    assert own_store.details(404) is None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("hunter2", "not a URL"),
        ("mysql://u:hunter2@h/d", "scheme 'mysql'"),
        ("sqlite://", "names no file"),  # in memory: each process would have its own
        ("postgresql://u:hunter2@127.0.0.1:1/shop", "postgresql database 'shop'"),  # nobody answers
        ("postgresql://u:hunter2@h:port/d", "not a URL"),
    ],
)
def test_a_store_that_cannot_open_says_so_without_the_password(url, sentence):
    """The sentence names the database and never what DATABASE_URL keeps secret."""
    with pytest.raises(StoreError, match=sentence) as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_sentence(tmp_path):
    """Someone else's file is refused and left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{path}")
    assert path.read_text().startswith("not a database")
