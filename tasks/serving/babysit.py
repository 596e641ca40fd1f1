"""Keeps a slot's process running while the slot is wanted. Knows no Prefect; the flow is its edge."""

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy.orm import Session

from configs.errors import NotFoundError, UpstreamError
from infra.adapters.catalog import audit, slots
from infra.wiring import Parts
from tasks.devices.here import born
from tasks.serving.hold import in_unit
from tasks.serving.slots import switch_off

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.5
FIRST_DELAY_S = 1.0
# Somebody waits for the model: what was mended is noticed within a minute.
LONGEST_DELAY_S = 60.0
# One that lived so long did not die of what keeps it from starting: it is back at once.
HEALTHY_S = 60.0
ENDING_S = 10.0


class Babysitter:
    """Watches over one slot: starts its process, adopts one that runs already, starts it again when it is lost.

    Args:
        parts: This process's.
        slot_id: The slot.
        first_delay_s: Seconds before a process that died is started again; doubled up to a minute while it dies young.
    """

    def __init__(self, parts: Parts, slot_id: str, *, first_delay_s: float = FIRST_DELAY_S) -> None:
        self._parts = parts
        self._slot_id = slot_id
        self._first_delay_s = first_delay_s
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._died_young = 0
        self._due_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process that this one started, while it runs."""
        return self._child.pid if self._child else None

    def watch(self, flow_run_id: str | None = None) -> None:
        """Return once the slot is stopped or gone.

        While the catalog cannot be reached the slot is left alone.
        """
        noted = flow_run_id is None
        me = slots.Sitter(platform.node(), os.getpid(), born(os.getpid()))
        while True:
            try:
                if flow_run_id and not noted:
                    in_unit(self._parts, lambda session: slots.watched_by(session, self._slot_id, flow_run_id, me))
                    noted = True
                if self.step():
                    return
            except UpstreamError:
                pass  # a slot serves on without its catalog: nothing to mend from here
            time.sleep(POLL_S)

    def step(self) -> bool:
        """Look once and do what is due; true once the slot is stopped or gone.

        Raises:
            UpstreamError: If the catalog cannot be reached.
        """
        self._reap()
        seen = in_unit(self._parts, lambda session: slots.look(session, self._slot_id), write=False)
        if seen is None or not (seen.desired or seen.held):
            in_unit(self._parts, lambda session: slots.settle(session, self._slot_id))
            self._wait_for_child()
            return True
        if seen.desired and not seen.held and self._child is None and time.monotonic() >= self._due_at:
            self._start()
        return False

    def give_up(self, reason: str) -> None:
        """Want the slot no longer, and have the process that this one started drain at once.

        Raises:
            UpstreamError: If the catalog cannot be reached.
        """
        cancel_slot(self._parts, self._slot_id, reason)
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGTERM)

    def _start(self) -> None:
        """Start the process in a session of its own: what ends the flow does not end the slot.

        Its output goes to a file: whoever holds the flow's pipe keeps Prefect from seeing that the flow is dead.
        """
        settings = self._parts.settings
        logs = settings.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"slot-{self._slot_id}.out").open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "infra.doors.realtime", "--slot", self._slot_id],
                cwd=ROOT,
                env=settings.child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started_at = time.monotonic()

    def _reap(self) -> None:
        """Take note of a process that ended; when it may be started again."""
        child = self._child
        if child is None or child.poll() is None:
            return
        # One that ended well has let go of the slot by itself.
        if child.returncode != 0:
            in_unit(self._parts, lambda session: slots.died(session, self._slot_id, socket.gethostname(), child.pid))
        self._child = None
        lived_s = time.monotonic() - self._started_at
        self._died_young = 0 if lived_s >= HEALTHY_S else self._died_young + 1
        delay_s = self._first_delay_s * 2 ** max(0, min(self._died_young - 1, 10))
        self._due_at = time.monotonic() + min(delay_s, LONGEST_DELAY_S)

    def _wait_for_child(self) -> None:
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(ENDING_S)


def cancel_slot(parts: Parts, slot_id: str, reason: str) -> None:
    """Want a slot no longer because its flow run was cancelled; nothing happens if it is gone or off already.

    Raises:
        UpstreamError: If the catalog cannot be reached.
    """

    def change(session: Session) -> None:
        """Switch it off, if it is there and wanted."""
        with suppress(NotFoundError):
            slot = slots.get(session, slot_id)
            if slot.desired:
                switch_off(session, slot, reason)
                audit.record(session, slot.org, "prefect", "slot.switch_off", slot.id, reason=reason)

    in_unit(parts, change)
