"""A folder whose images are several files: made through the API, handed out, labelled, or refused with the reason."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from infra.adapters.catalog.tables import Image
from infra.wiring import Parts
from tests.integration.api.conftest import Api

SHAPE = (6, 5, 4)
CHANNELS = [{"name": "t1", "suffix": "_0000"}, {"name": "flair", "suffix": "_0001"}]


@pytest.fixture
def tumours(tmp_path: Path) -> Path:
    """Two cases; the second lacks a file."""
    root = tmp_path / "tumours"
    root.mkdir()
    for name in ("a_0000", "a_0001", "b_0000"):
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), np.eye(4)), root / f"{name}.nii.gz")
    return root


def test_several_files_are_handed_out_and_labelled_as_one_image(
    engineer: Api, annotator: Api, tumours: Path, parts: Parts, tmp_path: Path
) -> None:
    made = engineer.made("/datasets", name="tumours", client_url=str(tumours), channels=CHANNELS)

    assert [(one["name"], one["suffix"]) for one in made["channels"]] == [("t1", "_0000"), ("flair", "_0001")]
    with parts.catalog.read() as session:
        assert {image.key: image.skipped_reason for image in session.scalars(select(Image))} == {
            "a": "",
            "b": "missing: no file of channel flair",
        }
    assert annotator.made(f"/datasets/{made['id']}/jobs", action="nextimage")["image"] == "a"
    at = f"/label/{made['id']}/datastore"
    shown = annotator.at("GET", f"{at}/image", params={"image": "a"})
    (tmp_path / "shown.nii").write_bytes(shown.content)
    assert nib.load(tmp_path / "shown.nii").shape == SHAPE
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)), tmp_path / "mine.nii.gz")
    content = (tmp_path / "mine.nii.gz").read_bytes()
    saved = annotator.at("PUT", f"{at}/label", params={"image": "a"}, files={"label": ("mine.nii.gz", content)})
    assert saved.status_code == 200, saved.text
    assert [path.parent.name for path in (tumours / "teachback/labels").rglob("*.nii.gz")] == ["a"]


def test_files_on_different_grids_are_refused_by_name(engineer: Api, tumours: Path, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 3), np.float32), np.eye(4)), tumours / "a_0001.nii.gz")
    made = engineer.made("/datasets", name="tumours", client_url=str(tumours), channels=CHANNELS)
    shown = engineer.at("GET", f"/label/{made['id']}/datastore/image", params={"image": "a"})
    assert shown.status_code == 400
    assert "File 2 of the image's 2 lies on another grid (6 x 5 x 3 voxels" in shown.text
    assert str(tmp_path) not in shown.text


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([{"name": "t1", "SeriesDescription": "*T1*"}], "suffix"),
        ([{"name": "t1", "suffix": "_1"}, {"name": "t2", "suffix": "_1"}], "make them longer"),
        ([{"name": "", "suffix": "_1"}], "name"),
        ([{"name": "t1", "sufix": "_1"}], "sufix"),
    ],
)
def test_channels_that_mean_nothing_make_no_data_set(
    engineer: Api, tumours: Path, channels: list[dict[str, str]], said: str
) -> None:
    reply = engineer.call("POST", "/datasets", json={"client_url": str(tumours), "channels": channels})
    assert reply.status_code in {400, 422}
    assert said in reply.text
    assert engineer.call("GET", "/datasets").json() == []
