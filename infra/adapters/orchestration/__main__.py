"""Registers work pools and deployments at the Prefect server that the settings name; run at every start."""

import logging
from pathlib import Path

from configs.settings import Settings
from infra.adapters.orchestration.deployments import deploy, ensure_pools

ROOT = Path(__file__).resolve().parents[3]

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = Settings()
    ensure_pools(settings.prefect_api_url, settings.prefect_auth)
    for registered in deploy(settings.prefect_api_url, settings.prefect_auth, ROOT):
        logging.getLogger("teachback.deployments").info("Registered %s", registered)
