"""Workspaces in this dialect's words."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints

from configs.errors import InvalidRequestError
from configs.specs.workspace import PLACE, PLACE_LENGTH, CloudType, WorkspaceSpec
from infra.adapters.catalog.tables import Workspace
from infra.doors.api.monai_cloud.words import Credential, Name, PaginationInfo, WorkspaceRef, iso
from infra.services.data.workspaces import NewPlace, ResultsTo


class CloudDetails(BaseModel):
    """A place in a store, and what opens it: an S3 access key, an Azure account and key, Google's HMAC or JSON."""

    model_config = ConfigDict(extra="ignore")

    access_key: Credential | None = None
    secret_key: Credential | None = None
    account_name: Annotated[str, StringConstraints(max_length=512)] = ""
    cloud_region: Annotated[str, StringConstraints(max_length=64)] = ""
    cloud_bucket_name: Annotated[str, StringConstraints(pattern=PLACE, max_length=PLACE_LENGTH)]
    endpoint_url: Annotated[str, StringConstraints(max_length=2048)] = ""


class Cloud(BaseModel):
    """`cloud_details`: a place that is named where it is used."""

    model_config = ConfigDict(extra="ignore")

    cloud_type: CloudType
    cloud_specific_details: CloudDetails

    def to_place(self) -> NewPlace:
        """Return what the service is asked for."""
        said = self.cloud_specific_details
        first = said.access_key.get_secret_value() if said.access_key else ""
        azure = self.cloud_type == "azure"
        return NewPlace(
            cloud_type=self.cloud_type,
            bucket=said.cloud_bucket_name,
            region=said.cloud_region,
            endpoint=said.endpoint_url,
            username=said.account_name if azure else first,
            password=SecretStr(first) if azure else said.secret_key,
        )


class ResultsIn(BaseModel):
    """Where results are also to be written, as data sets and experiments say it: a workspace, or a place."""

    workspace: WorkspaceRef | None = None
    cloud_details: Cloud | None = None

    def results_to(self) -> ResultsTo | None:
        """Return what the service is asked for; None where the body names neither.

        Raises:
            InvalidRequestError: If it names both.
        """
        if not {"workspace", "cloud_details"} & self.model_fields_set:
            return None
        if self.workspace and self.cloud_details:
            raise InvalidRequestError("Results go to one place: give workspace or cloud_details, not both")
        return ResultsTo(workspace=self.workspace, place=self.cloud_details and self.cloud_details.to_place())


class WorkspaceRequest(Cloud):
    """A workspace to make. Unknown fields are dropped."""

    name: Name = "My Workspace"


class WorkspacePatch(BaseModel):
    """What is to change. A place is named whole, with its credentials."""

    model_config = ConfigDict(extra="ignore")

    name: Name | None = None
    cloud_type: CloudType | None = None
    cloud_specific_details: CloudDetails | None = None

    def to_place(self, known: CloudType) -> NewPlace | None:
        """Return the place that is asked for, if one is; of the *known* type, where the body names none.

        Raises:
            InvalidRequestError: If another type is named without a place.
        """
        if self.cloud_specific_details is None:
            if self.cloud_type not in {None, known}:
                raise InvalidRequestError("Another cloud_type is another place: give cloud_specific_details with it")
            return None
        return Cloud(cloud_type=self.cloud_type or known, cloud_specific_details=self.cloud_specific_details).to_place()


class WorkspaceResponse(BaseModel):
    """A workspace. Its details are never shown."""

    id: str
    created_on: str
    last_modified: str
    name: str
    cloud_type: CloudType

    @classmethod
    def of(cls, row: Workspace) -> "WorkspaceResponse":
        """Show one workspace."""
        return cls(
            id=row.id,
            created_on=iso(row.created_at),
            last_modified=iso(row.modified_at),
            name=row.name,
            cloud_type=WorkspaceSpec.model_validate(row.spec).cloud_type,
        )


class WorkspaceList(BaseModel):
    """A wrapped list of workspaces."""

    workspaces: list[WorkspaceResponse]
    pagination_info: PaginationInfo | None = None
