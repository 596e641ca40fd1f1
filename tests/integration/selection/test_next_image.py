"""Which image comes next, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from configs.errors import NotFoundError
from configs.states import LabelState
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Bundle, Candidate, Experiment, Image, Label, Lease
from infra.adapters.catalog.tables.base import now
from tasks.rounds.count import notify
from tasks.selection.next_image import AsksAppError, next_image, upcoming
from tasks.selection.scores import keep_score
from tests.builders import World, add_version, build, notice, start_loop


def _next(catalog: Catalog, world: World, holder: str = "ann", strategy: str | None = None) -> Image:
    with catalog.write() as session:
        return next_image(session, world.dataset, holder=holder, strategy=strategy)


def test_eight_annotators_at_once_get_eight_images(catalog: Catalog) -> None:
    world = build(catalog, images=8)

    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda n: _next(catalog, world, f"annotator-{n}").id, range(8)))

    assert sorted(images) == world.images


def test_asking_again_gives_another_image_until_none_is_left(catalog: Catalog) -> None:
    world = build(catalog, images=3)

    given = {_next(catalog, world).id for _ in range(3)}

    assert given == set(world.images)
    with pytest.raises(NotFoundError):
        _next(catalog, world)


def test_an_image_comes_back_when_its_lease_is_over(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    first = _next(catalog, world)
    with catalog.write() as session:
        session.execute(update(Lease).values(until=now() - 1))

    assert _next(catalog, world, "bob").id == first.id


def test_a_labelled_image_is_not_given(catalog: Catalog) -> None:
    world = build(catalog, images=2)
    with catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")

    assert _next(catalog, world).id == world.images[1]


def test_a_lease_that_outlived_a_label_does_not_give_the_image_away_again(catalog: Catalog) -> None:
    world = build(catalog, images=1)
    with catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        session.add(Lease(dataset_id=world.dataset, image_id=world.images[0], layer=0, holder="bob", until=1.0))

    with pytest.raises(NotFoundError):
        _next(catalog, world)


def test_an_image_that_is_leased_and_looks_free_keeps_nobody_from_the_others(catalog: Catalog) -> None:
    world = build(catalog, images=2)
    taken = _next(catalog, world)
    with catalog.write() as session:
        session.execute(update(Image).where(Image.id == taken.id).values(open=True))

    assert _next(catalog, world, "bob").id != taken.id


def test_first_goes_by_the_images_names(catalog: Catalog) -> None:
    world = build(catalog, images=4)

    assert [_next(catalog, world, strategy="first").key for _ in range(3)] == ["image-000", "image-001", "image-002"]


def test_entropy_gives_the_highest_score_first_and_unscored_images_last(catalog: Catalog) -> None:
    world = build(catalog, images=4)
    start_loop(catalog, world)
    with catalog.write() as session:
        for image, score in zip(world.images[:3], (0.1, 0.9, 0.5), strict=True):
            session.add(
                Candidate(
                    experiment_id=world.experiment,
                    image_id=image,
                    method="entropy",
                    dataset_id=world.dataset,
                    score=score,
                    version_id=world.version,
                )
            )

    order = [_next(catalog, world).id for _ in range(4)]

    assert order == [world.images[1], world.images[2], world.images[0], world.images[3]]


def test_the_loops_gate_says_how_many_evaluation_cases_are_wanted(catalog: Catalog) -> None:
    world = build(catalog, images=20, evaluation_from=17)
    start_loop(catalog, world, min_cases=1)
    with catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[17])], "ann")
        session.execute(update(Image).where(Image.id.in_(world.images[18:])).values(shuffle=2.0))

    given = [_next(catalog, world, strategy="random").id for _ in range(5)]

    assert not set(given) & set(world.images[17:])


def test_every_fifth_image_is_of_a_patient_whom_the_hash_sends_to_evaluation(catalog: Catalog) -> None:
    world = build(catalog, images=20, evaluation_from=17)
    start_loop(catalog, world)
    with catalog.write() as session:
        session.get_one(Experiment, world.experiment).strategy = "first"

    given = [_next(catalog, world).id for _ in range(5)]

    assert given[:4] == world.images[:4]
    assert given[4] in world.images[17:]


def test_what_comes_next_is_known_ahead_and_leased_to_nobody(catalog: Catalog) -> None:
    world = build(catalog, images=20, evaluation_from=17)
    start_loop(catalog, world)
    with catalog.write() as session:
        session.get_one(Experiment, world.experiment).strategy = "first"
    _next(catalog, world)
    for _ in range(4):
        with catalog.read() as session:
            ahead = upcoming(session, world.dataset, count=2)
            leased = session.scalars(select(Lease.image_id)).all()
        assert not {image.id for image in ahead} & set(leased)
        assert _next(catalog, world).id == ahead[0].id
    assert ahead[0].id in world.images[17:], "the fifth is for evaluation"


def test_each_method_that_scores_orders_by_its_own_scores(catalog: Catalog) -> None:
    world = build(catalog, images=3)
    start_loop(catalog, world)
    with catalog.write() as session:
        for image, entropy in zip(world.images, (0.1, 0.2, 0.3), strict=True):
            assert keep_score(session, world.version, image, "entropy", entropy)
            assert keep_score(session, world.version, image, "epistemic", 1 - entropy)

    assert _next(catalog, world, strategy="epistemic").id == world.images[0]
    assert _next(catalog, world, strategy="entropy").id == world.images[2]


def test_a_score_replaces_the_one_before_and_comes_too_late_after_a_new_version(catalog: Catalog) -> None:
    world = build(catalog, images=2)
    with catalog.write() as session:
        for score in (0.9, 0.1):
            assert keep_score(session, world.version, world.images[0], "entropy", score)
        assert [row.score for row in session.scalars(select(Candidate))] == [0.1]
    newer = add_version(catalog, world, 1)
    with catalog.write() as session:
        session.get_one(Experiment, world.experiment).published_version = newer
        assert not keep_score(session, world.version, world.images[1], "entropy", 0.5)
        assert keep_score(session, newer, world.images[1], "entropy", 0.5)


def test_an_app_that_is_asked_for_each_image_is_asked_only_where_its_answer_is_used(catalog: Catalog) -> None:
    world = build(catalog, images=3)
    start_loop(catalog, world)
    with catalog.write() as session:
        orders = {"strategies": {"now": ""}, "per_request": ["now"]}
        session.execute(update(Bundle).values(check={"orders": orders}))
        session.get_one(Experiment, world.experiment).strategy = "app:now"
        notify(session, world.dataset, [notice(world.images[1])], "ann")
        session.execute(update(Label).values(state=LabelState.SENT_BACK))

    assert _next(catalog, world).id == world.images[1], "it was sent back to her"
    with pytest.raises(AsksAppError):
        _next(catalog, world)
    with catalog.read() as session:
        assert upcoming(session, world.dataset, count=2) == [], "only the app knows"
