"""For which experiment the next image is."""

import pytest
from sqlalchemy import select

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Candidate, Experiment, ExperimentDataset, Image
from infra.adapters.catalog.tables.base import new_id
from tasks.publishing.first import publish_first
from tasks.selection.next_image import next_image
from tests.builders import BUNDLE, ORG, World, build, start_loop


@pytest.fixture
def world(sqlite_catalog: Catalog) -> World:
    return build(sqlite_catalog, images=4)


def _another(catalog: Catalog, world: World, wanted: int) -> str:
    """Add a newer experiment on the same images whose scores put one image first; return its id."""
    with catalog.write() as session:
        row = Experiment(
            id=new_id(), org=ORG, name="other", arch="a", bundle_id=BUNDLE, labels={"1": "liver"}, lineage=new_id()
        )
        session.add(row)
        session.flush()
        publish_first(session, row, actor="ann")
        session.add(ExperimentDataset(experiment_id=row.id, use="train", dataset_id=world.dataset))
    _wants(catalog, world, row.id, wanted)
    return row.id


def _wants(catalog: Catalog, world: World, experiment: str, wanted: int) -> None:
    with catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        row.strategy = "entropy"
        values = {"dataset_id": world.dataset, "version_id": row.published_version, "method": "entropy", "score": 0.5}
        session.add(Candidate(experiment_id=experiment, image_id=world.images[wanted], **values))


def _next(catalog: Catalog, world: World, experiment: str | None = None) -> int:
    with catalog.write() as session:
        image = next_image(session, world.dataset, holder="ann", experiment_id=experiment)
        return world.images.index(image.id)


def test_it_is_the_named_experiments_else_the_newest_with_a_running_loop(sqlite_catalog: Catalog, world: World) -> None:
    _wants(sqlite_catalog, world, world.experiment, 1)
    newer, newest = (_another(sqlite_catalog, world, wanted) for wanted in (2, 3))

    start_loop(sqlite_catalog, World(world.dataset, newer, "", world.images))
    assert _next(sqlite_catalog, world) == 2, "the newest experiment has no loop"
    assert _next(sqlite_catalog, world, world.experiment) == 1

    start_loop(sqlite_catalog, World(world.dataset, newest, "", world.images))
    assert _next(sqlite_catalog, world) == 3


def test_without_a_running_loop_images_come_in_a_fixed_random_order(sqlite_catalog: Catalog, world: World) -> None:
    with sqlite_catalog.read() as session:
        rows = session.scalars(select(Image).order_by(Image.shuffle)).all()
    order = [world.images.index(row.id) for row in rows]
    _wants(sqlite_catalog, world, world.experiment, order[-1])

    assert [_next(sqlite_catalog, world) for _ in order] == order, "whatever an experiment's scores say"
