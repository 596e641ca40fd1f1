"""A patient gets its side once, and keeps it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import select

from configs.states import Side
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Experiment, Image
from tasks.rounds.evaluation.sides import give_sides, sides
from tests.builders import World, build
from tests.rounds_in_memory import Ward


def _give(catalog: Catalog, world: World, images: list[int], *, decided: Side | None = None) -> list[str]:
    with catalog.write() as session:
        lineage = session.get_one(Experiment, world.experiment).lineage
        rows = [session.get_one(Image, image) for image in images]
        give_sides(session, lineage, rows, decided=decided)
        session.flush()
        known = sides(session, lineage)
    return [known[row.patient_key] for row in rows]


def test_the_first_two_patients_train_whatever_their_hash_says(catalog: Catalog) -> None:
    world = build(catalog, images=3, evaluation_from=0)

    assert _give(catalog, world, world.images) == [Side.TRAIN, Side.TRAIN, Side.EVALUATE]


def test_a_side_does_not_change_when_more_patients_come(catalog: Catalog) -> None:
    world = build(catalog, images=6, evaluation_from=2)
    first = _give(catalog, world, world.images[:4])

    assert _give(catalog, world, list(reversed(world.images)))[2:] == list(reversed(first))


def test_two_images_of_one_patient_stand_on_one_side(catalog: Catalog) -> None:
    world = build(catalog, images=5, evaluation_from=3)
    with catalog.write() as session:
        rows = session.scalars(select(Image).where(Image.id.in_(world.images[3:]))).all()
        rows[1].patient_key = rows[0].patient_key

    assert len(set(_give(catalog, world, world.images)[3:])) == 1


def test_a_data_set_for_evaluation_alone_evaluates_whole_but_a_side_that_exists_wins(catalog: Catalog) -> None:
    world = build(catalog, images=4)
    _give(catalog, world, world.images[:1])

    assert _give(catalog, world, world.images, decided=Side.EVALUATE) == [Side.TRAIN] + [Side.EVALUATE] * 3


def test_where_evaluation_has_a_data_set_of_its_own_the_other_trains_whole(catalog: Catalog) -> None:
    world = build(catalog, images=4, evaluation_from=0)

    assert _give(catalog, world, world.images, decided=Side.TRAIN) == [Side.TRAIN] * 4


def test_two_experiments_of_a_lineage_that_gather_at_once_agree_on_every_side(catalog: Catalog) -> None:
    world = build(catalog, images=8, evaluation_from=0)
    both = Barrier(2)

    def gather(images: list[int]) -> None:
        both.wait()
        _give(catalog, world, images)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(gather, [world.images, list(reversed(world.images))]))

    found = _give(catalog, world, world.images)
    assert sorted(found) == sorted([Side.TRAIN] * 2 + [Side.EVALUATE] * 6)
    assert _give(catalog, world, world.images) == found


def test_a_patient_with_two_studies_never_stands_on_both_sides(ward: Ward) -> None:
    """Whichever study is labelled first, and in whichever data set the other one is."""
    separate = ward.separate_evaluation("e1", "e2", "e3")
    with ward.parts.catalog.write() as session:
        # t3 was in training before its other study came into the data set for evaluation; t4's came first.
        for ours, theirs in (("t3", "e1"), ("t4", "e2")):
            session.get_one(Image, separate[theirs]).patient_key = session.get_one(Image, ward.images[ours]).patient_key
    ward.label("t1", "t3")
    ward.round("auto")
    ward.label("t4", "t5")
    for name in ("e1", "e2", "e3"):
        ward.label_elsewhere(name)
    held = ward.start("auto")
    ward.run(held)

    rows = {row.image: row for row in ward.snapshot(held).rows}
    sides = {name: rows[image].side for name, image in {**ward.images, **separate}.items() if image in rows}
    assert sides == {"t1": "train", "t3": "train", "t4": "evaluate", "t5": "train", "e2": "evaluate", "e3": "evaluate"}
    by_patient = {(row.patient, row.side) for row in rows.values()}
    assert len(by_patient) == len({patient for patient, _ in by_patient})
