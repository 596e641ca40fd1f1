"""`teachback worker POOL...`: a Prefect worker of this installation, once this machine has shown the vault's keys.

`python -m infra.doors.cli.worker POOL...` is what `teachback up` runs, with everything in its environment.
"""

import os
from typing import Annotated

import typer

from configs.errors import InvalidRequestError, TeachbackError
from configs.settings import Settings
from infra.adapters.orchestration import processes as prefect
from infra.doors.cli.client import HomeOption, settings_of
from infra.doors.cli.supervisor.part import ROOT
from infra.doors.cli.terminal import fail, noun
from infra.services.operating import vault
from infra.wiring import open_parts
from tasks.devices.ask import tell

app = noun("Run rounds or realtime slots on this machine, for an installation whose parts are elsewhere.")


@app.command()
def worker(
    pools: Annotated[list[str], typer.Argument(metavar="POOL...", help="rounds, realtime or both.")],
    home: HomeOption = None,
) -> None:
    """Start a worker; it ends when it is told to.

    The machine needs TEACHBACK_PREFECT_API_URL, TEACHBACK_CATALOG_URL and the installation's key file
    (TEACHBACK_KEY_FILE), and the installation's artifacts at the same place.

    For example:

        TEACHBACK_KEY_FILE=/etc/teachback/keys.json teachback worker rounds
    """
    settings = settings_of(home)
    if not settings.prefect_api_url:
        raise InvalidRequestError("No Prefect server is named: set TEACHBACK_PREFECT_API_URL, or use `teachback up`.")
    parts = open_parts(settings)
    try:
        vault.check(parts)
        tell(parts)
    finally:
        parts.close()
    command = prefect.worker_command(pools)
    os.execve(command[0], command, _environment(settings))  # noqa: S606 - becomes Prefect's worker, no shell


def _environment(settings: Settings) -> dict[str, str]:
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else None
    return prefect.worker_environment(
        settings.child_environment(),
        home=settings.home,
        url=settings.prefect_api_url,
        auth=auth,
        root=ROOT,
        warm=settings.flows_socket,
    )


if __name__ == "__main__":
    try:
        app(standalone_mode=False)
    except TeachbackError as error:
        raise SystemExit(fail(str(error))) from None
