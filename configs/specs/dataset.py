"""Where a data set's images are, and how to read them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StoreKind = Literal["folder", "dicomweb"]


class DatasetSpec(BaseModel):
    """One image store. Credentials are not here: they are in the vault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: StoreKind
    url: str = Field(description="Absolute folder, or the DICOMweb root such as http://host/dicom-web.")
    filters: str = Field(default="", max_length=2048, description="QIDO query string that narrows the series.")
    patient_regex: str = Field(default=r"^([^/]+)/", description="Group 1 of the image id is the patient (folders).")
    import_labels: Literal["all", "none"] = Field(default="all", description="Labels found at the source.")
    by_admin: bool = Field(default=False, description="An admin named the address, and so allowed it.")
    labels_to: Literal["store", "home"] = Field(default="store", description="Where saved labels go.")
