"""Labelled is asked per experiment: what is labelled in one's names is another's next image, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from configs.errors import NotFoundError
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Candidate, Dataset, Experiment, Image, Label, Lease, Unspoken
from infra.adapters.catalog.tables.base import now
from tasks.labels.choosing.review import send_back
from tasks.rounds.count import CheckedNotice, notify
from tasks.selection.leases import reclaim
from tasks.selection.next_image import next_image, upcoming
from tasks.selection.scores import keep_score
from tasks.selection.skip import clear, skip
from tasks.selection.unspoken import SHARE
from tests.builders import World, build, job, second_experiment, start_loop

LIVER, SPLEEN = {"1": "liver"}, {"1": "Spleen"}


def _say(image: int, names: dict[str, str], key: str = "a", person: str = "ann") -> CheckedNotice:
    return CheckedNotice(
        kind="added",
        image_id=image,
        store_key=f"{key}-{image}",
        fingerprint="1",
        blob="c" * 64,
        names=names,
        person=person,
    )


def _label(catalog: Catalog, world: World, images: list[int], names: dict[str, str], **said: str) -> None:
    with catalog.write() as session:
        notify(session, world.dataset, [_say(image, names, **said) for image in images], "ann")


def _remove(catalog: Catalog, world: World, image: int, key: str = "a") -> None:
    gone = CheckedNotice(kind="removed", image_id=image, store_key=f"{key}-{image}", fingerprint="1")
    with catalog.write() as session:
        notify(session, world.dataset, [gone], "ann")


def _next(catalog: Catalog, world: World, holder: str = "bob") -> int:
    with catalog.write() as session:
        return next_image(session, world.dataset, holder=holder, experiment_id=world.experiment).id


def _all(catalog: Catalog, world: World, holder: str = "bob") -> set[int]:
    """Lease whatever is left for an experiment, and give it back."""
    found: set[int] = set()
    while (image := _next_if_any(catalog, world, holder)) is not None:
        found.add(image)
    with catalog.write() as session:
        session.execute(update(Lease).where(Lease.holder == holder).values(until=1.0))
        reclaim(session, world.dataset)
    return found


def _next_if_any(catalog: Catalog, world: World, holder: str) -> int | None:
    try:
        return _next(catalog, world, holder)
    except NotFoundError:
        return None


@pytest.fixture
def two(catalog: Catalog) -> tuple[World, World]:
    """Four images; an experiment that learns the liver, and one that learns the spleen."""
    liver = build(catalog, images=4)
    return liver, second_experiment(catalog, liver, SPLEEN)


def test_what_is_labelled_for_one_experiment_is_the_others_next_image(
    catalog: Catalog, two: tuple[World, World]
) -> None:
    liver, spleen = two
    assert _all(catalog, spleen) == set(liver.images)

    _label(catalog, liver, liver.images[:3], LIVER)

    assert _all(catalog, liver) == set(liver.images[3:])
    assert _all(catalog, spleen) == set(liver.images)
    _label(catalog, liver, liver.images[1:2], SPLEEN, key="b")
    assert _all(catalog, spleen) == set(liver.images) - {liver.images[1]}
    _remove(catalog, liver, liver.images[1], key="b")
    assert _all(catalog, spleen) == set(liver.images)
    assert _all(catalog, liver) == set(liver.images[3:])


def test_a_label_that_names_nothing_speaks_for_everybody(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    _all(catalog, spleen)

    _label(catalog, liver, liver.images, {})

    assert _all(catalog, spleen) == _all(catalog, liver) == set()


def test_labels_from_before_the_experiment_are_looked_at_in_shares(catalog: Catalog) -> None:
    liver = build(catalog, images=2 * SHARE + 50)
    _label(catalog, liver, liver.images, LIVER)
    _label(catalog, liver, liver.images[:200], {"2": "spleen"}, key="b")
    spleen = second_experiment(catalog, liver, SPLEEN)

    given = {_next(catalog, spleen) for _ in range(40)}

    assert len(given) == 40
    assert given <= set(liver.images[200:])
    with catalog.read() as session:
        assert len(session.scalars(select(Unspoken.image_id)).all()) == 10, "leased images are nobody's"


def test_both_kinds_of_free_images_come_in_one_order(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    with catalog.read() as session:
        order = list(session.scalars(select(Image.id).order_by(Image.shuffle)))
    _label(catalog, liver, order[1:3], LIVER)
    with catalog.write() as session:
        session.get_one(Experiment, spleen.experiment).strategy = "random"
    first = _next(catalog, spleen)

    with catalog.read() as session:
        ahead = [row.id for row in upcoming(session, liver.dataset, count=2, experiment_id=spleen.experiment)]

    assert [first, *ahead, *(_next(catalog, spleen) for _ in range(3))] == [*order[:3], *order[1:4]]
    with catalog.write() as session:
        session.get_one(Experiment, spleen.experiment).strategy = "first"
        session.execute(update(Lease).values(until=1.0))
    assert [_next(catalog, spleen) for _ in range(4)] == liver.images


def test_scores_stay_for_the_experiment_that_still_wants_the_image(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    _all(catalog, spleen)
    with catalog.write() as session:
        for image, score in zip(liver.images, (0.1, 0.2, 0.9, 0.3), strict=True):
            assert keep_score(session, liver.version, image, "entropy", score)
            assert keep_score(session, spleen.version, image, "entropy", score)

    _label(catalog, liver, liver.images[2:3], LIVER)

    with catalog.write() as session:
        kept = session.scalars(select(Candidate.experiment_id).where(Candidate.image_id == liver.images[2])).all()
        assert kept == [spleen.experiment]
        assert keep_score(session, liver.version, liver.images[2], "entropy", 0.8)
        assert keep_score(session, spleen.version, liver.images[2], "entropy", 0.8)
        scores = session.scalars(select(Candidate.score).where(Candidate.image_id == liver.images[2])).all()
        assert scores == [0.8], "nobody orders the one that is labelled for it"
    assert [_next(catalog, spleen) for _ in range(2)] == [liver.images[2], liver.images[3]]
    assert _next(catalog, liver, "cem") == liver.images[1]


def test_eight_annotators_get_eight_images_that_others_have_labelled(catalog: Catalog) -> None:
    liver = build(catalog, images=8)
    _label(catalog, liver, liver.images, LIVER)
    spleen = second_experiment(catalog, liver, SPLEEN)

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: _next(catalog, spleen, f"annotator-{n}"), range(8)))

    assert sorted(given) == liver.images


def test_a_lease_outlives_a_label_in_other_names_and_ends_with_one_in_its_own(
    catalog: Catalog, two: tuple[World, World]
) -> None:
    liver, spleen = two
    _label(catalog, liver, liver.images[1:], LIVER)
    image = _next(catalog, spleen)
    while image == liver.images[0]:
        image = _next(catalog, spleen)

    _label(catalog, liver, [image], LIVER, key="again")
    assert image not in {_next(catalog, spleen, "cem") for _ in range(2)}
    with catalog.write() as session:
        session.execute(update(Lease).where(Lease.image_id == image).values(until=now() - 1))
    assert image in {_next(catalog, spleen, "dana") for _ in range(1)}
    _label(catalog, liver, [image], SPLEEN, key="b", person="eve")

    with catalog.read() as session:
        assert image not in session.scalars(select(Lease.image_id)).all()
    assert image not in _all(catalog, spleen)


def test_what_is_skipped_is_nobodys_until_it_is_cleared(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    _label(catalog, liver, liver.images, LIVER)
    with catalog.write() as session:
        skip(session, session.get_one(Image, liver.images[0]), "moved", by="ann")
    assert _all(catalog, spleen) == set(liver.images[1:])
    with catalog.write() as session:
        skip(session, session.get_one(Image, liver.images[1]), "moved", by="ann")
    assert _all(catalog, spleen) == set(liver.images[2:])

    with catalog.write() as session:
        for image in liver.images[:2]:
            clear(session, session.get_one(Image, image))

    assert _all(catalog, spleen) == set(liver.images)


def test_a_row_that_is_no_longer_true_is_met_once(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    _label(catalog, liver, liver.images, LIVER)
    assert _all(catalog, spleen) == set(liver.images)
    with catalog.write() as session:  # as a look at a label whose unit was not yet committed leaves it
        session.execute(update(Label).where(Label.image_id == liver.images[0]).values(names=SPLEEN))

    assert _all(catalog, spleen) == set(liver.images[1:])


def test_two_people_are_wanted_for_each_experiment(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    with catalog.write() as session:
        dataset = session.get_one(Dataset, liver.dataset)
        dataset.spec = {**dataset.spec, "annotators_per_image": 2}
    for person in ("ann", "bob"):
        _label(catalog, liver, liver.images, LIVER, key=person, person=person)

    assert _all(catalog, liver, "cem") == set()
    assert _all(catalog, spleen, "ann") == _all(catalog, spleen, "cem") == set(liver.images)
    _label(catalog, liver, liver.images[:1], SPLEEN, key="ann-b", person="ann")
    assert _all(catalog, spleen, "ann") == set(liver.images[1:])
    assert _all(catalog, spleen, "cem") == set(liver.images)
    _label(catalog, liver, liver.images[:1], SPLEEN, key="cem-b", person="cem")
    assert _all(catalog, spleen, "bob") == set(liver.images[1:])


def test_a_label_that_was_sent_back_comes_to_its_author_though_others_names_are_labelled(
    catalog: Catalog, two: tuple[World, World]
) -> None:
    liver, spleen = two
    _label(catalog, liver, liver.images[:1], LIVER)
    _label(catalog, liver, liver.images[:1], SPLEEN, key="b", person="bob")
    with catalog.write() as session:
        label = session.scalars(select(Label).where(Label.author == "bob")).one()
        send_back(session, label.id, "cem", "the border is wrong", 60)

    assert liver.images[0] not in {_next(catalog, spleen, "dana") for _ in range(3)}
    assert _next(catalog, spleen, "bob") == liver.images[0]


def test_a_loop_is_not_out_of_images_while_some_lack_its_names(catalog: Catalog, two: tuple[World, World]) -> None:
    liver, spleen = two
    loops = [start_loop(catalog, world, round_size=10) for world in two]
    _all(catalog, spleen)

    _label(catalog, liver, liver.images, LIVER)
    _label(catalog, liver, liver.images[:1], SPLEEN, key="b")

    assert job(catalog, loops[0]).message.startswith("No image is left")
    assert job(catalog, loops[1]).message == ""
    _label(catalog, liver, liver.images[1:], SPLEEN, key="b")
    assert job(catalog, loops[1]).message.startswith("No image is left")


def test_evaluation_cases_are_those_labelled_in_the_experiments_names(catalog: Catalog) -> None:
    liver = build(catalog, images=12, evaluation_from=6)
    _label(catalog, liver, liver.images[6:], LIVER)
    spleen = second_experiment(catalog, liver, SPLEEN)
    with catalog.write() as session:
        session.get_one(Experiment, spleen.experiment).strategy = "first"

    given = [_next(catalog, spleen) for _ in range(5)]

    assert given[:4] == liver.images[:4]
    assert given[4] in liver.images[6:]
