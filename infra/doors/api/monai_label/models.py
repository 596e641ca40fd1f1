"""`/model` of this dialect: the weights that are served, others brought to be judged, and going back."""

from fastapi import APIRouter, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel

from configs.errors import NotFoundError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.infer_reply import BINARY
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import datasets
from infra.services.data.images import basename
from infra.services.learning import by_dataset, model_uploads, models
from infra.services.learning.models import Published

router = APIRouter(prefix="/model", tags=["MONAI Label: models"])


class ModelFile(BaseModel):
    """What is known of a model's weights."""

    checksum: str
    modified_time: int

    @classmethod
    def of(cls, found: Published) -> "ModelFile":
        """Show a version."""
        return cls(checksum=f"SHA256:{found.sha256}", modified_time=int(found.version.created_at))


class NoFileError(NotFoundError):
    """Nothing but the bundle's own weights is served: they are the bundle's file."""

    def __str__(self) -> str:
        return f"Model File NOT Found for {self.name}: what it serves is its bundle's own weights, or nothing yet"


@router.get("/info/{model}")
def get_model_info(dataset: DatasetName, model: str, parts: PartsDep, caller: CallerDep) -> ModelFile:
    """Return the checksum of the weights that are served, and when they were made."""
    return ModelFile.of(_published(dataset, model, parts, caller))


@router.get("/{model}", response_class=FileResponse)
def get_model(dataset: DatasetName, model: str, parts: PartsDep, caller: CallerDep) -> FileResponse:
    """Return the weights that are served, as safetensors."""
    found = _published(dataset, model, parts, caller)
    return FileResponse(found.path, media_type=BINARY, filename=f"{basename(model)}.safetensors")


@router.put("/{model}")
def upload_model(dataset: DatasetName, model: str, parts: PartsDep, caller: CallerDep, file: UploadFile) -> ModelFile:
    """Keep weights as a challenger, which a `train` job judges: they are served only if the gate publishes them."""
    row = datasets.find(parts, caller, dataset)
    return ModelFile.of(model_uploads.upload(parts, caller, row, model, file.file))


@router.delete("/{model}")
def delete_model(dataset: DatasetName, model: str, parts: PartsDep, caller: CallerDep) -> dict[str, str]:
    """Serve what was served before; the version stays in the history, and can be published again."""
    row = datasets.find(parts, caller, dataset)
    experiment = by_dataset.model(parts, caller, row, model).experiment
    models.rollback(parts, caller, experiment.id, compared_with=experiment.published_version, reason="DELETE /model")
    return {}


def _published(dataset: str, model: str, parts: PartsDep, caller: CallerDep) -> Published:
    row = datasets.find(parts, caller, dataset)
    experiment = by_dataset.model(parts, caller, row, model).experiment
    found = models.published(parts, caller, experiment.id)
    if found is None:
        raise NoFileError("model file", experiment.name)
    return found
