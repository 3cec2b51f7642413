"""A database URL comes in, an engine for SQLite or PostgreSQL goes out to the store."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from demo.errors import StoreError

#: Seconds a writer waits for another process's transaction before it gives up.
BUSY_TIMEOUT_S = 30


def open_engine(database_url: str) -> Engine:
    """An engine for `database_url`; connects to nothing yet. Raises StoreError for a URL that is neither dialect's."""
    url = _parsed(database_url)
    if url.get_backend_name() == "postgresql":
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url)
    raise StoreError(f"DATABASE_URL has the scheme {url.drivername!r}; write sqlite:///path or postgresql://….")


def describe(engine: Engine) -> str:
    """Which database `engine` talks to, in words that are safe to show: without user, password or options."""
    return f"the {engine.url.get_backend_name()} database {engine.url.database!r}"


def _parsed(database_url: str) -> URL:
    try:
        # Hosting providers hand out postgres://, which SQLAlchemy no longer knows.
        return make_url(database_url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # The URL may hold a password, so neither it nor the cause, which quotes it, is shown.
        raise StoreError(
            "DATABASE_URL is not a URL; write sqlite:///path or postgresql://user:password@host/database."
        ) from None


def _open_sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StoreError("DATABASE_URL names no file, but processes share the store; write sqlite:///path.")
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(f"The folder of the product store {url.database!r} cannot be made: {exc.strerror}.") from exc
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # WAL lets the supplier and the summary read while workers write. NORMAL leaves out the fsync of each commit:
    # a killed process still loses nothing, only a power cut may take the last commits (never the file).
    _turn_wal_on(connection)
    connection.execute("PRAGMA synchronous=NORMAL")


def _turn_wal_on(connection: sqlite3.Connection) -> None:
    # The one statement that does not wait for its turn: of several processes that open a new file, some are refused.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
