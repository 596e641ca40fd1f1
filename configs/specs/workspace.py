"""A workspace: a place in an object store where results of jobs are also written."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CloudType = Literal["aws", "azure", "gcp", "self_hosted"]
PLACE = r"^[A-Za-z0-9$][A-Za-z0-9._-]{1,254}(/[^/?#\s\x00-\x1f@]+){0,16}/?$"
"""With a length beside it: pydantic makes an automaton of a pattern, and counted names of folders took 14 MB."""
# S3 and Google allow keys of 1,024 bytes; a place is a prefix of one.
PLACE_LENGTH = 1024


class WorkspaceSpec(BaseModel):
    """Where a workspace is. Credentials are not here: they are in the vault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud_type: CloudType
    bucket: str = Field(
        pattern=PLACE, max_length=PLACE_LENGTH, description="Bucket or container, and a folder in it after a slash."
    )
    region: str = Field(default="", max_length=64)
    endpoint: str = Field(default="", max_length=2048, description="Of a self-hosted S3 store.")
    by_admin: bool = Field(default=False, description="An admin named the address, and so allowed it.")
