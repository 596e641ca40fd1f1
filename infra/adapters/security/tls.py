"""The authorities whose certificates are believed, read once in a process."""

import ssl
from functools import cache

import httpx


@cache
def authorities() -> ssl.SSLContext:
    """Return httpx's own default, whatever the environment says; a client that is given none reads them for 25 ms."""
    return httpx.create_ssl_context(trust_env=False)
