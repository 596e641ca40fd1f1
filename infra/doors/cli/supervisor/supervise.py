"""The supervisor's loop: start in order, restart what dies, stop in order."""

import logging
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from infra.doors.cli.supervisor import lifelines
from infra.doors.cli.supervisor.events import Conversation, Event
from infra.doors.cli.supervisor.part import Part, Running

_TICK_S = 0.1
# Once all is up nobody waits for this loop, and looking takes processor time from what computes.
_UP_TICK_S = 0.3
# A port that is being freed may fail a start or two; a wrong setting fails all.
_FAILURES_BEFORE_READY = 4
# A first start on a slow disk takes minutes: Python compiles all packages, Prefect makes its tables.
_READY_WITHIN_S = 300.0
_ORPHAN_GRACE_S = 3.0  # also of every part once the front is gone, since nobody waits then

_log = logging.getLogger("teachback.supervisor")


class Supervisor:
    """Keeps *parts* running until the front asks it to stop or is gone."""

    def __init__(self, parts: Sequence[Part], *, home: Path, front: Conversation, address: str) -> None:
        self._running = [Running(part, home / "logs" / f"{part.name}.log") for part in parts]
        self._home = home
        self._front = front
        self._address = address
        self._up = False
        self._stop = False
        self._now = False
        self._front_gone = False

    def ask_to_stop(self, *_signal: object) -> None:
        """Stop at the next look; a signal handler may call this."""
        self._stop = True

    def run(self) -> bool:
        """Run until asked to stop; returns False when the parts could not be started.

        Everything has ended when this returns.
        """
        lifelines.kill(lifelines.marked(self._home))  # left by a supervisor that was killed with its front
        failure = ""
        deadline = time.monotonic() + _READY_WITHIN_S
        try:
            while not (self._stop or failure):
                failure = self._look() or self._too_late(deadline)
                self._listen(_UP_TICK_S if self._up else _TICK_S)
        finally:
            self._end_all(Event(kind="failed" if failure else "stopping", text=failure))
        return not failure

    def _look(self) -> str:
        """One pass over the parts; returns why they can't work, or nothing."""
        for running in self._running:
            was_ready, status = running.ready, running.check()
            if running.ready and not was_ready:
                self._tell(Event(kind="ready", part=running.part.name))
            if status is not None and not running.ready and (failure := self._died(running, status)):
                return failure
            self._start_if_due(running)
        # Orphans come to this process, and one that nobody waits for stays in the process table.
        lifelines.reap_orphans({running.process.pid for running in self._running if running.process})
        if not self._up and all(running.ready for running in self._running if running.part.gates):
            self._up = True
            self._tell(Event(kind="up", text=self._address))
        return ""

    def _tell(self, event: Event) -> None:
        _log.info("%s", " ".join(filter(None, (event.kind, event.part, event.text))))
        self._front.tell(event)

    def _start_if_due(self, running: Running) -> None:
        if running.process or running.done or time.monotonic() < running.due_at:
            return
        # Ever, not now: a server that is starting again must not hold up what only needed its tables.
        ready = {other.part.name for other in self._running if other.ever_ready}
        if ready.issuperset(running.part.needs):
            running.start()
            self._tell(Event(kind="starting", part=running.part.name))

    def _died(self, running: Running, status: int) -> str:
        name, words = running.part.name, running.last_words()
        wait_s = running.back_off()
        if not running.ever_ready and running.part.gates and running.failures >= _FAILURES_BEFORE_READY:
            return f"{name} does not start (exit status {status}): {words} See {running.log}."
        self._tell(
            Event(kind="died", part=name, text=f"{name} ended (status {status}); again in {wait_s:g} s. {words}")
        )
        return ""

    def _too_late(self, deadline: float) -> str:
        if self._up or time.monotonic() < deadline:
            return ""
        waiting = ", ".join(running.part.name for running in self._running if not running.ready)
        return f"Not ready after {_READY_WITHIN_S:g} s: {waiting}. See {self._home / 'logs'}."

    def _listen(self, wait_s: float) -> None:
        """Hear the front: `stop`, `now` (stop without grace), or its end."""
        if self._front_gone:
            time.sleep(wait_s)
            return
        readable, _, _ = select.select([self._front.socket], [], [], wait_s)
        if not readable:
            return
        try:
            heard = self._front.socket.recv(64)
        except OSError:
            heard = b""
        self._stop = True
        # An empty read: the front was killed. Nobody watches any more, so everything ends.
        self._front_gone = not heard
        self._now = self._now or b"now" in heard

    def _end_all(self, event: Event) -> None:
        """Stop the parts by their order, with each order the orphans it leaves, then look once more."""
        self._tell(event)
        for order in sorted({running.part.stops for running in self._running}):
            stopping = [running for running in self._running if running.part.stops == order]
            self._end(
                [child for running in stopping if running.part.children_first for child in _children(running)],
                grace_s=max(running.part.grace_s for running in stopping),
            )
            self._end(
                [process for running in stopping if (process := _process(running))],
                grace_s=max(running.part.grace_s for running in stopping),
            )
            for running in stopping:
                running.check()
            # What is stopped later still serves those that end now: the worker's runs write to the API.
            later = {other.process.pid for other in self._running if other.process and other.part.stops > order}
            # Orphans end their own children; whoever does not is killed with all of them.
            self._end(lifelines.children(os.getpid(), but=later), grace_s=_ORPHAN_GRACE_S)
            lifelines.kill(lifelines.descendants(but=later))
        lifelines.kill(lifelines.marked(self._home))

    def _end(self, processes: Sequence[psutil.Process], *, grace_s: float) -> None:
        """Ask *processes* to end; kill them when their grace is over, which an impatient front makes now."""
        lifelines.ask_to_end(processes)
        deadline = time.monotonic() + (min(grace_s, _ORPHAN_GRACE_S) if self._front_gone else grace_s)
        living = list(processes)
        while living and not self._now and time.monotonic() < deadline:
            self._listen(0)
            living = lifelines.living(living, wait_s=_TICK_S)
        lifelines.kill(living)


def _process(running: Running) -> psutil.Process | None:
    try:
        return psutil.Process(running.process.pid) if running.process else None
    except psutil.NoSuchProcess:
        return None


def _children(running: Running) -> list[psutil.Process]:
    return lifelines.children(running.process.pid) if running.process else []
