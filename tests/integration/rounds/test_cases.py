"""Two experiments learn from the same labels, each in its own words."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from configs.errors import ConflictError
from configs.specs.round import RoundSpec
from configs.states import JobStatus
from configs.wire.host import Case
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment, ExperimentDataset, Job, Organisation
from infra.adapters.catalog.tables.base import new_id
from infra.services.callers import Caller, Role
from infra.services.learning import reruns
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tasks.images.volume import read_volume
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.rounds.jobs.start import start_train
from tasks.rounds.steps.gather import gather
from tasks.rounds.steps.work import Work, cases_of, claim, open_work, read_snapshot
from tests.builders import BUNDLE, ORG

SHAPE = (6, 5, 4)
OURS = {"1": "liver", "2": "spleen"}
THEIRS = {"1": "kidney", "2": "Spleen", "3": "liver"}


@pytest.fixture
def dataset(parts: Parts, tmp_path: Path) -> str:
    """Two images on which nothing is drawn yet."""
    for patient in ("p1", "p2"):
        (tmp_path / "images" / patient).mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), np.eye(4)), tmp_path / f"images/{patient}/ct.nii.gz")
    metadata = parts.settings.home / "bundles" / BUNDLE / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("{}")
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.flush()
        session.add(Bundle(id=BUNDLE, name="b", version="1", tier="A", labels=OURS, check={}))
        row = Dataset(id=new_id(), org=ORG, name="ct", spec={"kind": "folder", "url": str(tmp_path / "images")})
        session.add(row)
    sync_dataset(parts, row.id)
    return row.id


def experiment(parts: Parts, dataset: str, labels: dict[str, str]) -> str:
    row = Experiment(id=new_id(), org=ORG, name="e", arch="a", bundle_id=BUNDLE, labels=labels, lineage=new_id())
    with parts.catalog.write() as session:
        session.add(row)
        session.flush()
        session.add(ExperimentDataset(experiment_id=row.id, use="train", dataset_id=dataset))
    return row.id


def cases(parts: Parts, experiment_id: str) -> dict[str, Case]:
    """What a training of the experiment would be given, by the names that each case speaks about."""
    with parts.catalog.write() as session:
        job = start_train(session, session.get_one(Experiment, experiment_id), RoundSpec(), actor="test")
        job_id = job.id
    held = claim(parts, job_id, 1)
    assert held is not None
    work, snapshot = open_work(parts, held), read_snapshot(parts, gather(parts, held))
    with parts.cache.pin() as pin:
        found = cases_of(parts, work, snapshot.rows, pin)
        again = cases_of(parts, work, snapshot.rows, pin)
    assert again == found
    return {",".join(case.annotated or ()): case for case in found}


def draw(tmp_path: Path, *values: int) -> Path:
    array = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        array[index, 0, 0] = value
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "drawn.nii.gz")
    return tmp_path / "drawn.nii.gz"


def values(case: Case) -> list[int]:
    assert case.label is not None
    return [int(value) for value in read_volume(Path(case.label)).array[:3, 0, 0]]


def test_each_experiment_reads_the_labels_by_name_in_its_own_indices(
    parts: Parts, dataset: str, tmp_path: Path
) -> None:
    ours = experiment(parts, dataset, OURS)
    save_label(parts, dataset, "p1/ct", draw(tmp_path, 1, 2), LabelParams(), "ann")
    spleen = LabelParams(names={9: "spleen"})
    save_label(parts, dataset, "p2/ct", draw(tmp_path, 9), spleen, "ann")
    theirs = experiment(parts, dataset, THEIRS)

    mine, others = cases(parts, ours), cases(parts, theirs)

    assert {names: values(case) for names, case in mine.items()} == {"liver,spleen": [1, 2, 0], "spleen": [2, 0, 0]}
    assert {names: values(case) for names, case in others.items()} == {"Spleen,liver": [3, 2, 0], "Spleen": [2, 0, 0]}


def test_a_label_that_speaks_about_nothing_that_the_experiment_learns_is_left_out(
    parts: Parts, dataset: str, tmp_path: Path
) -> None:
    ours = experiment(parts, dataset, OURS)
    save_label(parts, dataset, "p1/ct", draw(tmp_path, 1), LabelParams(), "ann")
    save_label(parts, dataset, "p2/ct", draw(tmp_path, 1), LabelParams(names={1: "gallbladder"}), "ann")

    assert list(cases(parts, ours)) == ["liver,spleen"]


def test_a_training_reads_what_three_people_s_masks_were_joined_to(parts: Parts, dataset: str, tmp_path: Path) -> None:
    with parts.catalog.write() as session:
        row = session.get_one(Dataset, dataset)
        row.spec = {**row.spec, "annotators_per_image": 3, "resolve": "staple"}
    ours = experiment(parts, dataset, OURS)
    for person, drawn in (("anna", (1, 2, 0)), ("ben", (1, 2, 0)), ("carl", (0, 2, 2))):
        save_label(parts, dataset, "p1/ct", draw(tmp_path, *drawn), LabelParams(), person)

    assert {names: values(case) for names, case in cases(parts, ours).items()} == {"liver,spleen": [1, 2, 0]}


def test_a_round_is_trained_again_on_its_snapshot_and_uses_up_no_label(
    parts: Parts, dataset: str, tmp_path: Path
) -> None:
    save_label(parts, dataset, "p1/ct", draw(tmp_path, 1), LabelParams(), "ann")
    made = experiment(parts, dataset, OURS)
    with parts.catalog.write() as session:
        first = start_train(session, session.get_one(Experiment, made), RoundSpec(), actor="test").id
    held = claim(parts, first, 1)
    assert held is not None
    sha256 = gather(parts, held)
    with parts.catalog.write() as session:
        session.get_one(Job, first).status = JobStatus.DONE
    save_label(parts, dataset, "p2/ct", draw(tmp_path, 2), LabelParams(), "ann")

    engineer = Caller(org=ORG, subject="eve", name="Eve", role=Role.ENGINEER)
    again = claim(parts, reruns.rerun(parts, engineer, first), 1)

    assert again is not None
    assert gather(parts, again) == sha256
    work = open_work(parts, again)
    assert (work.spec.publish, work.spec.train) == ("none", RoundSpec().train)
    with parts.catalog.read() as session:
        assert session.get_one(Job, again.job_id).to_seq is None
    assert reruns.compare(parts, engineer, again.job_id).same_weights is None
    _refused_once_an_image_changed(parts, dataset, sha256, work, tmp_path)


def _refused_once_an_image_changed(parts: Parts, dataset: str, sha256: str, work: Work, tmp_path: Path) -> None:
    (row,) = read_snapshot(parts, sha256).rows
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.float32), np.eye(4)), tmp_path / "images/p1/ct.nii.gz")

    def cases_again() -> None:
        with parts.cache.pin() as pin:
            cases_of(parts, work, [row], pin)

    cases_again()  # this host still has the bytes of the snapshot
    sync_dataset(parts, dataset)
    with pytest.raises(ConflictError, match=f"Image {row.image} is no longer"):
        cases_again()
