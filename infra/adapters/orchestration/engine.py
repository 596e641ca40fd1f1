"""`python -S -m infra.adapters.orchestration.engine`: what a worker starts for a flow run.

It has the run forked by the warm process, passes signals on to it, and ends as it ends. Where none answers it becomes
Prefect's engine itself. Only some of the standard library is imported: this start is what a round waits for.

Whoever kills this process ends the run: the warm process sees the connection close. The death of the worker ends
neither.
"""

import json
import os
import signal
import socket
import struct
import sys
from types import FrameType

LENGTH = struct.Struct(">I")
_ANSWER_S = 60.0  # its imports, on a busy machine; a cold start would take as long


def main() -> int:
    """Run the flow run that the environment names; returns the exit status."""
    # Not by configs.settings: importing pydantic would take longer than all of this.
    address = os.environ.get("TEACHBACK_WARM_FLOWS", "off")
    connection = None if address == "off" else _asked(address)
    if connection is None:
        cold = [sys.executable, "-m", "infra.adapters.orchestration.cold"]
        os.execv(cold[0], cold)  # noqa: S606 - becomes the engine, no shell
    with connection, connection.makefile("r") as answers:
        run = json.loads(answers.readline())["pid"]

        def pass_on(number: int, _frame: FrameType | None) -> None:
            """Send the run the signal that this process got; one that has just ended needs none."""
            try:
                os.kill(run, number)
            except ProcessLookupError:
                return

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, pass_on)
        ended = answers.readline()
    return json.loads(ended)["status"] if ended else -signal.SIGKILL  # the warm process is gone, and the run with it


def _asked(address: str) -> socket.socket | None:
    """Return the connection on which the answer begins; None where there is nobody who answers."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_ANSWER_S)
    try:
        folder = os.open(os.path.dirname(address), os.O_PATH | os.O_DIRECTORY)  # noqa: PTH120 - pathlib is dear here
        try:
            # Through the folder's descriptor: a socket's address may have 107 bytes, a path has more.
            connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(address)}")  # noqa: PTH119 - as above
        finally:
            os.close(folder)
        asked = json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}).encode()  # noqa: PTH109 - as above
        connection.sendall(LENGTH.pack(len(asked)) + asked)
        if not connection.recv(1, socket.MSG_PEEK):
            raise OSError("it hung up")  # noqa: TRY301 - all that goes wrong here ends the same way
    except OSError:
        connection.close()
        return None
    connection.settimeout(None)
    return connection


def _end_as(status: int) -> None:
    """End as the run did: by its signal, so that the worker sees that, too."""
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    _end_as(main())
