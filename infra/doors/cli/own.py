"""The organisation's own experiments, for nouns that speak of each of them."""

import httpx
from pydantic import BaseModel

from infra.doors.cli.client import Client


class OwnExperiment(BaseModel):
    """An experiment, as far as a list of what belongs to it needs it."""

    id: str
    name: str
    read_only: bool = False


def of_each(client: Client, path: str, experiment: str) -> list[httpx.Response]:
    """Ask *path* about one experiment (id or name), or about each that belongs to the organisation if it is empty."""
    names = [experiment]
    if not experiment:
        rows = client.get_as(list[OwnExperiment], client.request("GET", client.cloud("experiments")))
        names = [row.id for row in rows if not row.read_only]
    return [client.request("GET", path, params={"experiment": name}) for name in names]
