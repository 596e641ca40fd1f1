"""Registers work pools and deployments at the Prefect server that the settings name; run at every start.

With `--wait` the server may be starting, too: its imports and ours take seconds each, and go side by side.
"""

import logging
import time
from argparse import ArgumentParser
from pathlib import Path

import httpx

from configs.settings import Settings
from infra.adapters.orchestration.deployments import deploy, ensure_pools

ROOT = Path(__file__).resolve().parents[3]
# A first start makes Prefect's tables, on a slow disk beside all other parts.
_STARTS_WITHIN_S = 240.0
_LOOK_S = 0.1


def wait_for(api_url: str, within_s: float = _STARTS_WITHIN_S) -> None:
    """Return when the server answers, or when it is time to say that it does not."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{api_url}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = ArgumentParser()
    options.add_argument("--wait", action="store_true")
    options.add_argument("--devices", type=int, default=1, help="rounds that may run at a time")
    asked, settings = options.parse_args(), Settings()
    if asked.wait:
        wait_for(settings.prefect_api_url)
    ensure_pools(settings.prefect_api_url, settings.prefect_auth, devices=asked.devices)
    for registered in deploy(settings.prefect_api_url, settings.prefect_auth, ROOT):
        logging.getLogger("teachback.deployments").info("Registered %s", registered)
