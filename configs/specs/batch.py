"""What a batch of predictions is asked for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Which = Literal["all", "unlabelled", "labelled"]
OUTPUT = r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$"


class BatchSpec(BaseModel):
    """Predictions of many images with one model version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_id: str | None = Field(default=None, description="Default: the experiment's for inference, else training.")
    which: Which = Field(default="all", description="Which of its images.")
    images: list[str] = Field(default_factory=list, max_length=100_000, description="Ids of images, instead of those.")
    version_id: str | None = Field(default=None, description="Default: the published version.")
    train_job_id: str | None = Field(default=None, description="The version that this training made, instead.")
    write_predictions: bool | None = Field(
        default=None,
        description="Whether they also go to the images' store, as DICOM SEG or NIfTI; default: as the data set says.",
    )
    output: str = Field(
        default="", pattern=OUTPUT, description="Folder below `predictions` of the home; default: the job's id."
    )


class BatchResult(BaseModel):
    """What came of it."""

    model_config = ConfigDict(frozen=True)

    predicted: int = 0
    left_out: int = 0
    version: str = ""
    output: str = ""
    isolation: str = ""
