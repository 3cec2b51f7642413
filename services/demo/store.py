"""The product store: products come in from tasks and the seed, rows go out to the supplier and the summary.

SQLite or PostgreSQL by DATABASE_URL; times are UTC (SQLite keeps them without saying so).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Engine, Integer, MetaData, Table, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from demo.database import describe, open_engine
from demo.errors import StoreError
from demo.group_commit import GroupCommit, Row
from demo.product import COLUMNS, TEXT_COLUMNS, Product
from demo.settings import demo_settings

#: Rows in one transaction of a seed.
SEED_BATCH = 1000
#: Names the lock under which PostgreSQL processes create the table; any number that nobody else uses.
_CREATE_LOCK = 7_730_001

# On SQLite only an INTEGER key is the row's own address; any other type costs a second index.
_BigInt = BigInteger().with_variant(Integer, "sqlite")
products = Table(
    "products",
    MetaData(),
    Column("product_id", _BigInt, primary_key=True, autoincrement=False),
    Column("manufacturer_id", _BigInt),
    *(Column(name, Text) for name in TEXT_COLUMNS),
    Column("refreshed_at", DateTime(timezone=True)),
    Column("refreshed_by", Text),
)
_DETAILS = [products.c[name] for name in COLUMNS]


class Store:
    """The products table of one database. Every method raises StoreError when the database does not answer."""

    def __init__(self, database_url: str) -> None:
        """Open the store, and create its table where there is none."""
        self._engine = open_engine(database_url)
        self._seed = self._upsert(COLUMNS)
        self._save = self._upsert((*COLUMNS, "refreshed_at", "refreshed_by"))
        self._commits = GroupCommit(self._save_rows, blameless=OperationalError)
        with self._errors(), self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                # Its IF NOT EXISTS still fails when two processes create a table in the same moment.
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})
            connection.execute(CreateTable(products, if_not_exists=True))

    def seed(self, rows: Iterable[Product]) -> Iterator[int]:
        """Insert or update `rows`, keeping when they were refreshed; yields how many each transaction stored."""
        remaining = iter(rows)
        while batch := list(islice(remaining, SEED_BATCH)):
            with self._errors(), self._engine.begin() as connection:
                connection.execute(self._seed, batch)
            yield len(batch)

    def save(self, product: Product, refreshed_by: str | None) -> None:
        """Store a refreshed product; returns once it is committed, together with those saved at the same time."""
        with self._errors():
            self._commits.save({**product, "refreshed_at": datetime.now(UTC), "refreshed_by": refreshed_by})

    def product_ids(self, limit: int | None = None) -> list[int]:
        """The ids of all products in ascending order, or of the first `limit`."""
        with self._errors(), self._engine.connect() as connection:
            query = select(products.c.product_id).order_by(products.c.product_id).limit(limit)
            return list(connection.scalars(query))

    def all_details(self) -> Iterator[Product]:
        """Every product, in no order."""
        with self._errors(), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=SEED_BATCH).execute(select(*_DETAILS)):
                yield dict(zip(COLUMNS, row, strict=True))

    def details(self, product_id: int) -> Product | None:
        """One product, or None where there is none with this id."""
        with self._errors(), self._engine.connect() as connection:
            row = connection.execute(select(*_DETAILS).where(products.c.product_id == product_id)).first()
        return None if row is None else dict(zip(COLUMNS, row, strict=True))

    def counts(self, refreshed_by: str) -> tuple[int, int]:
        """How many products there are, and how many of them the workflow `refreshed_by` refreshed last."""
        refreshed = func.count().filter(products.c.refreshed_by == refreshed_by)
        with self._errors(), self._engine.connect() as connection:
            total, by_workflow = connection.execute(select(func.count(), refreshed).select_from(products)).one()
        return total, by_workflow

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    def _save_rows(self, rows: Sequence[Row]) -> None:
        # Always in the order of the key: two processes that lock the same rows in two orders would deadlock.
        ordered = sorted(rows, key=lambda row: row["product_id"])
        with self._engine.begin() as connection:
            connection.execute(self._save, ordered)

    def _upsert(self, columns: Sequence[str]) -> Any:
        insert = _insert_for(self._engine)
        return insert.on_conflict_do_update(
            index_elements=[products.c.product_id],
            set_={name: insert.excluded[name] for name in columns if name != "product_id"},
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            cause = getattr(exc, "orig", None) or type(exc).__name__  # str(exc) would quote the statement and its rows
            message = " ".join(str(cause).split())
            raise StoreError(f"The product store, {describe(self._engine)}, answered: {message}.") from exc


def _insert_for(engine: Engine) -> Any:
    # Both dialects spell the upsert alike, but SQLAlchemy gives them no common type.
    return postgresql_insert(products) if engine.dialect.name == "postgresql" else sqlite_insert(products)


def store() -> Store:
    """The store of this process, opened at its first use. Raises StoreError when DATABASE_URL does not work."""
    return _store_of(os.getpid())


@cache
def _store_of(_pid: int) -> Store:
    # One per process: a connection that a fork inherits belongs to the parent, who goes on using it.
    return Store(demo_settings().database_url.get_secret_value())
