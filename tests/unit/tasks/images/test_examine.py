"""New series are looked at by their headers; what these leave out is not held against an image."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from configs.errors import DamagedImageError
from infra.adapters.images.base import StoredImage
from infra.adapters.images.folder import FolderStore
from tasks.images.examine import Examined, examine
from tests.dicom_series import asymmetric, make_series, oblique_affine


class _Told(FolderStore):
    """A store that tells these headers of every image."""

    def __init__(self, headers: Sequence[Dataset] | None) -> None:
        self._headers = headers
        self.on_gap = "refuse"

    def headers(self, key: str) -> list[Dataset] | None:
        if self._headers is None:
            raise DamagedImageError(f"nothing of {len(key)} letters")
        return list(self._headers)


def _examined(headers: Sequence[Dataset] | None, *, skipped: str = "") -> Examined:
    image = StoredImage(key="1.2", patient=None, study=None, name="", meta={}, fingerprint="f", skipped=skipped)
    return examine(_Told(headers), [image])["1.2"]


def test_a_localizer_is_told_and_a_volume_is_not() -> None:
    series = make_series(asymmetric(), oblique_affine())
    assert _examined(series) == Examined()
    for instance in series:
        instance.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert _examined(series).skipped.startswith("localizer: ")


def test_a_server_that_leaves_out_what_a_ct_must_have_makes_no_image_skipped() -> None:
    series = make_series(asymmetric(), oblique_affine())
    for instance in series:
        del instance.PixelSpacing
    assert _examined(series) == Examined()
    for instance in series:
        instance.Modality = "CR"
    assert _examined(series).skipped.startswith("no position: ")


def test_what_the_server_cannot_tell_of_one_image_is_left_to_its_reading() -> None:
    assert _examined(None) == Examined()


def test_what_the_listing_tells_costs_no_request() -> None:
    assert _examined(None, skipped="no image: it is SR") == Examined(skipped="no image: it is SR")
