"""Builds the HTTP application from its parts."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from configs.errors import UnauthorizedError
from configs.wire.slot import VERSION_HEADER
from infra.adapters.security.redact import guard
from infra.doors.api import errors, health, hooks, idle, monitoring, pages
from infra.doors.api.browser import jobs, login, mlflow, prefect, proxy, session
from infra.doors.api.guard import REQUEST_ID_HEADER, Guard, hosts_of, origins_of
from infra.doors.api.logins import FailedLogins
from infra.doors.api.monai_cloud import routes as monai_cloud
from infra.doors.api.monai_label import routes as monai_label
from infra.doors.api.native import routes as native
from infra.doors.api.repeats import Repeats
from infra.doors.api.roles import admit
from infra.services.learning import bases
from infra.services.operating import vault
from infra.wiring import Parts
from tasks.reconcile import loop

# Requests wait for slots and stores in threads: a waiting one must not keep out those that only ask the catalog.
THREADS = 128
_DESCRIPTION = "Continual learning for medical-image annotation: the annotator teaches, the model says it back."


def create_app(parts: Parts, *, run_loops: bool = True) -> FastAPI:
    """Return the application; whoever calls this owns the parts.

    Args:
        parts: The adapters.
        run_loops: Bring tables and base experiments up to date at start, and run the reconciler and the dispatcher in
            this process.
    """
    app = FastAPI(
        title="Teachback",
        version=version("teachback"),
        description=_DESCRIPTION,
        lifespan=lambda running: _life(running, parts, run_loops),
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(admit)],
    )
    app.state.parts = parts
    app.state.failed_logins = FailedLogins()
    app.state.meter = monitoring.Meter()
    app.state.calls = idle.Calls()
    errors.install(app)
    pages.install(app)
    app.include_router(health.router)
    app.include_router(hooks.router)
    app.include_router(monitoring.router)
    for router in (*monai_cloud.routers(), *monai_label.routers(), native.router()):
        app.include_router(router)
    # Asked before the one for all our errors: the handler of the nearest class answers.
    app.add_exception_handler(UnauthorizedError, session.not_logged_in)
    for router in (login.router, jobs.router, prefect.router, mlflow.router):
        app.include_router(router)
    # Added first, so it is inside of the guard: what the guard refuses is neither kept nor repeated.
    app.add_middleware(Repeats, state=app.state)
    hosts, origins = hosts_of(parts.settings), origins_of(parts.settings)
    app.add_middleware(Guard, hosts=hosts, origins=origins, meter=app.state.meter, state=app.state)
    if origins:
        # Outermost: a page reads why it was refused, too. Cookies are not among what it may send.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Content-Disposition", VERSION_HEADER, REQUEST_ID_HEADER],
        )
    return app


@asynccontextmanager
async def _life(app: FastAPI, parts: Parts, run_loops: bool) -> AsyncIterator[None]:
    # FastAPI's own is 40: as many slow stores would stop every other request.
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    guard(logging.getLogger().handlers, parts.redactor)
    async with proxy.opened(app):
        if not run_loops:
            yield
            return
        await anyio.to_thread.run_sync(_prepare, parts)
        async with _loops(parts):
            yield


def _prepare(parts: Parts) -> None:
    parts.catalog.migrate()
    vault.ensure(parts)
    bases.register_shipped(parts)


@asynccontextmanager
async def _loops(parts: Parts) -> AsyncIterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(parts, stop), name="reconcile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # A delivery that hangs must not keep the server from stopping: what was not noted is delivered again.
        await anyio.to_thread.run_sync(thread.join, 10)
