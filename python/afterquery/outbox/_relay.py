"""The relay: reads the outbox in order and delivers it, one at a time of all that are started.

Two things keep the others out: the lease in the database, by which they wait politely, and the lock
on the journal, which its process holds as long as it lives. A relay that sleeps past its lease
still has the lock, and nobody works in its place.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from afterquery import _health
from afterquery._core import quoted
from afterquery._errors import ConfigurationError, JournalError
from afterquery._failures import failures
from afterquery._log import logger
from afterquery._order import order_of
from afterquery.outbox import _wake
from afterquery.outbox._lease import Watch, acquire, is_free, release, renew, seize
from afterquery.outbox._session import Delivery, ForeignOutboxError, Session, reset
from afterquery.outbox._table import install

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from afterquery._core import Replica, Replicator

State: TypeAlias = Literal["stopped", "waiting", "working", "diverged", "failed"]

_BUSY_SECONDS = 5.0
_LOCKED_SECONDS = 60.0
"""How long the database may be locked before the log says so."""
_log = logger()


class Relay:
    """Delivers the outbox of a SQLite file to the replicas, in a thread of this process.

    Every process may have one: one works, the others wait. `database` is the path of the file, as
    your application opens it; `journal` a directory for the relay alone, `<database>-replication`
    if it is None; `poll` is how often, in seconds, it looks for what other processes committed;
    `lease`, in seconds, how long a relay that died keeps the others waiting. `settings` are those
    of `Replicator` but origin and durability.

    Raises TypeError for a setting that is the relay's own.
    """

    def __init__(
        self,
        database: str | os.PathLike[str],
        replicas: Sequence[str | Replica],
        *,
        journal: str | os.PathLike[str] | None = None,
        poll: float = 0.2,
        lease: float = 5.0,
        **settings: Any,
    ) -> None:
        if reserved := {"origin", "durability"} & settings.keys():
            raise TypeError(f"the relay itself sets {', '.join(sorted(reserved))}")
        self._database = Path(os.path.abspath(database))  # noqa: PTH100 - links stay
        folder = Path(f"{self._database}-replication") if journal is None else Path(journal)
        self._delivery = Delivery(folder.absolute(), tuple(replicas), settings)
        self._poll = poll
        self._lease = lease
        self._thread: threading.Thread | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._holder = f"{socket.gethostname()}:{self._pid}:{uuid.uuid4()}"
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._end: float | None = None
        self._renewed = 0.0
        self._session: Session | None = None
        self._state: State = "stopped"
        self._problem: str | None = None
        self._told: str | None = None
        self._locked_since: float | None = None

    @property
    def state(self) -> State:
        """What it does: "waiting" while another one works or the database is not there yet;
        "diverged" where the outbox is not the one that the journal knows, and "failed" after any
        other error (`problem` says which)."""
        return self._state

    @property
    def problem(self) -> str | None:
        """What went wrong last and has not been set right."""
        return self._problem

    @property
    def replicator(self) -> Replicator | None:
        """The replicator of a relay at work, for its `stats()`, `dead_letters()` and `resume()`."""
        session = self._session
        return None if session is None else session.replicator

    def start(self) -> None:
        """Start, or start again after `stop` or in a forked child; harmless when repeated."""
        if self._pid == os.getpid() and self._thread is not None and self._thread.is_alive():
            return
        self._begin()
        self._thread = threading.Thread(target=self._serve, name="afterquery-relay", daemon=True)
        self._thread.start()
        # Runs before the replicator's own end, since it was registered later.
        atexit.register(self.stop)

    def stop(self, timeout: float = 5.0) -> None:
        """Hand over what is in the outbox, wait at most `timeout` seconds for the replicas, and
        end. What they do not have by then stays in the journal. Harmless when repeated."""
        atexit.unregister(self.stop)
        self._ask_to_stop(timeout)
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            thread.join()

    def run(self, *, once: float | None = None) -> bool:
        """Work in this thread until `stop_soon()` is called.

        With `once`, end when the outbox is empty and the replicas have everything, or after so
        many seconds, at the latest. Returns whether they have. Raises `ConfigurationError` and
        `TypeError` for settings that cannot work.
        """
        if once is not None:
            self._end = time.monotonic() + once
        done = False
        while not (done or self._is_over()):
            ending = self._stopping.is_set()
            with self._guarded(), self._connected() as connection:
                if self._take(connection):
                    try:
                        done = self._work(connection)
                    finally:
                        with suppress(sqlite3.Error):
                            release(connection, self._holder)
                    ending = self._stopping.is_set()
            if ending:
                break
        self._state = "stopped"
        return done

    def stop_soon(self, timeout: float = 5.0) -> None:
        """Ask `run` to end as `stop` does; may be called from a signal handler."""
        self._ask_to_stop(timeout)

    def reset(self) -> None:
        """Begin anew, after the database has been copied to every replica: what was committed until
        now is not relayed any more. Let nobody write meanwhile.

        Raises `JournalError` where a relay is at work, and `sqlite3.Error`.
        """
        with self._connected() as connection:
            install(connection)
            if not acquire(connection, self._holder, self._lease):
                raise JournalError("a relay is at work: stop it first")
            reset(connection, self._delivery.journal)
            failures.set_right(order_of(self._database).identity)
            release(connection, self._holder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _serve(self) -> None:
        try:
            self.run()
        except Exception as error:
            self._fail("failed", str(error))

    def _ask_to_stop(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self._stopping.set()
        self._woken.set()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """An error is told, and what failed is tried again."""
        try:
            yield
        except (ConfigurationError, TypeError):
            raise
        except Exception as error:
            self._failed(error)
            self._pause(self._lease / 2)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ForeignOutboxError):
            self._fail("diverged", str(error))
        elif "another process is using it" in str(error):
            self._state = "waiting"
        elif is_busy(error):
            self._locked(error)
        elif self._database.exists():
            self._fail("failed", f"{type(error).__name__}: {error}")
        else:
            self._state = "waiting"

    def _locked(self, error: Exception) -> None:
        """Another connection holds the database: a batch job, VACUUM, or for good. It is waited
        for, and `problem` says so; the log only where it lasts."""
        self._problem = f"the database is locked by another connection: {error}"
        if self._session is None:
            self._state = "waiting"
        now = time.monotonic()
        self._locked_since = self._locked_since or now
        if now - self._locked_since > _LOCKED_SECONDS and self._problem != self._told:
            self._told = self._problem
            minutes = (now - self._locked_since) / 60
            _log.error("the relay of %s: for %.1f min %s", self._database, minutes, self._problem)

    def _unlocked(self) -> None:
        if self._locked_since is not None:
            self._locked_since, self._problem, self._told = None, None, None

    def _fail(self, state: State, problem: str) -> None:
        self._state = state
        self._problem = problem
        if problem != self._told:
            self._told = problem
            _log.error("%s", quoted(f"the relay of {self._database}: {problem}"))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        # Not made if it is missing: the application may want to set it up.
        uri = f"{self._database.as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
        with closing(connection):
            if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                # What a power cut takes back of ours is only done again.
                connection.execute("PRAGMA synchronous = NORMAL")
            yield connection

    def _take(self, connection: sqlite3.Connection) -> bool:
        """Wait for the lease; False when it is time to stop."""
        install(connection)
        watch = Watch(connection, 2 * self._lease)
        while not self._try_to_take(connection, watch):
            self._state, self._problem = "waiting", None
            if self._stopping.is_set() or self._is_over():
                return False
            self._pause(self._poll)
        return True

    def _try_to_take(self, connection: sqlite3.Connection, watch: Watch) -> bool:
        if watch.is_dead(connection):
            self._renewed = time.monotonic()
            return seize(connection, self._holder, self._lease, watch.last)
        return is_free(connection, self._holder) and self._acquire(connection)

    def _acquire(self, connection: sqlite3.Connection) -> bool:
        self._renewed = time.monotonic()
        return acquire(connection, self._holder, self._lease)

    def _keep(self, connection: sqlite3.Connection) -> bool:
        """Keep the lease; False if another one has it."""
        now = time.monotonic()
        if now - self._renewed < self._lease / 3:
            return True
        try:
            if renew(connection, self._holder, self._lease):
                self._renewed = now
                return True
            return self._acquire(connection)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            # Nobody else can take it either meanwhile, and the journal's lock is ours.
            self._locked(error)
            return True

    def _work(self, connection: sqlite3.Connection) -> bool:
        """Relay until it is time to end; whether the replicas have everything then."""
        session = Session(connection, self._delivery)
        self._session = session
        self._state, self._problem, self._told = "working", None, None
        self._locked_since = None
        order = order_of(self._database)
        _health.relays(session.replicator, order)
        _wake.listen(order, self._woken)
        try:
            if not self._relay(connection, session):
                return False
            left = max(0.0, (self._end or 0.0) - time.monotonic())
            acquire(connection, self._holder, self._lease + left)
            return session.close(left)
        finally:
            _wake.forget(order, self._woken)
            self._session = None
            session.abandon()

    def _relay(self, connection: sqlite3.Connection, session: Session) -> bool:
        """Relay until it is time to end; False when the lease is another's."""
        while self._keep(connection):
            self._woken.clear()
            version, more = 0, False
            try:
                version = _version(connection)
                more = session.relay() > 0
                self._unlocked()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                # The session stays, and with it the delivery of what is in the journal.
                self._locked(error)
            if self._end is not None and (not more or self._is_over()):
                return True
            while not (more or self._woken.wait(self._poll) or _changed(connection, version)):
                if not self._keep(connection):
                    return False
        return False

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def _pause(self, seconds: float) -> None:
        if self._end is not None:
            seconds = min(seconds, max(0.0, self._end - time.monotonic()))
        self._stopping.wait(seconds)


def is_busy(error: Exception) -> bool:
    """Whether it says that another connection holds a lock on the database."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _changed(connection: sqlite3.Connection, version: int) -> bool:
    try:
        return _version(connection) != version
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return True


def _version(connection: sqlite3.Connection) -> int:
    """Changes when another connection has committed."""
    row: tuple[int] = connection.execute("PRAGMA data_version").fetchone()
    return row[0]
