"""Starting real servers for tests: ports, waiting for a condition, and ending what was started."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import pytest


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = 120.0, step_s: float = 0.25) -> None:
    """Ask *condition* again and again, *step_s* apart and at first more often; fail naming *what*.

    What holds is seen soon. A busy machine may need minutes, and a failure must not cost more, so the pauses between
    questions are added up: a machine that sleeps has not waited. Asking takes processor time from what is waited for.
    """
    waited_s, pause_s = 0.0, min(step_s, 0.02)
    while not condition():
        if waited_s >= within_s:
            pytest.fail(f"Waited {waited_s:.0f} s for {what}; it never came.")
        time.sleep(pause_s)
        waited_s += pause_s
        pause_s = min(step_s, 1.2 * pause_s)


def listens(port: int) -> bool:
    """Say whether somebody accepts connections at the loopback *port*."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: "subprocess.Popen[bytes]", first: signal.Signals = signal.SIGTERM) -> None:
    """End *process*, which leads its own group, and all of that group."""
    _signal_group(process, first)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def skip_or_fail(reason: str) -> None:
    """Skip the test for want of a component, but never where all components are promised (`CI=true`)."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _signal_group(process: "subprocess.Popen[bytes]", what: signal.Signals) -> None:
    try:
        os.killpg(process.pid, what)
    except ProcessLookupError:
        return
