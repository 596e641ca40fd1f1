"""Where a data set's images are, and how to read them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StoreKind = Literal["folder", "dicomweb", "s3", "azure", "gcs", "web"]
OnGap = Literal["refuse", "resample"]
IMPORT_LABELS = r"^(all|none|since \d{4}-\d{2}-\d{2})$"
LABELS_TO = r"^(store|home|(file|https?|s3|gs|gcs|abfss?|az)://.+|/.+)$"
"""With a length beside it: pydantic makes an automaton of a pattern, and `.{1,2000}` took 10 MB in every process."""
LABELS_TO_LENGTH = 2048


class Channel(BaseModel):
    """One channel of images that are made of several files or series: how it is called, and which they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    suffix: str = Field(
        default="", max_length=200, description="Folders: how its files' paths end, before `.nii.gz`: _0000, -t1c, /t1."
    )
    SeriesDescription: str = Field(
        default="", max_length=200, description="DICOMweb: pattern of its series' description, with * and ?."
    )


class DatasetSpec(BaseModel):
    """One image store. Credentials are not here: they are in the vault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: StoreKind
    url: str = Field(description="Absolute folder, DICOMweb root, or an object store's folder or manifest.")
    filters: str = Field(default="", max_length=2048, description="QIDO query string that narrows the series.")
    patient_regex: str = Field(default=r"^([^/]+)/", description="Group 1 of the image id is the patient (folders).")
    import_labels: str = Field(
        default="all", pattern=IMPORT_LABELS, description="Labels found at the source: all, none, or since YYYY-MM-DD."
    )
    watch: bool = Field(
        default=False,
        description="Whether a label that somebody puts into the store later is a notification: it counts.",
    )
    on_gap: OnGap = Field(
        default="refuse",
        description="A DICOM series with missing or doubled slices or a tilted gantry: leave it out, or interpolate.",
    )
    channels: list[Channel] = Field(
        default=[], max_length=64, description="Files of one case, or series of one study, that are one image."
    )
    by_admin: bool = Field(default=False, description="An admin named the address, and so allowed it.")
    labels_to: str = Field(
        default="store",
        pattern=LABELS_TO,
        max_length=LABELS_TO_LENGTH,
        description="Where saved labels go: store, home, or the address of a folder or DICOMweb server.",
    )
    annotators_per_image: int = Field(default=1, ge=1, le=16, description="People whose labels complete an image.")
    train_on: Literal["submitted", "approved"] = Field(default="submitted", description="Which labels count and train.")
    resolve: Literal["latest", "staple", "reviewer"] = Field(
        default="latest", description="Which of several people's labels of one image trains."
    )
    write_predictions: bool = Field(default=False, description="Whether models' output is written to the store.")


class LabelSettings(BaseModel):
    """What may be said of a data set's labels when it is made, and changed later; None = as it is."""

    model_config = ConfigDict(frozen=True)

    import_labels: str | None = Field(default=None, pattern=IMPORT_LABELS)
    watch: bool | None = None
    labels_to: str | None = Field(default=None, pattern=LABELS_TO, max_length=LABELS_TO_LENGTH)
    annotators_per_image: int | None = Field(default=None, ge=1, le=16)
    train_on: Literal["submitted", "approved"] | None = None
    resolve: Literal["latest", "staple", "reviewer"] | None = None
    write_predictions: bool | None = None

    def label_settings(self) -> dict[str, str | int | bool]:
        """Return what was said."""
        said = {name: getattr(self, name) for name in LabelSettings.model_fields}
        return {name: value for name, value in said.items() if value is not None}
