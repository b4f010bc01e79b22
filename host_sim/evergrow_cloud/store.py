"""The database: one SQLite file, opened by the running cloud and beside it by commands such as `evergrow feature push`.

`Store` is the connection and its transactions. What is in the tables is the business of the modules beside this one: `devices`,
`usage`, `telemetry`, `offers`, `commands`; their functions take the store first.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from evergrow_cloud import schema
from evergrow_cloud.errors import StoreError

BUSY_TIMEOUT_S = 10


class Store:
    """An open database. Usable from several threads: a transaction holds a lock.

    `path`: the file, or ":memory:" for tests. `utc_s`: the clock for "received" and "created". Raises StoreError.
    """

    def __init__(self, path: str | Path, *, utc_s: Callable[[], int] = lambda: int(time.time())) -> None:
        self.utc_s = utc_s
        self._lock = threading.RLock()
        self._depth = 0
        try:
            _make_private(path)
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open {path}: {error}") from error
        try:
            # FULL: an fsync at each commit, since what is committed is acked and the device frees its copy (EG-ACK-002).
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            schema.migrate(self._connection)
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreError(f"cannot use {path} as a database: {error}") from error
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or none of it. One inside another belongs to the outer."""
        with self._lock:
            if self._depth:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._commit()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Change something. Only within a transaction, so that nobody can forget it."""
        if not self._depth:
            raise StoreError("a change outside a transaction")
        return self._connection.execute(sql, parameters)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        with self._lock:
            found: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def new_id(self, name: str) -> int:
        """A number larger than every earlier one of this name. At least the time in seconds, so that it is new to the devices
        even when the database was lost (EG-FEAT-001, EG-CMD-001)."""
        last = self.row("SELECT last FROM ids WHERE name = ?", name)
        number = max(self.utc_s(), last[0] + 1 if last else 1)
        self.execute("INSERT INTO ids VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last", name, number)
        return number

    def _commit(self) -> None:
        self._connection.execute("COMMIT")


def _make_private(path: str | Path) -> None:
    """A new database is for its owner alone: device keys are in it. SQLite gives its journal the same permissions."""
    if str(path) != ":memory:":
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
