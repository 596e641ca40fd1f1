"""Several annotators of one image, and the reviewer: what counts, who gets which image, what trains."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from configs.states import LabelState
from infra.adapters.catalog import jobs
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Dataset, Experiment, ExperimentDataset, Image, Label, LabelTag, Lease
from infra.adapters.catalog.tables.base import new_id
from tasks.labels.choosing.choose import choices
from tasks.labels.choosing.review import approve, send_back
from tasks.rounds.count import CheckedNotice, count_pending, notify
from tasks.selection.next_image import next_image
from tests.builders import World, build, job, notice, start_loop


def _world(catalog: Catalog, images: int = 3, **rules: Any) -> World:
    world = build(catalog, images=images)
    with catalog.write() as session:
        dataset = session.get_one(Dataset, world.dataset)
        dataset.spec = {**dataset.spec, **rules}
    return world


def _says(catalog: Catalog, world: World, person: str, image: int, content: str = "f1") -> str:
    said = notice(image, key=person, fingerprint=content).model_copy(update={"saved": True})
    with catalog.write() as session:
        notify(session, world.dataset, [said], person)
        return session.scalars(
            select(Label.id).where(Label.store_key == said.store_key, Label.fingerprint == content)
        ).one()


def _next(catalog: Catalog, world: World, person: str) -> int | None:
    with catalog.write() as session:
        try:
            return next_image(session, world.dataset, holder=person).id
        except NotFoundError:
            return None


def _label(catalog: Catalog, label_id: str) -> Label:
    with catalog.read() as session:
        return session.get_one(Label, label_id)


def _learns(catalog: Catalog, world: World) -> list[list[str]]:
    with catalog.read() as session:
        return [[label.author for label in found] for found in choices(session, world.dataset, 10**6, {1: "liver"})]


def test_an_image_for_two_counts_when_both_have_said_what_they_think(catalog: Catalog) -> None:
    world = _world(catalog, annotators_per_image=2)
    loop = start_loop(catalog, world, round_size=2)

    first = _says(catalog, world, "anna", world.images[0])
    assert (job(catalog, loop).pending, _learns(catalog, world)) == (0, [])
    _says(catalog, world, "anna", world.images[0], "f2")
    assert job(catalog, loop).pending == 0
    second = _says(catalog, world, "ben", world.images[0])

    assert job(catalog, loop).pending == 1
    assert _learns(catalog, world) == [["ben"]]
    assert _label(catalog, first).state == LabelState.SUPERSEDED
    assert _label(catalog, second).layer == 1


def test_an_image_for_two_is_given_to_two_and_to_neither_twice(catalog: Catalog) -> None:
    world = _world(catalog, images=1, annotators_per_image=2)
    image = world.images[0]

    assert _next(catalog, world, "anna") == image
    assert _next(catalog, world, "anna") is None
    assert _next(catalog, world, "ben") == image
    assert _next(catalog, world, "carl") is None
    _says(catalog, world, "anna", image)
    assert _next(catalog, world, "carl") is None
    assert _next(catalog, world, "anna") is None
    _says(catalog, world, "ben", image)
    with catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 0
        assert not session.get_one(Image, image).open


def test_a_second_person_gets_a_labelled_image_and_its_author_does_not(catalog: Catalog) -> None:
    world = _world(catalog, images=1, annotators_per_image=2)
    _says(catalog, world, "anna", world.images[0])

    assert _next(catalog, world, "anna") is None
    assert _next(catalog, world, "ben") == world.images[0]


def test_sixteen_who_ask_at_once_for_images_for_two_get_each_image_twice(catalog: Catalog) -> None:
    world = _world(catalog, images=8, annotators_per_image=2)
    gate = Barrier(16)

    def ask(number: int) -> int | None:
        gate.wait()
        return _next(catalog, world, f"person-{number}")

    with ThreadPoolExecutor(16) as pool:
        given = list(pool.map(ask, range(16)))

    assert sorted(image for image in given if image is not None) == sorted([*world.images, *world.images])


def test_two_who_save_at_once_make_their_image_count_once(catalog: Catalog) -> None:
    world = _world(catalog, images=6, annotators_per_image=2)
    loop = start_loop(catalog, world, round_size=6)
    gate = Barrier(12)

    def save(work: tuple[str, int]) -> None:
        gate.wait()
        _says(catalog, world, *work)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(save, [(person, image) for image in world.images for person in ("anna", "ben")]))

    with catalog.read() as session:
        assert count_pending(session, loop) == 6
        assert jobs.open_child(session, loop) is not None
        layers = session.execute(select(Label.image_id, Label.layer)).all()
    assert sorted(tuple(row) for row in layers) == sorted((image, layer) for image in world.images for layer in (0, 1))


def test_one_content_saved_by_eight_threads_at_once_is_one_version_and_counts_once(catalog: Catalog) -> None:
    world = _world(catalog)
    loop = start_loop(catalog, world)
    said = notice(world.images[0]).model_copy(update={"saved": True, "label_id": new_id()})
    gate = Barrier(8)

    def save(number: int) -> int:
        gate.wait()
        with catalog.write() as session:
            # Where each wrote it need not be the same: the label's own id says that it is one.
            mine = said.model_copy(update={"store_key": f"place-{number}", "tag": f"tag-{number % 2}"})
            return notify(session, world.dataset, [mine], "anna")

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(save, range(8))) == 1

    assert job(catalog, loop).pending == 1
    with catalog.read() as session:
        assert session.scalar(select(func.count(Label.id))) == 1
        assert session.scalars(select(LabelTag.tag).order_by(LabelTag.tag)).all() == ["tag-0", "tag-1"]


def test_where_approved_labels_train_a_label_counts_when_it_is_approved(catalog: Catalog) -> None:
    world = _world(catalog, train_on="approved")
    loop = start_loop(catalog, world, round_size=2)
    saved = _says(catalog, world, "anna", world.images[0])
    assert (job(catalog, loop).pending, _learns(catalog, world)) == (0, [])

    for _ in range(2):
        with catalog.write() as session:
            approve(session, saved, "reviewer")

    assert (job(catalog, loop).pending, _learns(catalog, world)) == (1, [["anna"]])
    again = _says(catalog, world, "anna", world.images[0], "f2")
    assert (job(catalog, loop).pending, _learns(catalog, world)) == (0, [])
    with catalog.write() as session, pytest.raises(ConflictError):
        approve(session, saved, "reviewer")
    with catalog.write() as session:
        approve(session, again, "reviewer")
    assert job(catalog, loop).pending == 1


def test_labels_approved_before_the_loop_count_and_others_do_not(catalog: Catalog) -> None:
    world = _world(catalog, train_on="approved")
    saved = [_says(catalog, world, "anna", image) for image in world.images]
    with catalog.write() as session:
        approve(session, saved[0], "reviewer")

    loop = start_loop(catalog, world, round_size=3)

    assert job(catalog, loop).pending == 1


def test_a_label_that_was_sent_back_goes_to_its_author_first_and_counts_when_it_is_saved_again(
    catalog: Catalog,
) -> None:
    world = _world(catalog, images=2)
    loop = start_loop(catalog, world, round_size=3)
    image = world.images[1]
    saved = _says(catalog, world, "anna", image)
    with catalog.write() as session:
        send_back(session, saved, "reviewer", "the tail is missing", 3600)

    assert (job(catalog, loop).pending, _label(catalog, saved).review_reason) == (0, "the tail is missing")
    assert _next(catalog, world, "ben") == world.images[0]
    assert _next(catalog, world, "ben") is None
    assert _next(catalog, world, "anna") == image
    assert _next(catalog, world, "anna") is None
    _says(catalog, world, "anna", image, "f2")

    assert job(catalog, loop).pending == 1
    assert _label(catalog, saved).state == LabelState.SUPERSEDED


def test_a_label_that_was_sent_back_and_not_taken_up_is_open_to_all(catalog: Catalog) -> None:
    world = _world(catalog, images=1)
    saved = _says(catalog, world, "anna", world.images[0])
    with catalog.write() as session:
        send_back(session, saved, "reviewer", "please look again", -1)

    assert _next(catalog, world, "ben") == world.images[0]
    assert _next(catalog, world, "anna") is None


def test_sending_back_takes_a_reason(catalog: Catalog) -> None:
    world = _world(catalog)
    saved = _says(catalog, world, "anna", world.images[0])
    with catalog.write() as session, pytest.raises(InvalidRequestError, match="reason"):
        send_back(session, saved, "reviewer", "  ", 3600)


@pytest.mark.parametrize(
    ("resolve", "approved", "learnt"),
    [
        ("latest", None, [["ben"]]),
        ("staple", None, [["ben", "anna"]]),
        ("reviewer", None, []),
        ("reviewer", "anna", [["anna"]]),
    ],
)
def test_what_trains_of_several_is_as_the_data_set_says(
    sqlite_catalog: Catalog, resolve: str, approved: str | None, learnt: list[list[str]]
) -> None:
    world = _world(sqlite_catalog, annotators_per_image=2, resolve=resolve)
    loop = start_loop(sqlite_catalog, world)
    saved = {person: _says(sqlite_catalog, world, person, world.images[0]) for person in ("anna", "ben")}
    if approved is not None:
        with sqlite_catalog.write() as session:
            approve(session, saved[approved], "reviewer")

    assert _learns(sqlite_catalog, world) == learnt
    assert job(sqlite_catalog, loop).pending == len(learnt)


def test_an_imported_label_trains_until_people_have_said_what_they_think(catalog: Catalog) -> None:
    world = _world(catalog, annotators_per_image=2)
    found: CheckedNotice = notice(world.images[0], key="source").model_copy(update={"imported": True})
    with catalog.write() as session:
        notify(session, world.dataset, [found], "import")
    assert _learns(catalog, world) == [["import"]]

    _says(catalog, world, "anna", world.images[0])
    assert _learns(catalog, world) == [["import"]]
    _says(catalog, world, "ben", world.images[0])
    assert _learns(catalog, world) == [["ben"]]


def test_what_was_replaced_and_is_saved_again_is_what_its_author_says(catalog: Catalog) -> None:
    world = _world(catalog)
    loop = start_loop(catalog, world)
    first = _says(catalog, world, "anna", world.images[0], "f1")
    _says(catalog, world, "anna", world.images[0], "f2")

    _says(catalog, world, "anna", world.images[0], "f1")

    assert _label(catalog, first).state == LabelState.ACTIVE
    assert job(catalog, loop).pending == 1
    with catalog.read() as session:
        assert session.scalars(select(Label.version).order_by(Label.version)).all() == [1, 2]


def _another_experiment(catalog: Catalog, world: World, label: str) -> World:
    with catalog.write() as session:
        first = session.get_one(Experiment, world.experiment)
        other = Experiment(
            id=new_id(),
            org=first.org,
            name=label,
            arch=first.arch,
            bundle_id=first.bundle_id,
            labels={"1": label},
            lineage=new_id(),
        )
        session.add(other)
        session.flush()
        session.add(ExperimentDataset(experiment_id=other.id, use="train", dataset_id=world.dataset))
    return replace(world, experiment=other.id)


def _says_of(catalog: Catalog, world: World, name: str, image: int) -> None:
    said = notice(image, key=name).model_copy(update={"saved": True, "names": {"1": name}})
    with catalog.write() as session:
        notify(session, world.dataset, [said], "ann")


def _learnt_names(catalog: Catalog, world: World, name: str) -> list[str]:
    with catalog.read() as session:
        return [found[0].names["1"] for found in choices(session, world.dataset, 10**6, {1: name})]


def test_a_label_counts_for_the_experiments_that_learn_what_it_speaks_about_and_replaces_no_other(
    catalog: Catalog,
) -> None:
    liver = build(catalog)
    spleen = _another_experiment(catalog, liver, "spleen")
    livers, spleens = start_loop(catalog, liver, round_size=5), start_loop(catalog, spleen, round_size=5)

    _says_of(catalog, liver, "Spleen", liver.images[0])
    assert (job(catalog, livers).pending, job(catalog, spleens).pending) == (0, 1)
    _says_of(catalog, liver, "liver", liver.images[0])
    assert (job(catalog, livers).pending, job(catalog, spleens).pending) == (1, 1)

    assert _learnt_names(catalog, liver, "liver") == ["liver"]
    assert _learnt_names(catalog, liver, "spleen") == ["Spleen"]


def test_a_loop_that_starts_late_counts_what_its_experiment_learns(catalog: Catalog) -> None:
    liver = build(catalog)
    _says_of(catalog, liver, "liver", liver.images[0])
    _says_of(catalog, liver, "spleen", liver.images[1])
    loop = start_loop(catalog, _another_experiment(catalog, liver, "spleen"), round_size=5)
    assert job(catalog, loop).pending == 1
