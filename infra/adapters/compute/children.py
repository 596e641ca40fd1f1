"""The process of a host, as whoever talks with it sees it."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import Protocol


class Child(Protocol):
    """A host's process."""

    @property
    def pid(self) -> int:
        """The process to watch; when it is gone, everything the bundle started is gone."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status once it has ended, None when it has not within *timeout_s*."""
        ...

    def kill(self) -> int:
        """End it and all it started, at once; return its status when it is gone. Any thread may call this."""
        ...


class StartedChild:
    """A process that was started for its request, the leader of its own session.

    Args:
        process: The process.
        keep: Held as long as this object: the thread pool whose thread started the process.
    """

    def __init__(self, process: subprocess.Popen[bytes], *, keep: object) -> None:
        self._process = process
        self._keep = keep

    @property
    def pid(self) -> int:
        """The process to watch."""
        return self._process.pid

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, None when it has not ended within *timeout_s*."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """End its whole group; return its status when it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()
