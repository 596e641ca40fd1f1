"""`teachback tracking`: what MLflow shows."""

from pydantic import BaseModel

from infra.doors.cli.client import OURS, Client, HomeOption, KeyOption, UrlOption
from infra.doors.cli.terminal import noun, terminal

app = noun("What MLflow shows of rounds and models.", "teachback tracking rebuild")


class _Rebuilt(BaseModel):
    jobs: int


@app.command()
def rebuild(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Write every run, model version and alias again: for an MLflow that was emptied. Nothing is doubled.

    For example:

        teachback tracking rebuild
    """
    with Client.of(url, key, home) as client:
        done = client.get_as(_Rebuilt, client.request("POST", f"{OURS}/tracking:rebuild"))
    terminal(stderr=True).print(f"{done.jobs} jobs are being written to MLflow again.", markup=False)
