"""Which replica is asked for an image."""

from infra.adapters.catalog.tables import Slot
from tasks.serving.predict import in_order

IMAGES = range(300)


def _slots(*sequences: int) -> list[Slot]:
    return [Slot(id=f"slot-{number}", serving_seq=sequence) for number, sequence in enumerate(sequences)]


def test_the_newest_publication_comes_first() -> None:
    old, new = _slots(3, 4)

    assert all(in_order([old, new], image)[0] is new for image in IMAGES)


def test_images_are_spread_over_replicas_and_each_keeps_its_own() -> None:
    slots = _slots(1, 1, 1)
    first = {image: in_order(slots, image)[0].id for image in IMAGES}

    assert first == {image: in_order(slots[::-1], image)[0].id for image in IMAGES}
    assert all(60 < list(first.values()).count(slot.id) < 140 for slot in slots)


def test_when_a_replica_goes_only_its_images_move() -> None:
    slots = _slots(1, 1, 1)
    gone, *left = slots
    for image in IMAGES:
        before = in_order(slots, image)[0]
        if before is not gone:
            assert in_order(left, image)[0] is before
