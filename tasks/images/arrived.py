"""A PACS says that a series is complete: a label is notified, an image has the data set listed again."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.images.base import StoredImage, StoredLabel
from infra.adapters.images.dicomweb import DicomWebStore
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.rounds.count import notify


class Arrival(BaseModel):
    """What became of it. `reason` may name the series: it is for the sender, not for a log."""

    model_config = ConfigDict(frozen=True)

    done: Literal["notified", "refreshed", "later", "nothing"]
    reason: str = ""


def series_arrived(parts: Parts, dataset_id: str, series: str, actor: str) -> Arrival:
    """Take in a series of the data set's store, by its SeriesInstanceUID. Doing it twice counts nothing twice.

    Raises:
        StoreError: If the store cannot be read now.
    """
    store = store_of(parts, dataset_id)
    if not isinstance(store, DicomWebStore):
        return Arrival(done="nothing", reason="the data set is no DICOMweb server")
    found = store.arrived(series)
    if isinstance(found, StoredImage):
        report = sync_dataset(parts, dataset_id)
        return Arrival(done="refreshed", reason=f"{report.added} images are new")
    if found is None:
        return Arrival(done="nothing", reason="the store has no such series, or it is no image and no label of one")
    return _label_arrived(parts, dataset_id, found, actor)


def _label_arrived(parts: Parts, dataset_id: str, label: StoredLabel, actor: str) -> Arrival:
    if label.ours:
        return Arrival(done="nothing", reason="this system wrote it: saving it was its notification")
    if label.automatic:
        return Arrival(done="nothing", reason="all of it was made by a program: it is no label to learn from")
    try:
        checked = check_notices(parts, dataset_id, [Notice(kind="added", image=label.image, label=label.key)])
    except (InvalidRequestError, NotFoundError) as error:
        return Arrival(done="nothing", reason=str(error))
    with parts.catalog.write() as session:
        changed = notify(session, dataset_id, checked, actor)
    return Arrival(done="notified", reason="" if changed else "it was known already")
