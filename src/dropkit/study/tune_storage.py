"""The trials of a tuning in an Optuna storage too, for Optuna's own tools to look at."""

from __future__ import annotations

import platform
import socket
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.study._errors import StudyError, first_line
from dropkit.study.expression import parse
from dropkit.study.results import Run
from dropkit.study.store import RunFolder, slug
from dropkit.study.tune import inside, judged, space

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

JOURNALS = (".journal", ".log")
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module: package
PATIENCE = 10.0  # seconds that a server has to answer
PAUSE = 60.0  # seconds without a further try after one has failed
_FIRST = b'{"op_code":'  # what every line of a journal begins with


class TuneStorage:
    """An Optuna storage with one Optuna study per method, named after the run's digest.

    Every trial is written when it has ended, as a whole and once: those that are there are looked
    up before, so that a study which goes on, or is run again, makes no second ones. Nothing is
    read from it for the search. The states are COMPLETE, PRUNED, and FAIL of what diverged;
    intermediate values are the validation losses that pruning goes by, epoch by epoch; user
    attributes are ``method``, ``trial`` (its number in the run folder, from 0), ``seconds`` and
    ``where`` (the run folder). Optuna's own numbers are in the order of writing.

    Args:
        where: a file whose name ends in ``.journal`` or ``.log``, or the address of a database
            that Optuna's ``RDBStorage`` can use, such as ``sqlite:///trials.db``.
        folder: the run folder, whose study must have trials.

    Raises:
        StudyError: the study has no trials, or the storage cannot be used: it is no such place,
            does not answer, cannot be written, or its driver is missing.
    """

    def __init__(self, where: str, folder: RunFolder) -> None:
        if not folder.study.tune:
            raise StudyError("tune-storage is for the trials of --tune; add --tune N")
        self.folder = folder
        self._place = _journal(where) if "://" not in where else _database(where)
        self._pending: deque[tuple[Run, int]] = deque()
        self._again = 0.0  # when to try again
        self._failing = False
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self._place.reached():
            storage = self._place.open()
            self._studies = {
                method: optuna.create_study(
                    study_name=f"dropkit-{folder.digest}-{slug(method)}",
                    storage=storage,
                    load_if_exists=True,
                )
                for method in folder.study.methods
            }

    def keep(self, run: Run, trial: int, say: Callable[[str], None]) -> None:
        """Write a trial that has ended, with all that could not be written before.

        What goes wrong is said in a line and tried again with a later trial: it must not end a
        study, whose trials are in its run folder in any case.
        """
        self._pending.append((run, trial))
        if time.monotonic() >= self._again:
            self._write(say, "it is tried again later")

    def finish(self, say: Callable[[str], None]) -> None:
        """Try once more to write what is left."""
        if self._pending:
            self._failing = False
            self._write(say, "run the same command again to write them")

    def _write(self, say: Callable[[str], None], hint: str) -> None:
        try:
            with self._place.reached():
                self._place.ready()
                while self._pending:
                    run, number = self._pending[0]
                    study = self._studies[run.method]
                    there = study.get_trials(deepcopy=False)
                    if all(each.user_attrs.get("trial") != number for each in there):
                        study.add_trial(self._frozen(run, number))
                    self._pending.popleft()
            self._failing = False
        except StudyError as error:
            self._again = time.monotonic() + PAUSE
            if not self._failing:
                left = len(self._pending)
                trials = f"{left} trial{'s are' if left > 1 else ' is'} in the run folder alone"
                say(f"{error}; {trials}, and {hint}")
            self._failing = True

    def _frozen(self, run: Run, number: int) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        losses = judged(run)
        state, value = TrialState.FAIL, None
        if run.val is not None:
            state, value = TrialState.COMPLETE, run.val.loss
        elif run.status == "pruned":
            state, value = TrialState.PRUNED, losses[max(losses)]  # as Optuna itself has it
        searched = space(parse(run.method), self.folder.study.lr)
        trial = create_trial(
            state=state,
            value=value,
            params=inside(searched, run.arguments),
            distributions=searched,
            intermediate_values=losses,
            user_attrs={
                "method": run.method,
                "trial": number,
                "seconds": round(run.timing.seconds, 3),
                "where": self._where(),
            },
        )
        trial.datetime_complete = datetime.now()
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=run.timing.seconds)
        return trial

    def _where(self) -> str:
        path = self.folder.path
        return f"{platform.node()}:{path.resolve()}" if isinstance(path, Path) else str(path)


class _Place:
    """Where a storage is: how it is opened, made ready for each write, and named in a message."""

    def __init__(
        self,
        name: str,
        open: Callable[[], BaseStorage],
        ready: Callable[[], None],
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.name, self.open, self.ready, self.secrets = name, open, ready, secrets

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


def _journal(where: str) -> _Place:
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
        try:
            storage = JournalStorage(JournalFileBackend(where))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise StudyError("it is damaged or no journal of Optuna; choose another file") from None
        _mend(file)
        return storage

    return _Place(where, open, lambda: _mend(file))


def _mend(file: Path) -> None:
    """Remove the part of a line that a full disk or a crash has left at the end of a journal.

    Optuna would write on in that line and could not read the file again.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if _torn(file) is None:
        return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()  # others write under it
    try:
        if (start := _torn(file)) is not None:
            with file.open("r+b") as journal:
                journal.truncate(start)
    finally:
        lock.release()


def _torn(file: Path) -> int | None:
    """Where the last line begins if it has no end."""
    content = file.read_bytes()
    start = content.rfind(b"\n") + 1
    if start == len(content):
        return None
    if not content[start:].startswith(_FIRST[: len(content) - start]):
        raise StudyError("it is no journal of Optuna; choose another file")
    return start


def _database(where: str) -> _Place:
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

    return _Place(name, open, ready, _secrets(url))


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
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
