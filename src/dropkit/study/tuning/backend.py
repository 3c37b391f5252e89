"""Where an Optuna storage is: a journal or a database, opened, written and named in messages."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.errors import StudyError, first_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL

JOURNALS = (".journal", ".log")
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
DRIVERS = {  # module: package
    "psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"
}  # fmt: skip
PATIENCE = 10.0  # seconds that a server has to answer
_FIRST = b'{"op_code":'  # what every line of a journal begins with


@dataclass(frozen=True)
class Backend:
    """One place of one kind.

    Args:
        name: what messages call it, without passwords.
        open: makes the storage.
        ready: is called before each write.
        secrets: what no message may hold.
    """

    name: str
    open: Callable[[], BaseStorage]
    ready: Callable[[], None]
    secrets: tuple[str, ...] = ()

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Say in one line, without passwords, why the storage cannot be used.

        Journals, database drivers and SQLAlchemy have exceptions of their own, so all are meant.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that this or that of Optuna's is experimental
                yield
        except Exception as error:
            reason = str(error) if isinstance(error, StudyError) else _reason(error)
            for secret in self.secrets:
                reason = reason.replace(secret, "***")
            # Not from the error: tracebacks would show what is hidden here.
            raise StudyError(f"cannot use tune-storage {self.name}: {reason}") from None


def backend(where: str) -> Backend:
    """The place that a file's name or a database's address means; `StudyError` if it is neither."""
    return _database(where) if "://" in where else _journal(where)


def _journal(where: str) -> Backend:
    file = Path(where)
    if file.suffix not in JOURNALS:
        raise StudyError(
            "tune-storage must be a file whose name ends in .journal or .log, or an address such "
            f"as sqlite:///trials.db or postgresql://user@host/name, got {_masked(where)!r}"
        )

    def open() -> BaseStorage:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        with file.open("ab"):  # which says whether it can be written
            pass
        _mend(file)
        return JournalStorage(JournalFileBackend(where))

    return Backend(where, open, lambda: _mend(file))


def _mend(file: Path) -> None:
    """Remove the part of a line that a full disk or a crash has left at the end of a journal.

    Optuna would write on in that line and could not read the file again. Raises `StudyError` for
    a file that does not begin as a journal does.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    with file.open("rb") as journal:
        if not _FIRST.startswith(head := journal.read(len(_FIRST))):
            raise StudyError("it is no journal of Optuna; choose another file")
        journal.seek(-min(len(head), 1), os.SEEK_END)
        if journal.read() in (b"", b"\n"):
            return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()  # others write under it
    try:
        with file.open("r+b") as journal:
            journal.truncate(journal.read().rfind(b"\n") + 1)
    finally:
        lock.release()


def _database(where: str) -> Backend:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(where)
        kind = url.get_backend_name()
        url.get_dialect()
    except NoSuchModuleError:
        raise StudyError(
            f"tune-storage: no database is known as {url.drivername!r}; such as sqlite, postgresql "
            "and mysql are"
        ) from None
    except (ArgumentError, ValueError):
        raise StudyError(
            "tune-storage must be an address such as sqlite:///trials.db or "
            f"postgresql://user@host/name, got {_masked(where)!r}"
        ) from None
    name = url.set(query={}).render_as_string(hide_password=True)
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise StudyError(
            f"tune-storage must name a file, as in sqlite:///trials.db, got {_masked(where)!r}"
        )

    def ready() -> None:
        if kind in PORTS and url.host:
            _answers(url.host, url.port or PORTS[kind])

    def open() -> BaseStorage:
        from optuna.storages import RDBStorage

        ready()
        try:
            return RDBStorage(where, engine_kwargs={"pool_pre_ping": True})
        except ImportError as error:
            module = getattr(error.__cause__, "name", None) or str(error)
            package = DRIVERS.get(module, module)
            raise StudyError(
                f"it needs a driver, {module}, which is missing: pip install {package}"
            ) from None

    return Backend(name, open, ready, _secrets(url))


def _answers(host: str, port: int) -> None:
    """Raise `StudyError` at once where drivers may wait for minutes."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise StudyError(f"no server answers: {error.strerror or error}") from None


def _secrets(url: URL) -> tuple[str, ...]:
    """What of an address must not be shown: passwords, wherever they stand in it."""
    query: dict[str, Any] = dict(url.query)
    values = [value for key, value in query.items() if "pass" in key.lower()]
    found = [
        url.password,
        *(v for value in values for v in ([value] if isinstance(value, str) else value)),
    ]
    return tuple(str(secret) for secret in found if secret)


def _masked(where: str) -> str:
    """What came, in case that there is a password in it though it is no address."""
    head, separator, tail = where.rpartition("@")
    scheme, colon, _ = head.partition(":")
    return f"{scheme}{colon}***@{tail}" if separator else where.partition("?")[0]


def _reason(error: BaseException) -> str:
    """What was at the bottom of it: Optuna and SQLAlchemy wrap what a driver says."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, JSONDecodeError):
        return "a line of it is damaged; choose another file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
