"""What a data set holds, page by page."""

from infra.adapters.catalog import contents
from infra.adapters.catalog.session import Catalog
from tasks.rounds.count import notify
from tests.bench.many import add_images
from tests.builders import build, notice

PAGE = contents.PAGE
IMAGES = 2 * PAGE + 1


def test_every_image_is_listed_once_with_its_own_labels(sqlite_catalog: Catalog) -> None:
    world = build(sqlite_catalog, images=0)
    made = add_images(sqlite_catalog, world.dataset, IMAGES)
    with sqlite_catalog.write() as session:
        notify(session, world.dataset, [notice(made[number]) for number in (0, PAGE, IMAGES - 1)], "ann")
        contents.say(session, made[1], {"seen": True})

    listed = list[contents.Listed]()
    with sqlite_catalog.read() as session:
        while page := contents.page(session, world.dataset, listed[-1].key if listed else ""):
            listed += page

    assert [one.key for one in listed] == [f"many-{number:07}" for number in range(IMAGES)]
    assert [number for number, one in enumerate(listed) if "final" in one.labels] == [0, PAGE, IMAGES - 1]
    assert [one.said for one in listed[:3]] == [{}, {"seen": True}, {}]


def test_of_many_images_only_the_labelled_ones_are_gone_through(sqlite_catalog: Catalog) -> None:
    world = build(sqlite_catalog, images=0)
    made = add_images(sqlite_catalog, world.dataset, IMAGES)
    labelled = [made[0], made[PAGE], made[-1]]
    with sqlite_catalog.write() as session:
        notify(session, world.dataset, [notice(image) for image in labelled], "ann")

    with sqlite_catalog.read() as session:
        found = contents.labelled_page(session, world.dataset, "final", "")
        others = contents.labelled_page(session, world.dataset, "final", found[0].image.key)
        of_another_tag = contents.labelled_page(session, world.dataset, "original", "")

    assert [one.image.id for one in found] == [one.labels["final"].image_id for one in found] == labelled
    assert [one.image.id for one in others] == labelled[1:]
    assert of_another_tag == []
