"""Named points at which a test makes a process kill itself, to see that nothing acknowledged is lost."""

import os
import signal

from configs.settings import Settings


def fail_point(settings: Settings, name: str) -> None:
    """Kill this process, as `kill -9` would, if a test asked for it at this point."""
    if settings.testing and settings.failpoint == name:
        os.kill(os.getpid(), signal.SIGKILL)
