"""What one backup holds: the note that is written last, and read first."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.errors import CorruptError, InvalidRequestError
from infra.adapters.artifacts.depot import Depot
from infra.adapters.security.vault import Vault

# An older Teachback refuses a backup of a newer form before it reads the rest.
FORMAT = 1


class Stored(BaseModel):
    """A file, by the hash of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int


class Contents(BaseModel):
    """Everything that belongs to one backup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    at: float = Field(description="When the copy of the catalog was begun, in seconds since 1970.")
    teachback: str = Field(description="Version that made it.")
    revision: str = Field(description="Of the catalog's tables.")
    catalog: Stored = Field(description="A SQLite file, whatever database the catalog is on.")
    keys: Stored | None = Field(description="The key ring; None = it is kept elsewhere.")
    blobs: dict[str, int] = Field(description="Labels, weights, snapshots: hash -> bytes.")
    bundles: dict[str, dict[str, Stored]] = Field(description="Bundle -> path in it -> file.")
    events: dict[str, Stored] = Field(description="`<job>/<attempt>` -> what training told MLflow.")
    missing: list[str] = Field(description="What the catalog names and the installation itself does not have.")

    def objects(self) -> dict[str, int]:
        """Return every file that it needs: hash -> bytes."""
        others = [self.catalog, *([self.keys] if self.keys else []), *self.events.values()]
        others += [stored for files in self.bundles.values() for stored in files.values()]
        return {**self.blobs, **{stored.sha256: stored.size for stored in others}}


def owner_of(vault: Vault) -> str:
    """Return what tells one installation's backups from another's: it follows from the key ring, and never changes."""
    return vault.keyed_hash("", "backup")


class _Head(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: int


def read(depot: Depot, name: str) -> Contents:
    """Read what one backup holds.

    Raises:
        CorruptError: If its note was cut off or changed.
        InvalidRequestError: If a later version of Teachback made it.
        NotFoundError: If there is none of this name.
    """
    content = depot.read(name)
    try:
        if _Head.model_validate_json(content).format > FORMAT:
            raise InvalidRequestError(f"A later version of Teachback made the backup {name}: restore it with that")
        return Contents.model_validate_json(content)
    except ValidationError:
        raise CorruptError(f"The backup {name} cannot be read as one: use another one") from None


def newest(depot: Depot) -> tuple[str, Contents] | None:
    """Return the newest backup that is whole, if there is one."""
    for name in reversed(depot.notes()):
        try:
            return name, read(depot, name)
        except CorruptError:
            continue
    return None
