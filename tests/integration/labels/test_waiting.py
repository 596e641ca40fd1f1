"""A save while the image store is down: kept, answered, and checked, counted and written when it is back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Dataset, Image, LabelEvent, Outbox
from tasks.delivery.dispatch import LABELS, deliver_due
from tasks.images.stores import store_of
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.write import series_uid
from tasks.labels.incoming.imports import import_labels
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.labels.leave import hide
from tasks.rounds.count import notify
from tests.integration.labels.conftest import Clinic, label_file, marks
from tests.processes import free_port

ROOT = Path(__file__).parents[3]
_DELIVER = """
import sys
from pathlib import Path
from configs.settings import Settings
from infra.wiring import open_parts
from tasks.delivery.dispatch import LABELS, deliver_due
from tasks.labels.incoming.upload import store_is_back
parts = open_parts(Settings(home=Path(sys.argv[1]), catalog_url=sys.argv[2], testing=True, failpoint="label-stored"))
store_is_back(parts)
deliver_due(parts, LABELS)
"""


def _deliver(clinic: Clinic) -> int:
    with clinic.parts.catalog.write() as session:
        outbox.hasten(session, [OutboxKind.STORE_LABEL])
    return deliver_due(clinic.parts, LABELS)


def _point_to(clinic: Clinic, url: str) -> None:
    with clinic.parts.catalog.write() as session:
        row = session.get_one(Dataset, clinic.dataset)
        row.spec = {**row.spec, "url": url}


def _url(clinic: Clinic) -> str:
    with clinic.parts.catalog.read() as session:
        return DatasetSpec.model_validate(session.get_one(Dataset, clinic.dataset).spec).url


def _events(clinic: Clinic) -> list[str]:
    with clinic.parts.catalog.read() as session:
        return list(session.scalars(select(LabelEvent.kind).order_by(LabelEvent.seq)))


def _keep(clinic: Clinic, source: Path) -> tuple[str, str]:
    """Save while the folder is away, and bring it back; return the label's catalog id and its id as answered."""
    root = Path(_url(clinic))
    away = root.with_name("away")
    root.rename(away)
    saved = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), "ann")
    assert (saved.pending_upload, saved.counted) == (True, False)
    assert deliver_due(clinic.parts, LABELS) == 0
    away.rename(root)
    return saved.label_id, saved.label


def test_a_save_while_the_folder_is_away_is_counted_and_written_when_it_is_back(folder: Clinic, tmp_path: Path) -> None:
    label_id, answered = _keep(folder, label_file(tmp_path / "a.nii.gz"))
    again = save_label(folder.parts, folder.dataset, folder.image, tmp_path / "a.nii.gz", LabelParams(), "ann")
    assert again.label_id == label_id

    assert _deliver(folder) == 1

    [row] = folder.rows()
    assert (row.state, row.place, row.upload_pending) == (LabelState.ACTIVE, "store", False)
    assert _events(folder) == ["added"]
    [stored] = store_of(folder.parts, folder.dataset).labels()
    assert (stored.key, stored.fingerprint) == (row.store_key, row.fingerprint)
    [notice] = check_notices(folder.parts, folder.dataset, [Notice(kind="added", image=folder.image, label=answered)])
    with folder.parts.catalog.write() as session:
        assert notify(session, folder.dataset, [notice], "ann") == 0
    assert import_labels(folder.parts, folder.dataset) == 0


def test_until_then_its_image_is_given_to_nobody_else(folder: Clinic, tmp_path: Path) -> None:
    root = Path(_url(folder))
    root.rename(root.with_name("away"))
    save_label(folder.parts, folder.dataset, folder.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann")

    [row] = folder.rows()
    assert row.state == LabelState.PENDING_UPLOAD
    with folder.parts.catalog.read() as session:
        assert not session.scalars(select(Image)).one().open


def test_a_label_that_turns_out_not_to_fit_goes_into_quarantine(folder: Clinic, tmp_path: Path) -> None:
    write_nifti(Volume(marks(), np.eye(4)), tmp_path / "a.nii")
    _keep(folder, tmp_path / "a.nii")

    _deliver(folder)

    [row] = folder.rows()
    assert (row.state, row.upload_pending) == (LabelState.QUARANTINED, False)
    assert "does not lie on the image's" in str(row.warnings)
    assert list(store_of(folder.parts, folder.dataset).labels()) == []
    with folder.parts.catalog.read() as session:
        assert session.scalars(select(Image)).one().open


def test_bytes_that_nobody_can_read_are_refused_while_the_store_is_down_too(folder: Clinic, tmp_path: Path) -> None:
    root = Path(_url(folder))
    root.rename(root.with_name("away"))
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8bnonsense")

    with pytest.raises(InvalidRequestError):
        save_label(folder.parts, folder.dataset, folder.image, tmp_path / "a.nii.gz", LabelParams(), "ann")


def test_a_label_that_was_deleted_while_it_waited_is_not_written(folder: Clinic, tmp_path: Path) -> None:
    label_id, _ = _keep(folder, label_file(tmp_path / "a.nii.gz"))
    with folder.parts.catalog.write() as session:
        hide(session, label_id, "ann")

    assert _deliver(folder) == 1
    assert list(store_of(folder.parts, folder.dataset).labels()) == []


def test_a_label_counts_at_once_where_its_image_can_be_read_though_its_place_cannot_be_written(
    folder: Clinic, tmp_path: Path
) -> None:
    in_the_way = Path(_url(folder)) / "teachback"
    in_the_way.write_text("")

    kept = save_label(folder.parts, folder.dataset, folder.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "a")
    again = save_label(folder.parts, folder.dataset, folder.image, tmp_path / "a.nii.gz", LabelParams(), "a")

    assert (kept.pending_upload, kept.counted, again.counted) == (True, True, False)
    assert "does not answer now" in " ".join(kept.warnings)
    assert _deliver(folder) == 0
    in_the_way.unlink()
    assert _deliver(folder) == 1
    [row] = folder.rows()
    assert (row.place, row.upload_pending, row.seq) == ("store", False, 1)
    assert [label.key for label in store_of(folder.parts, folder.dataset).labels()] == [row.store_key]


def test_a_process_that_dies_between_the_pacs_and_its_row_leaves_one_series_and_one_count(
    pacs: Clinic, tmp_path: Path
) -> None:
    url, dead = _url(pacs), f"http://127.0.0.1:{free_port()}/dicom-web"
    _point_to(pacs, dead)
    kept = save_label(pacs.parts, pacs.dataset, pacs.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann")
    _point_to(pacs, url)
    settings = pacs.parts.settings
    words = [sys.executable, "-c", _DELIVER, str(settings.home), settings.catalog_url]
    died = subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL

    key = series_uid(kept.label_id)
    [notice] = check_notices(pacs.parts, pacs.dataset, [Notice(kind="added", image=pacs.image, label=key)])
    with pacs.parts.catalog.write() as session:
        assert notify(session, pacs.dataset, [notice], "the PACS") == 0
    with pacs.parts.catalog.write() as session:
        session.execute(update(Outbox).values(claimed_until=None))
    _deliver(pacs)

    [row] = pacs.rows()
    assert (row.store_key, row.upload_pending, row.state) == (key, False, LabelState.ACTIVE)
    assert [label.key for label in store_of(pacs.parts, pacs.dataset).labels()] == [key]
    assert _events(pacs) == ["added"]
