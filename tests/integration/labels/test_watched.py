"""What others put into an image store is known by itself, once, and counts where the data set says so."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid
from sqlalchemy import select, update

from configs.errors import UnfinishedError
from configs.specs.dataset import DatasetSpec
from configs.states import JobStatus, LabelState
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Job
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.images.folder import FolderStore
from tasks.images.health import DEGRADED, READY
from tasks.images.stores import store_of
from tasks.images.volume import Volume, write_nifti
from tasks.labels.incoming.catch_up import catch_up
from tasks.labels.incoming.imports import import_labels, look_anew
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.reconcile.watch import Watches
from tasks.rounds.count import notify
from tests.dicom_series import asymmetric, make_series
from tests.fixtures_orthanc import Orthanc
from tests.integration.labels.conftest import IMAGE, Clinic, label_file, label_seg


def _watching(clinic: Clinic, *, counts: bool) -> Watches:
    """Start a loop on the data set, and watch it after it was listed once."""
    with clinic.parts.catalog.write() as session:
        row = session.get_one(Dataset, clinic.dataset)
        row.spec = DatasetSpec.model_validate({**row.spec, "watch": counts}).model_dump(mode="json")
        experiment = session.scalars(select(Experiment)).one()
        spec = {"round_size": 5}
        loop = Job(
            id=new_id(), org="clinic", experiment_id=experiment.id, dataset_id=clinic.dataset, action="annotation"
        )
        loop.status, loop.round_size, loop.spec, loop.name = JobStatus.RUNNING, 5, spec, "loop"
        session.add(loop)
    catch_up(clinic.parts, clinic.dataset)
    watches = Watches()
    assert watches.check(clinic.parts) == 1  # the first look is at everything
    return watches


def _look(clinic: Clinic, watches: Watches) -> int:
    """Look now, however soon that is after the last time."""
    for watched in watches._watched.values():
        watched.ask_at, watched.list_at = 0.0, ()
    return watches.check(clinic.parts)


def _pending(clinic: Clinic) -> int:
    with clinic.parts.catalog.read() as session:
        return session.scalars(select(Job.pending)).one()


def _theirs(clinic: Clinic, path: Path) -> FileDataset:
    """Return a SEG that somebody else's program wrote for the clinic's image."""
    seg = pydicom.dcmread(label_seg(clinic, path))
    seg.Manufacturer, seg.SeriesDescription, seg.ContentCreatorName = "Slicer", "mine", "Doe^Jane"
    seg.SeriesInstanceUID, seg.SOPInstanceUID = generate_uid(), generate_uid()
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    return seg


@pytest.mark.parametrize("counts", [True, False])
def test_a_seg_that_somebody_stores_counts_once_where_the_data_set_is_watched(
    pacs: Clinic, orthanc: Orthanc, tmp_path: Path, *, counts: bool
) -> None:
    watches = _watching(pacs, counts=counts)
    seg = _theirs(pacs, tmp_path / "theirs.dcm")
    assert _look(pacs, watches) == 0

    orthanc.upload([seg])

    assert [_look(pacs, watches), _look(pacs, watches)] == [1, 0]
    [row] = pacs.rows()
    assert (row.store_key, row.state, row.imported) == (seg.SeriesInstanceUID, LabelState.ACTIVE, not counts)
    assert row.author_name == "Doe Jane"
    assert _pending(pacs) == counts
    said = [Notice(kind="added", image=pacs.image, label=seg.SeriesInstanceUID)]
    for _ in range(2):
        checked = check_notices(pacs.parts, pacs.dataset, said)
        with pacs.parts.catalog.write() as session:
            notify(session, pacs.dataset, checked, "ann")
    [row] = pacs.rows()
    assert (row.imported, _pending(pacs)) == (False, 1)
    assert row.author == ("Doe Jane" if counts else "ann")


def test_a_seg_that_was_there_at_first_never_counts(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    seg = _theirs(pacs, tmp_path / "theirs.dcm")
    orthanc.upload([seg])
    watches = _watching(pacs, counts=True)

    checked = check_notices(
        pacs.parts, pacs.dataset, [Notice(kind="added", image=pacs.image, label=seg.SeriesInstanceUID)]
    )
    with pacs.parts.catalog.write() as session:
        assert notify(session, pacs.dataset, checked, "ann") == 0

    assert _look(pacs, watches) == 0
    [row] = pacs.rows()
    assert (row.imported, _pending(pacs)) == (True, 0)


def test_a_series_that_came_to_the_pacs_is_an_image_and_one_that_went_is_closed(pacs: Clinic, orthanc: Orthanc) -> None:
    watches = _watching(pacs, counts=False)
    new = make_series(asymmetric(), IMAGE.affine, patient=pacs.series[0].PatientID)

    orthanc.upload(new)
    assert _look(pacs, watches) == 1
    orthanc.remove(orthanc.lookup(pacs.series[0].SeriesInstanceUID))
    assert [_look(pacs, watches), _look(pacs, watches)] == [1, 0]

    with pacs.parts.catalog.read() as session:
        assert dict(session.execute(select(Image.key, Image.open)).tuples().all()) == {
            pacs.image: False,
            new[0].SeriesInstanceUID: True,
        }


def test_files_that_came_to_a_folder_are_known_and_a_store_that_fails_is_left_to_be_probed(
    folder: Clinic, tmp_path: Path
) -> None:
    watches = _watching(folder, counts=True)
    root = tmp_path / "images"

    for number in range(300):
        (root / f"q{number % 30}").mkdir(exist_ok=True)
        (root / f"q{number % 30}" / f"{number}.nii").touch()
    (root / "labels" / "final" / "p").mkdir(parents=True)
    label_file(root / "labels" / "final" / "p" / "ct.nii.gz")

    assert [_look(folder, watches), _look(folder, watches)] == [1, 0]
    with folder.parts.catalog.read() as session:
        assert len(session.scalars(select(Image.id)).all()) == 301
    assert ([row.imported for row in folder.rows()], _pending(folder)) == ([False], 1)
    root.rename(tmp_path / "away")
    assert _look(folder, watches) == 0
    with folder.parts.catalog.write() as session:
        assert session.get_one(Dataset, folder.dataset).state == DEGRADED
        session.execute(update(Dataset).values(state=READY))
    (tmp_path / "away").rename(root)
    assert _look(folder, watches) == 1


def test_a_second_series_in_a_folder_leaves_the_first_its_id(folder: Clinic, tmp_path: Path) -> None:
    root = tmp_path / "images" / "q"
    root.mkdir()
    first, second = (make_series(asymmetric(), IMAGE.affine) for _ in range(2))
    watches = _watching(folder, counts=True)

    for series in (first, second):
        for number, instance in enumerate(series):
            instance.save_as(root / f"{series[0].SeriesInstanceUID}.{number}", enforce_file_format=True)
        assert _look(folder, watches) == 1

    with folder.parts.catalog.read() as session:
        rows = session.scalars(select(Image).where(Image.open, Image.key != folder.image)).all()
        found = {row.key: row.meta["SeriesInstanceUID"] for row in rows}
    uids = [series[0].SeriesInstanceUID for series in (first, second)]
    assert found == {"q": uids[0], f"q/{uids[1]}": uids[1]}
    store = store_of(folder.parts, folder.dataset)
    assert {header.SeriesInstanceUID for header in store.headers("q") or []} == {uids[0]}


def test_one_data_set_that_cannot_be_looked_at_keeps_no_other_from_it(folder: Clinic) -> None:
    watches = _watching(folder, counts=True)
    with folder.parts.catalog.write() as session:
        row = session.get_one(Dataset, folder.dataset)
        session.add(Dataset(id="0", org=row.org, name="0", spec={"kind": "unheard of"}, synced_at=row.synced_at))
    for watched in watches._watched.values():
        watched.ask_at, watched.list_at = 0.0, (0.0,)
    label_file(_label(Path(row.spec["url"])))

    assert watches.check(folder.parts) == 1
    assert len(folder.rows()) == 1


def _import(clinic: Clinic, which: str) -> None:
    with clinic.parts.catalog.write() as session:
        row = session.get_one(Dataset, clinic.dataset)
        row.spec = {**row.spec, "import_labels": which}
        look_anew(session, clinic.dataset)


def _label(root: Path) -> Path:
    path = root / "labels" / "final" / "p" / "ct.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class _Writing(FolderStore):
    """A folder in which somebody is writing a label whenever one is read."""

    def fetch_label(self, key: str, into: Path) -> Path:
        raise UnfinishedError(f"{len(str(into / key))} letters changed")


def test_a_label_waits_while_it_or_its_image_is_being_copied_in(folder: Clinic, tmp_path: Path) -> None:
    root = tmp_path / "images"
    label_file(_label(root))
    assert catch_up(folder.parts, folder.dataset, store=_Writing(root)).complete
    write_nifti(Volume(asymmetric() + 1, IMAGE.affine), root / "p" / "ct.nii.gz")
    assert import_labels(folder.parts, folder.dataset) == 0
    assert folder.rows() == []

    catch_up(folder.parts, folder.dataset)

    assert len(folder.rows()) == 1
    with folder.parts.catalog.read() as session:
        assert session.get_one(Dataset, folder.dataset).state == READY


def test_a_label_older_than_the_first_listing_never_counts_whenever_it_comes_in(folder: Clinic, tmp_path: Path) -> None:
    path = label_file(_label(tmp_path / "images"))
    _import(folder, "none")
    _watching(folder, counts=True)
    _import(folder, "all")
    catch_up(folder.parts, folder.dataset)
    assert [(row.imported, row.state) for row in folder.rows()] == [(True, LabelState.ACTIVE)]

    content = path.read_bytes()
    path.unlink()
    catch_up(folder.parts, folder.dataset)
    path.write_bytes(content)
    catch_up(folder.parts, folder.dataset)

    assert [(row.imported, row.state) for row in folder.rows()] == [(True, LabelState.ACTIVE)]
    assert _pending(folder) == 0
