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


def wait_until(condition: Callable[[], bool], what: str, *, steps: int = 1200, step_s: float = 0.25) -> None:
    """Ask *condition* up to *steps* times, *step_s* apart and at first more often; fail naming *what*.

    The default is minutes: a busy machine may need them, and what holds is seen soon. Asking takes processor time from
    what is waited for, so it is not done more often than that.
    """
    for step in range(steps):
        if condition():
            return
        time.sleep(min(step_s, 0.02 * 1.2 ** min(step, 50)))
    pytest.fail(f"Asked {steps} times for {what}; it never came.")


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
