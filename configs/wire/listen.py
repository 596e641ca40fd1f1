"""A socket of ours on this machine: in a folder of this user alone, spoken to by this user alone."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PEER = struct.Struct("3i")  # pid, uid, gid: ucred in unix(7)
# Callers that wait for one busy process: more would time out before their turn.
_BACKLOG = 64


@contextmanager
def listen(address: Path) -> Iterator[socket.socket]:
    """Listen at *address* until the block ends; what an ended process left there is replaced.

    A process that was forked within the block may leave it, too: the socket stays its parent's.
    """
    owner = os.getpid()
    address.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    address.parent.chmod(0o700)
    address.unlink(missing_ok=True)
    folder = os.open(address.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Through the folder's descriptor: a socket's address may have 107 bytes, a path has more.
        listener.bind(f"/proc/self/fd/{folder}/{address.name}")
        listener.listen(_BACKLOG)
        yield listener
    finally:
        listener.close()
        os.close(folder)
        if os.getpid() == owner:
            address.unlink(missing_ok=True)


def is_ours(connection: socket.socket) -> bool:
    """Tell whether the other end is a process of this user."""
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(user == os.getuid())
