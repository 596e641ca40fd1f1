"""HTTP on a port of the kernel's choice, served by a side thread."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn
from fastapi import FastAPI

from configs.errors import UpstreamError

START_TIMEOUT_S = 10.0
_POLL_S = 0.01
_BACKLOG = 256


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve the application on loopback and give its address, `http://127.0.0.1:port`; the end closes it.

    The main thread stays free for signals: a server in it would take SIGTERM for itself.

    Raises:
        UpstreamError: If it does not start within 10 s.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        # asyncio sets this only on sockets that say their protocol; without it an answer waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5, lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True)
        thread.start()
        until = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > until:
                server.should_exit = True
                raise UpstreamError("The slot's HTTP server did not start on loopback: see its log")
            time.sleep(_POLL_S)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_TIMEOUT_S)
