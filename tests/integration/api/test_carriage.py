"""`teachback datasets import-labels` and `export`, `labels agreement`: against the application over a real port."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from infra.doors.cli import datasets, labels
from infra.services.callers import Role
from tests.dicom_series import asymmetric, make_rtstruct, make_series, oblique_affine
from tests.integration.api.conftest import Api, make_experiment, write_label

PATH = "/api/teachback/v1"


def _say(app: Typer, address: str, person: Api, *words: str) -> tuple[str, int]:
    result = CliRunner().invoke(app, [*words, "--url", address, "--key", person.secret])
    # What leaves a command, the `teachback` around it says in one line.
    said = f"{result.output} {result.exception or ''}" if result.exit_code else result.output
    return " ".join(said.split()), result.exit_code


def test_labels_of_another_program_come_in_by_their_names_and_never_count(
    address: str, people_of: dict[Role, Api], experiment: str, tmp_path: Path
) -> None:
    engineer, annotator = people_of[Role.ENGINEER], people_of[Role.ANNOTATOR]
    loop = engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 10})
    theirs = tmp_path / "theirs"
    for name in ("p1/a.nii.gz", "final/p1/b.nii.gz", "labels/final/p2/a.nii.gz", "nobody/z.nii.gz", "p2/._b.nii.gz"):
        write_label(theirs / name)
    (theirs / "p3").mkdir()
    (theirs / "p3" / "a.json").write_text("no label")
    write_label(theirs.joinpath(*["x" * 250] * 5, "a.nii.gz"))  # a name that is too long for the form: 422

    said, status = _say(datasets.app, address, engineer, "import-labels", "set", str(theirs))

    assert status == 1
    assert "3 imported, 3 refused" in said
    assert _say(datasets.app, address, engineer, "import-labels", "set", str(theirs))[0] == said
    rows = engineer.at("GET", f"{PATH}/datasets/set/labels").json()["labels"]
    assert sorted((row["image"], row["imported"], row["state"]) for row in rows) == [
        ("p1/a", True, "active"), ("p1/b", True, "active"), ("p2/a", True, "active")
    ]  # fmt: skip
    loops = engineer.at("GET", f"{PATH}/status").json()["loops"]
    assert [(one["job_id"], one["pending"]) for one in loops] == [(loop, 0)]
    one = write_label(tmp_path / "elsewhere.nii.gz")
    assert _say(datasets.app, address, engineer, "import-labels", "set", str(one), "--image", "p4/a")[1] == 0
    ambiguous = _say(datasets.app, address, engineer, "import-labels", "set", str(write_label(tmp_path / "a.nii.gz")))
    assert "may speak about several images" in ambiguous[0]
    assert _say(datasets.app, address, annotator, "import-labels", "set", str(one), "--image", "p4/a")[1] == 1


def test_what_trains_is_exported_with_side_and_provenance(
    address: str, people_of: dict[Role, Api], dataset: str, tmp_path: Path
) -> None:
    engineer, annotator = people_of[Role.ENGINEER], people_of[Role.ANNOTATOR]
    make_experiment(engineer, dataset)
    for image in ("p1/a", "p2/a"):
        content = write_label(tmp_path / "l.nii", 2).read_bytes()
        annotator.at("PUT", f"/label/set/datastore/label?image={image}", files={"label": ("l.nii", content)})
    out = tmp_path / "out"

    said, status = _say(datasets.app, address, engineer, "export", "set", str(out), "--format", "nifti")

    assert (status, said) == (0, f"2 labels in {out}")
    listed = json.loads((out / "dataset.json").read_text())
    assert listed["labels"] == {"1": "liver", "2": "spleen"}
    entries = {entry["image"]: entry for entry in [*listed["training"], *listed["validation"]]}
    assert entries.keys() == {"p1/a", "p2/a"}
    assert entries["p1/a"]["provenance"]["imported"] is False
    assert entries["p1/a"]["provenance"]["author_name"]
    array = np.asarray(nib.load(out / entries["p1/a"]["label"]).dataobj)
    assert (array.shape, array.max(), int((array == 2).sum())) == ((6, 7, 8), 2, 27)
    assert "is not empty" in _say(datasets.app, address, engineer, "export", "set", str(out), "--format", "nifti")[0]
    for form, why in (
        ("seg", "p1/a: left out: A SEG"),
        ("coco", "COCO is for pictures"),
        ("manifest", "has a manifest"),
    ):
        refused, status = _say(datasets.app, address, engineer, "export", "set", str(tmp_path / form), "--format", form)
        assert status == 1
        assert why in refused
    assert _say(datasets.app, address, annotator, "export", "set", str(tmp_path / "x"), "--format", "nifti")[1] == 1


def test_a_series_of_a_folder_gets_an_rtstruct_and_gives_a_seg(address: str, engineer: Api, tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "p1"
    folder.mkdir(parents=True)
    series = make_series(asymmetric(), oblique_affine())
    for number, instance in enumerate(series):
        instance.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    engineer.made("/datasets", name="scans", client_url=str(folder.parent))
    affine = oblique_affine()
    corners = np.array([[0.6, 0.6, 1, 1], [4.4, 0.6, 1, 1], [4.4, 3.4, 1, 1], [0.6, 3.4, 1, 1]]) @ affine.T
    structures = make_rtstruct(series[0], {"liver": [corners[:, :3]]})
    for name in ("RS.1.2", "._RS.1.2"):  # among the images, and without an ending, as a PACS exports it
        structures.save_as(folder / name, enforce_file_format=True)
    (folder / "README").write_text("no DICOM")

    said, status = _say(datasets.app, address, engineer, "import-labels", "scans", str(folder))
    exported, _ = _say(datasets.app, address, engineer, "export", "scans", str(tmp_path / "out"), "--format", "seg")

    assert (status, "1 imported, 0 refused" in said) == (0, True), said
    assert "1 labels in" in exported
    seg = pydicom.dcmread(tmp_path / "out" / "labels" / "p1.dcm")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["liver"]
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series[0].SeriesInstanceUID
    assert int(seg.pixel_array.sum()) == 4 * 3


def test_masks_of_pictures_are_exported_as_coco(address: str, engineer: Api, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.JPG", "b.tiff"):
        Image.fromarray(np.zeros((5, 8), np.uint8)).save(folder / name)
    write_label(folder / "c.nii")  # a volume among them
    made = engineer.made("/datasets", name="pictures", client_url=str(folder))
    mask = np.zeros((5, 8), np.uint8)
    mask[1:3, 2:6] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.tif")
    write_label(tmp_path / "masks" / "c.nii")
    make_experiment(engineer, made["id"])

    said, status = _say(datasets.app, address, engineer, "import-labels", "pictures", str(tmp_path / "masks"))
    assert status == 0, said
    # Another program's values: 1 is its spleen, and what nobody learns here gets a number of its own.
    mask[0, 0] = 2
    Image.fromarray(mask).save(tmp_path / "theirs.png")
    names = json.dumps({"label_info": [{"name": "Spleen", "idx": 1}, {"name": "aorta", "idx": 2}]})
    files = {"label": ("theirs.png", (tmp_path / "theirs.png").read_bytes())}
    engineer.at("PUT", "/label/pictures/datastore/label?image=b", files=files, data={"params": names})
    said, status = _say(
        datasets.app, address, engineer, "export", "pictures", str(tmp_path / "out"), "--format", "coco"
    )
    assert (status, "c: left out: COCO is for pictures" in said, "2 labels in" in said) == (1, True, True), said

    sides = [json.loads((tmp_path / "out" / f"{side}.json").read_text()) for side in ("train", "evaluate")]
    images = {image["file_name"]: image for side in sides for image in side["images"]}
    assert {name: (image["width"], image["height"]) for name, image in images.items()} == {
        "a.JPG": (8, 5),
        "b.tiff": (8, 5),
    }
    every = [one for side in sides for one in side["annotations"]]
    assert sorted((one["category_id"], one["area"]) for one in every) == [(1, 8), (2, 8), (3, 1)]
    [found] = [one for one in every if one["category_id"] == 1]
    assert found["bbox"] == [2, 1, 4, 2]
    flat = np.repeat(np.arange(len(found["segmentation"]["counts"])) % 2, found["segmentation"]["counts"])
    np.testing.assert_array_equal(flat.reshape(found["segmentation"]["size"][::-1]).T, mask == 1)
    named = [{"id": 1, "name": "liver"}, {"id": 2, "name": "spleen"}, {"id": 3, "name": "aorta"}]
    assert [side["categories"] for side in sides] == [named, named]

    (folder / "b.tiff").unlink()
    again = tmp_path / "again"
    said, status = _say(datasets.app, address, engineer, "export", "pictures", str(again), "--format", "coco")
    assert (status, "2 labels in" in said) == (1, True), said
    sides = [json.loads((again / f"{side}.json").read_text()) for side in ("train", "evaluate")]
    assert {image["file_name"] for side in sides for image in side["images"]} == {"a.JPG", "b"}


def test_two_people_s_masks_of_one_image_are_compared(
    address: str, people_of: dict[Role, Api], dataset: str, tmp_path: Path
) -> None:
    engineer = people_of[Role.ENGINEER]
    engineer.call("PATCH", f"/datasets/{dataset}", json={"annotators_per_image": 2})
    for value, role in ((1, Role.ANNOTATOR), (1, Role.ADMIN)):
        array = np.zeros((6, 7, 8), np.uint8)
        array[1:4, 1:4, 1 : 4 + (role is Role.ADMIN)] = value
        path = tmp_path / f"{role}.nii"
        original = nib.load(write_label(path)).affine
        nib.save(nib.Nifti1Image(array, original), path)
        people_of[role].at(
            "PUT", "/label/set/datastore/label?image=p1/a", files={"label": ("l.nii", path.read_bytes())}
        )

    [pair] = people_of[Role.REVIEWER].at("GET", f"{PATH}/datasets/set/agreement").json()

    assert pair["image"] == "p1/a"
    assert set(pair["authors"]) == {"the annotator", "the admin"}
    assert pair["names"]["1"]["dice"] == pytest.approx(2 * 27 / (27 + 36))
    assert 0 < pair["names"]["1"]["surface_mm"] < 2
    rows = json.loads(_say(datasets.app, address, engineer, "--json")[0])
    assert [row["label_settings"]["annotators_per_image"] for row in rows] == [2]
    assert "2 per image" in _say(datasets.app, address, engineer)[0]
    said, _ = _say(labels.app, address, people_of[Role.REVIEWER], "agreement", "set", "--image", "p1/a")
    assert "0.857" in said
    assert _say(labels.app, address, people_of[Role.REVIEWER], "agreement", "set", "--image", "x")[0].startswith(
        "No image"
    )
