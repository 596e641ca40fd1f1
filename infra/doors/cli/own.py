"""The organisation's own experiments, for nouns that speak of each of them."""

from pydantic import BaseModel

from infra.doors.cli.client import Client


class OwnExperiment(BaseModel):
    """An experiment, as far as a list of what belongs to it needs it."""

    id: str
    name: str
    read_only: bool = False


def own_experiments(client: Client) -> list[OwnExperiment]:
    """Return the experiments that belong to the organisation, without the base experiments."""
    rows = client.get_as(list[OwnExperiment], client.request("GET", client.cloud("experiments")))
    return [row for row in rows if not row.read_only]
