"""One commit for all units that wait: what a commit costs is the disk's answer, and that is the same for one or many.

Threads take turns in the order in which they came. Each runs its unit behind a savepoint of one transaction and hands
it on to the next; the last one commits, and only then all of them return: acknowledged means on disk, for each. A unit
that fails takes back its own changes alone.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

# Beyond these the commit is no longer what a unit costs: the next group starts before another process starves.
MOST = 32
# No unit waits longer for its acknowledgement because others came behind it.
LONGEST_S = 0.05


class _Group:
    """A transaction and what became of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.units = 0
        self.began = time.monotonic()
        self.ended = Event()
        self.failure: BaseException | None = None

    def is_alive(self) -> bool:
        """Whether its transaction is still there: SQLite ends it by itself when the disk is full or fails."""
        driver = self.connection.connection.dbapi_connection
        return isinstance(driver, sqlite3.Connection) and driver.in_transaction


class Groups:
    """The turns of one process's writing threads.

    Args:
        engine: Of a SQLite file; its transactions take the write lock at their beginning.
        most: Units after which a group is committed though others wait, for so may another process.
        longest_s: Seconds after which it is.
    """

    def __init__(self, engine: Engine, *, most: int = MOST, longest_s: float = LONGEST_S) -> None:
        self._engine = engine
        self.most, self.longest_s = most, longest_s
        self._mutex = Lock()
        self._waiting: deque[Event] = deque()
        self._taken = False
        self._group: _Group | None = None

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """Wait for this thread's turn and give the group's connection; return when the group is on disk.

        The block works behind a savepoint that it ends by itself, and releases it where it succeeds.

        Raises:
            OperationalError: If the write lock cannot be had, or the group cannot be committed: nothing of it is there.
        """
        self._wait()
        try:
            group = self._group = self._group or self._begin()
        except BaseException:  # it goes on up; those who wait must not wait for this thread
            self._pass_on()
            raise
        try:
            yield group.connection
        except BaseException as error:  # it goes on up; the group may go on without this unit
            self._leave(group, error)
            raise
        self._leave(group, None)
        group.ended.wait()
        if group.failure is not None:
            raise OperationalError("COMMIT", None, group.failure) from group.failure

    def _wait(self) -> None:
        turn = Event()
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:  # an interrupt: nobody must hand the turn to a thread that is gone
            with self._mutex:
                granted = turn not in self._waiting
                if not granted:
                    self._waiting.remove(turn)
            if granted:
                self._pass_on()
            raise

    def _begin(self) -> _Group:
        connection = self._engine.connect()
        try:
            connection.begin()
        except BaseException:  # it goes on up; the connection would be lost to the pool
            connection.close()
            raise
        return _Group(connection)

    def _leave(self, group: _Group, error: BaseException | None) -> None:
        """Hand the transaction on, or commit it where nobody waits."""
        group.units += 1
        alive = group.is_alive()
        with self._mutex:
            goes_on = alive and bool(self._waiting) and not self._is_full(group)
        if not goes_on:
            self._end(group, alive, error)
        self._pass_on()

    def _is_full(self, group: _Group) -> bool:
        return group.units >= self.most or time.monotonic() - group.began > self.longest_s

    def _end(self, group: _Group, alive: bool, error: BaseException | None) -> None:
        self._group = None
        try:
            if alive:
                group.connection.commit()
            else:
                group.failure = error or sqlite3.OperationalError("the transaction was taken back")
        except BaseException as failure:  # noqa: BLE001 - every unit of the group raises it
            group.failure = getattr(failure, "orig", None) or failure
        finally:
            if group.failure is not None:
                group.connection.invalidate()
            group.connection.close()
            group.ended.set()

    def _pass_on(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
