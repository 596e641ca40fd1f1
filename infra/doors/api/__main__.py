"""`python -m infra.doors.api` serves the API until it is told to stop."""

import logging
import sys

import uvicorn

from configs.settings import Settings
from infra.adapters.cache.scratch import use_scratch
from infra.adapters.security.redact import guard
from infra.doors.api.app import create_app
from infra.wiring import open_parts

# What is being sent is still taken in; a stream that a viewer holds open is not waited for.
_STOP_WITHIN_S = 30


def main() -> None:
    """Serve with the environment's settings. Standard output is the log; it shows no path, key or patient."""
    settings = Settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout)
    for noisy in ("httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    parts = open_parts(settings)
    use_scratch(settings.home / "work" / "tmp")
    guard(logging.getLogger().handlers, parts.redactor)
    try:
        uvicorn.run(
            create_app(parts),
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(settings.allowed_hosts),  # without a proxy in front, anybody could claim an address
            timeout_graceful_shutdown=_STOP_WITHIN_S,
        )
    finally:
        parts.close()


if __name__ == "__main__":
    main()
