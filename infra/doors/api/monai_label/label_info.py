"""What is said of labels in this dialect: `/datastore/label/info`, and where the Reviewer says what it thinks."""

from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import TypeAdapter

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.datastore_list import Said
from infra.doors.api.monai_label.datastore_list import label_info as told
from infra.doors.api.monai_label.scope import DatasetName, LabelId
from infra.services.data import datasets, label_info
from infra.services.data.label_info import REVIEW, Verdict

router = APIRouter(prefix="/datastore", tags=["MONAI Label: datastore"])
MOST_CHARS = 2**20
Info = Annotated[str, Form(max_length=MOST_CHARS, description="JSON: fields by name.")]
FIELDS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


@router.get("/label/info")
def get_label_info(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, label: LabelId, tag: str | None = None
) -> Said:
    """Return what is known of a label, by its id, or by its image's id and a tag."""
    return told(label_info.find(parts, caller, datasets.find(parts, caller, dataset).id, label, tag))


@router.put("/label/info")
def put_label_info(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, label: LabelId, info: Info, tag: str | None = None
) -> None:
    """Add to what is said of a label."""
    row = label_info.find(parts, caller, datasets.find(parts, caller, dataset).id, label, tag)
    label_info.say(parts, caller, row, FIELDS.validate_json(info))


@router.put("/updatelabelinfo")
def update_label_info(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, label: LabelId, params: Info, tag: str | None = None
) -> None:
    """Take a reviewer's word: `approved` approves the label, `flagged` sends it back; all of it is kept."""
    row = label_info.find(parts, caller, datasets.find(parts, caller, dataset).id, label, tag)
    said = FIELDS.validate_json(params)
    label_info.review(parts, caller, row, Verdict.model_validate(said.get(REVIEW, said)))
    label_info.say(parts, caller, row, said)
