"""The warm process's loop: one thread, which forks, passes on how a host fares, and ends whose asker is gone."""

import logging
import os
import selectors
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from configs.wire.framing import frame, read_frame
from configs.wire.listen import is_ours
from configs.wire.warm import Ended, Refused, Start, Started
from tasks.compute.cage.enter import CAGED
from tasks.compute.warm import child

# Whoever asks sends at once; one that connects and says nothing must not keep others waiting.
_PATIENCE_S = 2.0
# The control socket and the log; more are closed by the kernel.
_DESCRIPTORS = 2
# It goes into an error's text.
_REASON_CHARS = 2000

_log = logging.getLogger("teachback.warm")


@dataclass
class _Host:
    """A forked host: its process, a descriptor of it, its asker and where it says that its cage stands."""

    pid: int
    watched: int
    asker: socket.socket
    report: socket.socket
    reported: bool = False
    abandoned: bool = False


@dataclass(frozen=True)
class _Event:
    """What a descriptor that became readable means."""

    kind: Literal["report", "asker", "ended"]
    host: _Host


class Server:
    """Forks hosts for whoever connects to *listener*, with *by_libraries* in their environment."""

    def __init__(self, listener: socket.socket, by_libraries: Mapping[str, str]) -> None:
        self._listener = listener
        self._by_libraries = by_libraries
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)

    def run(self, rest_s: float) -> None:
        """Serve until nobody has connected for so many seconds, and no host is left.

        Whatever ends this process ends its hosts.
        """
        while True:
            ready = self._selector.select(rest_s)
            if not ready and len(self._selector.get_map()) == 1:  # the listener's
                return
            # One at a time, since handling one may close what another is about; what waits is found again.
            for key, _ in ready[:1]:
                if key.data is None:
                    self._accept()
                else:
                    self._handle(key.data)

    def _handle(self, event: _Event) -> None:
        match event.kind:
            case "report":
                self._reported(event.host)
            case "asker":
                event.host.abandoned = True
                # Else it would be found readable again and again until the host has ended.
                self._selector.unregister(event.host.asker)
                os.kill(event.host.pid, signal.SIGTERM)  # not yet waited for, so its number is its own
            case "ended":
                self._ended(event.host)

    def _accept(self) -> None:
        asker, _ = self._listener.accept()
        try:
            if not is_ours(asker):
                asker.close()
                return
            received = _receive(asker)
        except (OSError, ValueError) as error:  # a ValidationError and a FramingError are ValueErrors
            _log.warning("a request could not be read: %s", type(error).__name__)
            asker.close()
            return
        if received is None:  # only to be woken
            asker.close()
            return
        start, descriptors = received
        environment = {**self._by_libraries, **start.environment}
        try:
            pid, report = child.fork(start.model_copy(update={"environment": environment}), *descriptors)
        except OSError as error:
            _tell(asker, Refused(reason=f"fork: {error}"))
            asker.close()
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        host = _Host(pid, os.pidfd_open(pid), asker, report)
        self._selector.register(report, selectors.EVENT_READ, _Event("report", host))
        self._selector.register(asker, selectors.EVENT_READ, _Event("asker", host))
        self._selector.register(host.watched, selectors.EVENT_READ, _Event("ended", host))

    def _reported(self, host: _Host) -> None:
        host.reported = True
        said = host.report.recv(4096)
        self._selector.unregister(host.report)
        host.report.close()
        if said == CAGED:
            with suppress(OSError):
                socket.send_fds(host.asker, [frame(Started(pid=host.pid))], [host.watched])
        else:
            reason = said.decode(errors="replace")[:_REASON_CHARS] or "the host died while its cage was built"
            _log.warning("no cage: %s", reason)
            _tell(host.asker, Refused(reason=reason))

    def _ended(self, host: _Host) -> None:
        # Both may have become readable at once: whoever asked is told first why there is no cage.
        if not host.reported:
            self._reported(host)
        _, status = os.waitpid(host.pid, 0)
        with suppress(ProcessLookupError):
            os.killpg(host.pid, signal.SIGKILL)  # a keeper killed alone leaves its group
        _tell(host.asker, Ended(status=os.waitstatus_to_exitcode(status)))
        if not host.abandoned:
            self._selector.unregister(host.asker)
        host.asker.close()
        self._selector.unregister(host.watched)
        os.close(host.watched)


def _receive(asker: socket.socket) -> tuple[Start, tuple[int, int]] | None:
    """Read a request: one byte with the two descriptors, then the message; None where nothing is asked."""
    asker.settimeout(_PATIENCE_S)
    first, descriptors, _, _ = socket.recv_fds(asker, 1, _DESCRIPTORS)
    if not first:
        return None
    try:
        with asker.makefile("rb") as stream:
            start = Start.model_validate_json(read_frame(stream) or b"")
        asker.settimeout(None)
        control, log = descriptors
    except BaseException:  # whatever ends this, the descriptors that came are nobody else's to close
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return start, (control, log)


def _tell(asker: socket.socket, message: BaseModel) -> None:
    """Tell the asker, if it is still there."""
    with suppress(OSError):
        asker.sendall(frame(message))
