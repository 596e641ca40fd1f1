"""Data sets in this dialect's words."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from configs.specs.dataset import Channel, LabelSettings, OnGap
from infra.adapters.catalog.tables import Dataset
from infra.doors.api.monai_cloud.words import Address, Credential, Name, PaginationInfo, Text, Version, iso
from infra.doors.api.monai_cloud.workspace_schemas import ResultsIn
from infra.services.data.datasets import DatasetChange, NewDataset, ShownDataset

ACTIONS = ("nextimage", "cacheimage", "notify")
DatasetType = Literal["semantic_segmentation", "object_detection", "image_classification", "instance_segmentation"]


class DatasetRequest(ResultsIn, LabelSettings):
    """A data set to make. Unknown fields are dropped. The last four fields are this system's own."""

    model_config = ConfigDict(extra="ignore")

    name: Name = "My Dataset"
    description: Text = ""
    type: DatasetType = "semantic_segmentation"
    format: Literal["monai"] = "monai"
    client_url: Address = ""
    client_id: Annotated[str, StringConstraints(max_length=2048)] | None = None
    client_secret: Credential | None = None
    client_token: Credential | None = None
    filters: Annotated[str, StringConstraints(max_length=2048)] | None = None
    version: Version = "1.0.0"
    logo: Address | None = None
    url: Address | None = None
    cloud_file_path: Address | None = None
    shared: bool = False
    use_for: list[Literal["training", "evaluation", "testing"]] = Field(default_factory=list)
    patient_regex: Annotated[str, StringConstraints(max_length=200)] | None = None
    on_gap: OnGap | None = None
    channels: list[Channel] = Field(default=[], max_length=64)

    def to_new(self) -> NewDataset:
        """Return what the service is asked for."""
        shown = ShownDataset(
            type=self.type,
            format=self.format,
            version=self.version,
            logo=self.logo or "",
            shared=self.shared,
            use_for=list(self.use_for),
            url=self.url,
            cloud_file_path=self.cloud_file_path,
        )
        return NewDataset(
            name=self.name,
            description=self.description,
            url=self.client_url,
            username=self.client_id,
            password=self.client_secret,
            token=self.client_token,
            filters=self.filters or "",
            patient_regex=self.patient_regex,
            **self.label_settings(),
            on_gap=self.on_gap,
            results=self.results_to(),
            channels=self.channels,
            shown=shown,
        )


class DatasetPatch(ResultsIn, LabelSettings):
    """Fields to change; those that are left out stay. Credentials are replaced together."""

    model_config = ConfigDict(extra="ignore")

    name: Name | None = None
    description: Text | None = None
    type: str | None = None
    format: str | None = None
    version: Version | None = None
    logo: Address | None = None
    shared: bool | None = None
    client_id: Annotated[str, StringConstraints(max_length=2048)] | None = None
    client_secret: Credential | None = None
    client_token: Credential | None = None
    on_gap: OnGap | None = None

    def to_change(self) -> DatasetChange:
        """Return what the service is asked to change."""
        renamed = {"client_id": "username", "client_secret": "password", "client_token": "token"}
        named = self.model_fields_set - ResultsIn.model_fields.keys()
        said = {renamed.get(name, name): getattr(self, name) for name in named}
        return DatasetChange.model_validate({**said, "results": self.results_to()})


class DatasetResponse(BaseModel):
    """A data set. Credentials and filters are never shown."""

    id: str
    created_on: str
    last_modified: str
    name: str
    shared: bool
    description: str
    version: str
    logo: str
    type: str
    format: str
    workspace: str | None = None
    url: str | None = None
    cloud_file_path: str | None = None
    actions: list[str]
    jobs: dict[str, Any]
    client_url: str
    status: str
    state: str
    state_reason: str
    use_for: list[str]
    label_settings: dict[str, str | int | bool]
    channels: list[Channel]

    @classmethod
    def of(cls, row: Dataset) -> "DatasetResponse":
        """Show one data set."""
        shown = ShownDataset.model_validate(row.shown)
        return cls(
            id=row.id,
            created_on=iso(row.created_at),
            last_modified=iso(row.modified_at),
            name=row.name,
            shared=shown.shared,
            description=row.description,
            version=shown.version,
            logo=shown.logo,
            type=shown.type,
            format=shown.format,
            actions=list(ACTIONS),
            jobs={},
            workspace=row.workspace_id,
            url=shown.url,
            cloud_file_path=shown.cloud_file_path,
            client_url=str(row.spec.get("url", "")),
            status="pull_complete",
            state=row.state,
            state_reason=row.state_reason,
            use_for=shown.use_for,
            label_settings=LabelSettings.model_validate(row.spec).label_settings(),
            channels=row.spec.get("channels", []),
        )


class DatasetList(BaseModel):
    """A wrapped list of data sets."""

    datasets: list[DatasetResponse]
    pagination_info: PaginationInfo | None = None
