"""Which failures skip an image, and which are the store's."""

import pytest
from pydicom.dataset import Dataset

from configs.errors import DamagedImageError, InvalidRequestError, NoVolumeError, StoreError, UnreadableError
from infra.adapters.catalog.tables import Dataset as DatasetRow
from infra.adapters.catalog.tables import Image
from infra.adapters.images.folder import FolderStore
from infra.wiring import Parts
from tasks.images import poison
from tests.builders import World, build

DAMAGED = DamagedImageError("The DICOMweb server answered 500 for this image alone: check its log")


class _Server(FolderStore):
    """A store whose server tells headers of nothing, or of everything."""

    def __init__(self, *, well: bool) -> None:
        self._well = well

    def headers(self, key: str) -> list[Dataset] | None:
        if not self._well:
            raise StoreError(f"not even {len(key)} letters")
        return [Dataset()]


@pytest.fixture
def world(parts: Parts) -> World:
    return build(parts.catalog, images=3)


def _image(parts: Parts, world: World) -> Image:
    with parts.catalog.read() as session:
        return session.get_one(Image, world.images[0])


def test_the_third_failure_in_a_row_skips(parts: Parts, world: World) -> None:
    for reasons in ("", ""):
        poison.failed(parts, _Server(well=True), _image(parts, world), DAMAGED)
        assert _image(parts, world).skipped_reason == reasons
    poison.succeeded(parts, world.images[0])
    for _ in range(2):
        poison.failed(parts, _Server(well=True), _image(parts, world), DAMAGED)
    assert _image(parts, world).open

    poison.failed(parts, _Server(well=True), _image(parts, world), InvalidRequestError("no pixels"))

    image = _image(parts, world)
    assert (image.open, image.skipped_reason, image.skipped_by) == (False, "unreadable: no pixels", "system")


def test_what_a_bundle_cannot_read_twice_is_skipped_if_it_reads_others(parts: Parts, world: World) -> None:
    said = UnreadableError("The image cannot be read or prepared")
    for _ in range(3):
        poison.unprepared(parts, _image(parts, world), said, reads_others=False)
        assert _image(parts, world).open
    poison.succeeded(parts, world.images[0])

    poison.unprepared(parts, _image(parts, world), said, reads_others=True)
    assert _image(parts, world).open
    poison.unprepared(parts, _image(parts, world), said, reads_others=True)

    assert _image(parts, world).skipped_reason == f"unreadable: {said}"


def test_what_is_no_volume_is_skipped_at_once(parts: Parts, world: World) -> None:
    poison.failed(parts, _Server(well=True), _image(parts, world), NoVolumeError("localizer", "it plans"))

    assert _image(parts, world).skipped_reason == "localizer: it plans"


def test_a_store_that_gives_no_other_image_either_is_degraded_and_keeps_its_images(parts: Parts, world: World) -> None:
    for _ in range(poison.TRIES + 1):
        poison.failed(parts, _Server(well=False), _image(parts, world), DAMAGED)

    assert _image(parts, world).open
    with parts.catalog.read() as session:
        row = session.get_one(DatasetRow, world.dataset)
        assert (row.state, row.state_reason) == ("degraded", str(DAMAGED))
