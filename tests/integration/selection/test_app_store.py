"""What an app may ask about images, answered of a real catalog; its side of the talk is the app's own `Datastore`."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import delete, select

from configs.wire.apps import ListImages
from configs.wire.host import HostCommand, HostMessage
from infra.adapters.catalog.tables import Dataset, Experiment, Image
from infra.wiring import Parts
from tasks.compute.apps.datastore import Datastore
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.selection.app_store import MOST_BYTES, PAGE, SHOWN, AppStore
from tests.builders import World, build

SHAPE = (3, 4, 5)


class Direct(Control):
    """A host's end of no socket: the store answers at once."""

    def __init__(self, store: AppStore) -> None:
        self._store = store

    def say(self, message: HostMessage) -> None:
        self._answer = self._store.answer(message)  # type: ignore[arg-type]  # a Datastore says nothing else

    def hear(self) -> HostCommand | None:
        return self._answer


@pytest.fixture
def world(parts: Parts) -> World:
    return build(parts.catalog, images=0)


def _write(folder: Path, name: str, value: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SHAPE, value, np.uint8), np.eye(4)), file)
    return file


def _listed(parts: Parts, world: World, folder: Path, **spec: object) -> None:
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = {"kind": "folder", "url": str(folder), **spec}
    sync_dataset(parts, world.dataset)


def _opened(parts: Parts, world: World, folder: Path) -> Datastore:
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, world.experiment)
    return Datastore(Direct(AppStore(parts, experiment, world.dataset, folder)))


def test_a_label_is_shown_in_the_experiments_values_and_kept_nowhere_else(
    parts: Parts, world: World, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        _write(tmp_path / "images", name)
    _listed(parts, world, tmp_path / "images")
    save_label(parts, world.dataset, "a", _write(tmp_path, "drawn", 7), LabelParams(names={7: "liver"}), "ann")
    (tmp_path / "work").mkdir()
    store = _opened(parts, world, tmp_path / "work" / "shown")

    shown = store.get_label_uri("a")

    assert shown is not None
    assert np.asarray(nib.load(shown).dataobj).tolist() == np.ones(SHAPE).tolist()
    assert store.get_label_uri("a") == shown
    assert list((tmp_path / "work").iterdir()) == [tmp_path / "work" / "shown"]
    assert store.get_label_uri("b") is None
    assert (store.get_labeled_images(), store.get_unlabeled_images()) == (["a"], ["b"])
    save_label(parts, world.dataset, "a", _write(tmp_path, "again", 0), LabelParams(names={7: "liver"}), "ann")
    assert not np.asarray(nib.load(str(store.get_label_uri("a"))).dataobj).any()


def test_files_go_when_so_many_others_were_asked_for(parts: Parts, world: World, tmp_path: Path) -> None:
    names = [f"i{number:02}" for number in range(SHOWN + 1)]
    for name in names:
        _write(tmp_path / "images", name)
    _listed(parts, world, tmp_path / "images")
    store = _opened(parts, world, tmp_path / "shown")
    first, second = (Path(str(store.get_image_uri(name))) for name in names[:2])

    assert Path(str(store.get_image_uri(names[0]))) == first
    for name in names[2:]:
        store.get_image_uri(name)

    assert (first.exists(), second.exists()) == (True, False), "the second was asked for longest ago"
    assert Path(str(store.get_image_uri(names[1]))) == second
    assert second.exists()


def test_a_dozen_channels_come_in_their_order(parts: Parts, world: World, tmp_path: Path) -> None:
    channels = [{"name": f"c{number}", "suffix": f"_{number:04}"} for number in range(12)]
    for number, channel in enumerate(channels):
        _write(tmp_path / "images", f"p{channel['suffix']}", number)
    _listed(parts, world, tmp_path / "images", channels=channels)
    store = _opened(parts, world, tmp_path / "shown")
    (key,) = store.list_images()

    values = [int(np.asarray(nib.load(file).dataobj).max()) for file in store.get_image_uri(key)]

    assert values == list(range(12))


def test_a_list_is_whole_though_a_share_of_it_goes_meanwhile(parts: Parts, tmp_path: Path) -> None:
    world = build(parts.catalog, images=2 * PAGE + 1)
    with parts.catalog.read() as session:
        keys = session.scalars(select(Image.key).order_by(Image.key)).all()
        experiment = session.get_one(Experiment, world.experiment)
    store = AppStore(parts, experiment, world.dataset, tmp_path / "shown")

    first = list(store.answer(ListImages(which="all")).images)
    with parts.catalog.write() as session:
        session.execute(delete(Image).where(Image.key.in_(keys[: PAGE + 1])))

    assert first == keys[:PAGE]
    assert list(store.answer(ListImages(which="all", after=first[-1])).images) == keys[PAGE + 1 :]
    assert store.answer(ListImages(which="all", after=keys[-1])).images == {}
    assert Datastore(Direct(store)).list_images() == keys[PAGE + 1 :]


def test_what_is_said_fits_into_messages_and_what_is_too_much_is_refused(parts: Parts, tmp_path: Path) -> None:
    world = build(parts.catalog, images=6)
    store = _opened(parts, world, tmp_path / "shown")
    long = "x" * (MOST_BYTES - 100)
    for number in range(6):
        store.update_image_info(f"image-{number:03}", {"said": long})

    again = _opened(parts, world, tmp_path / "again")
    assert [again.get_image_info(key)["said"] == long for key in again.list_images()] == [True] * 6

    with pytest.raises(BadInputError, match="bytes are said of an image"):
        store.update_image_info("image-000", {"more": "x" * MOST_BYTES})
    store.update_image_info("image-000", {"more": long})
    with pytest.raises(BadInputError, match="bytes are said of this image together"):
        store.update_image_info("image-000", {"third": long})
    for ask in (store.get_image_uri, store.get_label_uri):
        with pytest.raises(BadInputError, match="image"):
            ask("nobody")
