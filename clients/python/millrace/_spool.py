"""Records that are kept on this machine until a daemon takes them."""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from typing import Any, Protocol, runtime_checkable

from . import _wire
from ._errors import MillraceError
from ._batch import Batch


class SpoolError(MillraceError):
    """The spool's directory cannot be used. The text says why."""


@runtime_checkable
class Spool(Protocol):
    """Keeps records in order. A Writer owns its spool, and closes it last; methods are
    called by one thread at a time, not always the same."""

    def put(self, record: bytes) -> None:
        """Append a record, which survives a crash of the program once put has returned."""

    def peek(self) -> bytes | None:
        """Return the oldest record, None if there is none."""

    def drop(self) -> None:
        """Remove the record that peek returned."""

    def __len__(self) -> int:
        """How many records there are."""

    def close(self) -> None: ...


class DirectorySpool:
    """A spool in a directory, which is made if it is not there. It is one SQLite
    database, millrace.spool, that one process at a time has open. What was put
    survives a crash of the program, and of the machine. A process that forks keeps
    it; in its child it cannot be used.

    Raises SpoolError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = os.path.join(path, "millrace.spool")
        try:
            os.makedirs(path, exist_ok=True)
            # Whose thread it is changes; the Writer sees to there being one at a time.
            self._db = sqlite3.connect(self._file, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as e:
            raise SpoolError(f"spool {self._file}: {e}") from e
        try:
            self._count, self._front = self._prepare(), 0
        except BaseException as e:
            self._db.close()
            if not isinstance(e, sqlite3.Error):
                raise
            why = "another process, or Writer, has it open" if "locked" in str(e) else e
            raise SpoolError(f"spool {self._file}: {why}") from e
        self._forked = False
        _open.add(self)

    def _prepare(self) -> int:
        """Takes the lock, which ends with the process, and counts."""
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA auto_vacuum = FULL")  # the file is small again when it is empty
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a sync of the log for each put
        db.execute("BEGIN EXCLUSIVE")
        # AUTOINCREMENT never gives a number again, so the order is the numbers'.
        db.execute("CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY AUTOINCREMENT, record BLOB NOT NULL)")
        count: int = db.execute("SELECT count(*) FROM records").fetchone()[0]
        db.execute("COMMIT")
        return count

    def put(self, record: bytes) -> None:
        self._do("INSERT INTO records (record) VALUES (?)", record)
        self._count += 1

    def peek(self) -> bytes | None:
        row = self._do("SELECT id, record FROM records ORDER BY id LIMIT 1").fetchone()
        if row is None:
            return None
        self._front, record = row
        return bytes(record)

    def drop(self) -> None:
        self._do("DELETE FROM records WHERE id = ?", self._front)
        self._count -= 1
        if not self._count:
            self._do("PRAGMA wal_checkpoint(TRUNCATE)")

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        if not self._forked:
            self._db.close()

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        if self._forked:
            raise SpoolError(f"spool {self._file}: it was open when process {os.getppid()} forked, which has it")
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as e:
            raise SpoolError(f"spool {self._file}: {e}") from e


_open: weakref.WeakSet[DirectorySpool] = weakref.WeakSet()


def _after_fork() -> None:
    # SQLite's lock is the parent's, but a child that ends, and so closes the
    # database, would delete the log that the parent goes on writing: what is put
    # later would be lost. Here it is never closed.
    for spool in list(_open):
        spool._forked = True
        try:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(spool._db))
        except (ImportError, AttributeError):  # an interpreter that does not close at its end
            _left.append(spool._db)


_left: list[sqlite3.Connection] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# A record is a line of JSON and the messages as the body of an MPUB. The line has
# "topic" and, for a deferred message, "due", in seconds since the Unix epoch.


def encode(batch: Batch, now: float) -> bytes:
    """A batch as a record; now is the wall clock's time."""
    head: dict[str, Any] = {"topic": batch.topic}
    if batch.delay is not None:
        head["due"] = now + batch.delay
    return json.dumps(head).encode() + b"\n" + _wire.messages(batch.bodies)


def decode(record: bytes, now: float, born: float) -> Batch:
    """The batch of a record, with a deferred message's delay from now. Raises
    ValueError."""
    head, _, messages = record.partition(b"\n")
    fields = json.loads(head)
    if not isinstance(fields, dict) or not isinstance(fields.get("topic"), str):
        raise ValueError("a record without a topic")
    batch = Batch(fields["topic"], born)
    for body in _wire.parse_messages(messages):
        batch.items += (_wire.size(len(body)), body, None)
        batch.bytes += len(body)
    if "due" in fields:
        batch.delay = max(0.0, float(fields["due"]) - now)
        batch.whole = True
    return batch
