"""A backup taken while work goes on, put back elsewhere: everything acknowledged is there, or nothing starts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import insert, null, select, text, update

from configs.errors import ConflictError, CorruptError, InvalidRequestError, NotFoundError, StoreError
from configs.settings import Settings
from infra.adapters.artifacts.blobs import Blobs
from infra.adapters.artifacts.depot import Depot
from infra.adapters.catalog.blobs import named
from infra.adapters.catalog.tables import Audit, Base, Image, Label, ModelVersion, VaultValue
from infra.adapters.security.vault import Sealed
from infra.services import people
from infra.services.operating import backups
from infra.services.operating.pages import HOME_ORG
from infra.wiring import RESTORING, Parts, open_parts
from tasks.backup import contents
from tasks.rounds.count import notify
from tests.builders import ORG, notice
from tests.integration.backup.conftest import EVENTS, Clinic, save

ROOT = Path(__file__).resolve().parents[3]
OPERATOR = people.operator(HOME_ORG)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "backups")


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a new home, its catalog on each database in turn."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("second_postgresql_url")
    return Settings(home=tmp_path / "elsewhere", catalog_url=url)


@contextmanager
def restored(place: str, settings: Settings, **asked: Any) -> Iterator[Parts]:
    """Restore, and open what was restored as any process does."""
    putting = open_parts(settings, restoring=True)
    try:
        backups.restore(putting, OPERATOR, place, **asked)
    finally:
        putting.close()
    opened = open_parts(settings)
    yield opened
    opened.close()


def rows(parts: Parts) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; documents as text, so that JSON's null is told from no value. The audit is left out."""
    found = {}
    with parts.catalog.read() as session:
        for table in Base.metadata.sorted_tables:
            if table is not Audit.__table__:
                found[table.name] = sorted(map(tuple, session.execute(select(table)).all()), key=repr)
        found["documents without value"] = [
            tuple(session.scalars(select(Label.id).where(Label.annotated == null()).order_by(Label.id)))
        ]
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_all_that_there_was_is_there_again_on_either_database(
    clinic_anywhere: Clinic, place: str, elsewhere: Settings
) -> None:
    before = rows(clinic_anywhere.parts)
    taken = backups.back_up(clinic_anywhere.parts, OPERATOR, place)
    assert taken.missing == []

    with restored(place, elsewhere) as parts:
        after = rows(parts)
        assert {table: after[table] for table in before} == before
        with parts.catalog.read() as session:
            assert {parts.blobs.read_bytes(sha256) for sha256 in named(session)} == {b"weights", b"first label"}
            value = session.get_one(VaultValue, clinic_anywhere.secret)
            sealed = Sealed(key_id=value.key_id, ciphertext=value.ciphertext)
        assert parts.vault.open(ORG, sealed, clinic_anywhere.secret) == "the PACS's password"
        assert parts.vault.keyed_hash(ORG, "patient") == clinic_anywhere.parts.vault.keyed_hash(ORG, "patient")
        assert people.identify(parts, clinic_anywhere.key).name == "ann"
        bundle = Path("bundles") / clinic_anywhere.bundle
        assert files(elsewhere.home / bundle) == files(clinic_anywhere.parts.settings.home / bundle) != []
        assert (parts.blobs.attempt_folder("0-child", 1) / "events.jsonl").read_bytes() == EVENTS
        assert elsewhere.key_path.stat().st_mode & 0o777 == 0o600

        image = clinic_anywhere.world.images[1]
        assert save(parts, clinic_anywhere.world, image, b"a label after the restore")
        with parts.catalog.write() as session:
            fresh = {"dataset_id": clinic_anywhere.world.dataset, "key": "new", "patient_key": "p", "shuffle": 0.5}
            number = session.scalar(insert(Image).values(fresh).returning(Image.id))
            assert number is not None
            assert number > max(clinic_anywhere.world.images)


def test_a_reference_to_nothing_is_refused_on_a_restored_postgresql(
    clinic: Clinic, place: str, second_postgresql_url: str, tmp_path: Path
) -> None:
    backups.back_up(clinic.parts, OPERATOR, place)
    settings = Settings(home=tmp_path / "elsewhere", catalog_url=second_postgresql_url)
    with restored(place, settings) as parts, parts.catalog.read() as session:
        loose = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND (condeferrable OR NOT convalidated)"
        assert session.scalar(text(loose)) == 0


def test_labels_saved_while_it_runs_are_in_it_whole_or_not_at_all(
    clinic_anywhere: Clinic, place: str, tmp_path: Path
) -> None:
    stop, begun = Event(), Event()

    def annotate(person: int) -> list[str]:
        mine: list[str] = []
        while not stop.is_set():
            mine.append(
                save(
                    clinic_anywhere.parts,
                    clinic_anywhere.world,
                    clinic_anywhere.world.images[person],
                    f"{person}/{len(mine)}".encode(),
                )
            )
            begun.set()
        return mine

    with ThreadPoolExecutor(4) as pool:
        annotators = [pool.submit(annotate, person) for person in range(4)]
        begun.wait(60)
        with clinic_anywhere.parts.catalog.read() as session:
            acknowledged = set(session.scalars(select(Label.blob)))
        taken = backups.back_up(clinic_anywhere.parts, OPERATOR, place)
        stop.set()
        later = {blob for annotator in annotators for blob in annotator.result()}
    assert taken.missing == []
    assert len(acknowledged) > 1

    with restored(place, Settings(home=tmp_path / "elsewhere")) as parts, parts.catalog.read() as session:
        found = set(session.scalars(select(Label.blob)))
        assert acknowledged <= found <= acknowledged | later
        for sha256 in named(session):
            parts.blobs.path(sha256)


def test_a_second_backup_copies_what_is_new(clinic: Clinic, place: str, tmp_path: Path) -> None:
    first = backups.back_up(clinic.parts, OPERATOR, place)
    blob = save(clinic.parts, clinic.world, clinic.world.images[1], b"second label")
    before = Depot(place).sizes()

    second = backups.back_up(clinic.parts, OPERATOR, place)

    assert first.new_files == first.files
    new = set(Depot(place).sizes()) - set(before)
    assert second.new_files == len(new) == 2, "the label and the catalog"
    assert blob in new
    with restored(place, Settings(home=tmp_path / "then"), name=first.name) as parts:
        assert blob not in set(parts.blobs.hashes())


def test_only_the_newest_are_kept_with_what_they_need(clinic: Clinic, place: str, tmp_path: Path) -> None:
    names = [backups.back_up(clinic.parts, OPERATOR, place).name]
    for image in clinic.world.images[1:3]:
        save(clinic.parts, clinic.world, image, f"label {image}".encode())
        names.append(backups.back_up(clinic.parts, OPERATOR, place, keep=2).name)

    assert backups.names(OPERATOR, place) == names[1:]
    needed = set.union(*(set(contents.read(Depot(place), name).objects()) for name in names[1:]))
    assert set(Depot(place).sizes()) == needed
    with restored(place, Settings(home=tmp_path / "elsewhere"), name=names[1]):
        pass


def test_a_killed_backup_is_none_and_the_next_one_goes_on_from_it(clinic: Clinic, place: str, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.integration.backup.killed", place],
        env={**os.environ, **_testing(clinic.parts.settings, "backup-copied")},
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode == -9
    assert Depot(place).sizes() != {}
    with pytest.raises(NotFoundError), restored(place, Settings(home=tmp_path / "elsewhere")):
        pass

    assert backups.back_up(clinic.parts, OPERATOR, place).new_files <= 1, "at most the catalog"
    with restored(place, Settings(home=tmp_path / "elsewhere")):
        pass


def test_a_killed_restore_lets_nothing_start_and_is_done_again(clinic: Clinic, place: str, tmp_path: Path) -> None:
    backups.back_up(clinic.parts, OPERATOR, place)
    settings = Settings(home=tmp_path / "elsewhere")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.integration.backup.killed", place, "restore"],
        env={**os.environ, **_testing(settings, "restore-files")},
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode == -9
    with pytest.raises(ConflictError, match="did not end"):
        open_parts(settings)

    with restored(place, settings) as parts:
        assert rows(parts)["label"] == rows(clinic.parts)["label"]
    assert not (settings.home / RESTORING).exists()


def _testing(settings: Settings, point: str) -> dict[str, str]:
    return {"TEACHBACK_HOME": str(settings.home), "TEACHBACK_CATALOG_URL": settings.catalog_url} | {
        "TEACHBACK_TESTING": "1",
        "TEACHBACK_FAILPOINT": point,
    }


def test_a_damaged_file_of_a_backup_is_told_and_an_older_backup_still_serves(
    clinic: Clinic, place: str, tmp_path: Path
) -> None:
    older = backups.back_up(clinic.parts, OPERATOR, place).name
    blob = save(clinic.parts, clinic.world, clinic.world.images[1], b"second label")
    backups.back_up(clinic.parts, OPERATOR, place)
    object_ = Path(place) / "objects" / blob[:2] / blob
    object_.write_bytes(b"secund label")

    with pytest.raises(CorruptError, match=blob), restored(place, Settings(home=tmp_path / "one")):
        pass
    with pytest.raises(ConflictError):
        open_parts(Settings(home=tmp_path / "one"))
    with restored(place, Settings(home=tmp_path / "two"), name=older):
        pass


def test_a_note_that_was_cut_off_is_no_backup(clinic: Clinic, place: str, tmp_path: Path) -> None:
    older = backups.back_up(clinic.parts, OPERATOR, place).name
    save(clinic.parts, clinic.world, clinic.world.images[1], b"second label")
    newer = backups.back_up(clinic.parts, OPERATOR, place).name
    note = Path(place) / "backups" / f"{newer}.json"
    note.write_bytes(note.read_bytes()[:-10])

    found = contents.newest(Depot(place))

    assert found is not None
    assert found[0] == older
    with pytest.raises(CorruptError, match="cut off"), restored(place, Settings(home=tmp_path / "a"), name=newer):
        pass


def test_nothing_is_written_over(clinic: Clinic, place: str, tmp_path: Path) -> None:
    backups.back_up(clinic.parts, OPERATOR, place)
    home = tmp_path / "filled"
    home.mkdir()
    (home / "notes.txt").write_text("mine")

    with pytest.raises(ConflictError, match=r"notes\.txt"), restored(place, Settings(home=home)):
        pass
    with pytest.raises(ConflictError), restored(place, clinic.parts.settings):
        pass
    assert files(home) == ["notes.txt"]


def test_without_keys_it_takes_the_right_key_file(clinic: Clinic, place: str, tmp_path: Path) -> None:
    backups.back_up(clinic.parts, OPERATOR, place, with_keys=False)
    assert clinic.parts.settings.key_path.read_bytes() not in {path.read_bytes() for path in Path(place).rglob("*-*")}
    other = open_parts(Settings(home=tmp_path / "other"))
    other.vault.keyed_hash("", "")
    other.close()
    settings = Settings(home=tmp_path / "elsewhere")

    with pytest.raises(InvalidRequestError, match="--key-file"), restored(place, settings):
        pass
    with (
        pytest.raises(InvalidRequestError, match="another installation"),
        restored(place, settings, key_file=other.settings.key_path),
    ):
        pass
    with restored(place, settings, key_file=clinic.parts.settings.key_path) as parts:
        assert people.identify(parts, clinic.key).name == "ann"


def test_each_installation_has_a_place_of_its_own_outside_of_it(clinic: Clinic, place: str, tmp_path: Path) -> None:
    backups.back_up(clinic.parts, OPERATOR, place)
    other = open_parts(Settings(home=tmp_path / "other"))
    other.catalog.migrate()
    try:
        with pytest.raises(ConflictError, match="another installation"):
            backups.back_up(other, OPERATOR, place)
    finally:
        other.close()
    with pytest.raises(InvalidRequestError, match="inside"):
        backups.back_up(clinic.parts, OPERATOR, str(clinic.parts.settings.home / "backups"))


def test_what_the_installation_itself_lacks_is_told(clinic: Clinic, place: str, tmp_path: Path) -> None:
    path = clinic.parts.blobs.path(clinic.weights)
    path.unlink()

    taken = backups.back_up(clinic.parts, OPERATOR, place)

    assert taken.missing == [clinic.weights]
    with restored(place, Settings(home=tmp_path / "elsewhere")) as parts, parts.catalog.read() as session:
        assert session.get_one(ModelVersion, clinic.world.version).weights == clinic.weights


class _Meanwhile(Blobs):
    """A store in which something happens once its files were listed, and before they are copied."""

    def __init__(self, folder: Path, act: Callable[[], object]) -> None:
        super().__init__(folder)
        self._act = act

    def hashes(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        found = list(super().hashes(older_than_s=older_than_s))
        self._act()
        yield from found


def _back_up_while(clinic: Clinic, place: str, act: Callable[[], object]) -> None:
    taking = Parts(clinic.parts.settings)
    taking.blobs = _Meanwhile(taking.settings.artifacts_dir, act)
    assert backups.back_up(taking, OPERATOR, place).missing == []
    taking.close()


def test_a_label_that_is_purged_meanwhile_is_in_neither_rows_nor_files(
    clinic: Clinic, place: str, tmp_path: Path
) -> None:
    purged = save(clinic.parts, clinic.world, clinic.world.images[1], b"to be purged")

    def purge() -> None:
        with clinic.parts.catalog.write() as session:
            session.execute(update(Label).where(Label.blob == purged).values(blob=None))
        clinic.parts.blobs.delete(purged)

    _back_up_while(clinic, place, purge)

    with restored(place, Settings(home=tmp_path / "elsewhere")) as parts, parts.catalog.read() as session:
        assert purged not in named(session)


def test_a_label_that_is_saved_meanwhile_is_in_neither_rows_nor_files(
    clinic: Clinic, place: str, tmp_path: Path
) -> None:
    images = iter(clinic.world.images[1:])

    def label_one_more() -> None:
        image = next(images)
        save(clinic.parts, clinic.world, image, f"meanwhile {image}".encode())

    _back_up_while(clinic, place, label_one_more)

    with restored(place, Settings(home=tmp_path / "elsewhere")) as parts, parts.catalog.read() as session:
        assert named(session) <= set(parts.blobs.hashes())


def test_any_file_system_that_fsspec_knows_will_do(clinic: Clinic, tmp_path: Path) -> None:
    place = f"memory://{tmp_path.name}/backups"
    first = backups.back_up(clinic.parts, OPERATOR, place)
    save(clinic.parts, clinic.world, clinic.world.images[1], b"second label")
    second = backups.back_up(clinic.parts, OPERATOR, place, keep=1)

    assert backups.names(OPERATOR, place) == [second.name] != [first.name]
    with restored(place, Settings(home=tmp_path / "elsewhere")) as parts:
        assert rows(parts)["label"] == rows(clinic.parts)["label"]


def test_a_place_that_cannot_be_written_is_told_without_its_address(clinic: Clinic) -> None:
    with pytest.raises(StoreError) as told:
        backups.back_up(clinic.parts, OPERATOR, "nosuch://user:word@host/backups")
    assert "word" not in str(told.value)


def test_a_catalog_of_a_later_version_is_refused(clinic: Clinic, place: str, tmp_path: Path) -> None:
    backups.back_up(clinic.parts, OPERATOR, place)
    depot = Depot(place)
    found = contents.newest(depot)
    assert found is not None
    later = found[1].model_copy(update={"revision": "9999"}).model_dump_json()
    depot.note("29991231T235959.000000Z", later.encode())

    with pytest.raises(InvalidRequestError, match="later version"), restored(place, Settings(home=tmp_path / "a")):
        pass


def test_a_notice_without_bytes_needs_no_file(clinic: Clinic, place: str) -> None:
    """A label that lies in the user's own store, and of which we have no copy yet, is no file of ours."""
    told = notice(clinic.world.images[2]).model_copy(update={"blob": None})
    with clinic.parts.catalog.write() as session:
        notify(session, clinic.world.dataset, [told], "ann")

    assert backups.back_up(clinic.parts, OPERATOR, place).missing == []
