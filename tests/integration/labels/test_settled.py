"""A label's copy in its data set's folder is there with the answer; that it outlives a power cut is seen to after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from configs.states import LabelState
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import LabelEvent, Outbox
from tasks.delivery.dispatch import LABELS, deliver_due
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.imports import import_labels
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.labels.leave import hide
from tests.integration.labels.conftest import Clinic, label_file

ROOT = Path(__file__).parents[3]
_SAVE = """
import sys
from pathlib import Path
from configs.settings import Settings
from infra.wiring import open_parts
from tasks.labels.leave import hide
from tasks.labels.incoming.save import LabelParams, save_label
home, url, dataset, image, file = sys.argv[1:]
parts = open_parts(Settings(home=Path(home), catalog_url=url, testing=True, failpoint="label-committed"))
save_label(parts, dataset, image, Path(file), LabelParams(), "ann")
"""


@pytest.mark.parametrize("left", ["all", "half", "nothing of", "no name for"])
def test_a_power_cut_after_the_commit_costs_no_label_and_leaves_no_half_copy(
    left: str, folder: Clinic, tmp_path: Path
) -> None:
    source = label_file(tmp_path / "a.nii.gz")
    settings = folder.parts.settings
    words = [str(settings.home), settings.catalog_url, folder.dataset, folder.image, str(source)]
    died = subprocess.run(
        [sys.executable, "-c", _SAVE, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=120,
    )
    assert died.returncode == -signal.SIGKILL
    [row] = folder.rows()
    copy = tmp_path / "images" / row.store_key
    content = source.read_bytes()
    assert [path.read_bytes() for path in copy.parent.iterdir()] == [content]  # whole for whoever comes after the kill
    if left == "no name for":
        copy.unlink()
    elif left != "all":
        os.truncate(copy, len(content) // 2 if left == "half" else 0)

    sync_dataset(folder.parts, folder.dataset)
    import_labels(folder.parts, folder.dataset)
    assert deliver_due(folder.parts, LABELS) == 1

    assert copy.read_bytes() == content
    [row] = folder.rows()
    assert (row.state, row.place, row.upload_pending) == (LabelState.ACTIVE, "store", False)
    with folder.parts.catalog.read() as session:
        assert session.scalars(select(LabelEvent.kind)).all() == ["added"]
    assert deliver_due(folder.parts, LABELS) == 0


def test_a_save_that_is_repeated_asks_for_its_copy_once(folder: Clinic, tmp_path: Path) -> None:
    source = label_file(tmp_path / "a.nii.gz")

    for _ in range(2):
        save_label(folder.parts, folder.dataset, folder.image, source, LabelParams(), "ann")

    with folder.parts.catalog.read() as session:
        assert session.scalars(select(Outbox.kind)).all() == [OutboxKind.STORE_LABEL]


def test_what_somebody_made_of_the_copy_meanwhile_stays_and_is_asked_for_no_more(
    folder: Clinic, tmp_path: Path
) -> None:
    saved = save_label(
        folder.parts, folder.dataset, folder.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann"
    )
    copy = tmp_path / "images" / saved.label
    copy.write_bytes(b"theirs")

    assert deliver_due(folder.parts, LABELS) == 1

    assert copy.read_bytes() == b"theirs"
    with folder.parts.catalog.read() as session:
        assert not outbox.undelivered(session, OutboxKind.STORE_LABEL, saved.label_id)


def test_a_label_that_was_deleted_before_leaves_its_folder_as_it_is(folder: Clinic, tmp_path: Path) -> None:
    saved = save_label(
        folder.parts, folder.dataset, folder.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann"
    )
    (tmp_path / "images" / saved.label).unlink()
    with folder.parts.catalog.write() as session:
        hide(session, saved.label_id, "ann")

    assert deliver_due(folder.parts, LABELS) == 1
    assert not (tmp_path / "images" / saved.label).exists()
