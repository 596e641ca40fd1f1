"""Any interleaving of people, time and jumps of the clock: no two have one image, and no image is lost for good."""

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from configs.errors import NotFoundError
from infra.adapters.catalog.tables import Image, Lease
from infra.adapters.catalog.tables.base import now
from tasks.rounds.count import notify
from tasks.selection.leases import LEASE_S, reclaim, touch_lease
from tasks.selection.next_image import next_image
from tests.builders import build, notice
from tests.clock import Clock
from tests.property.quick import Quick

IMAGES, MOST = 4, 2
PEOPLE = st.sampled_from(["ann", "bob", "eve"])


class Leasing(RuleBasedStateMachine):
    """Three people and four images; the clock goes on, and sometimes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Quick.catalog()
        self.clock = Clock(self.catalog)
        self.world = build(self.catalog, images=IMAGES)
        self.labelled: set[int] = set()
        self.labels = 0

    def teardown(self) -> None:
        self.catalog.close()

    def _leases(self) -> dict[int, tuple[str, float]]:
        """Return by image who has it, and for how many seconds more."""
        with self.catalog.read() as session:
            rows = session.execute(select(Lease.image_id, Lease.holder, Lease.until - now())).tuples().all()
        assert len({image for image, _, _ in rows}) == len(rows)
        return {image: (holder, left) for image, holder, left in rows}

    @rule(who=PEOPLE)
    def ask(self, who: str) -> None:
        before = {image: each for image, each in self._leases().items() if each[1] > 1}
        try:
            with self.catalog.write() as session:
                given = next_image(session, self.world.dataset, holder=who, max_leases=MOST).id
        except NotFoundError:
            assert set(before) | self.labelled == set(self.world.images), "an image is free and was not given"
            return
        assert given not in self.labelled
        assert given not in before, f"{before.get(given)} has it still"
        after = self._leases()
        assert after[given][0] == who
        assert sum(holder == who for holder, _ in after.values()) <= MOST

    @rule(who=PEOPLE, image=st.integers(0, IMAGES - 1))
    def touch(self, who: str, image: int) -> None:
        row = self.world.images[image]
        before = self._leases().get(row)
        with self.catalog.write() as session:
            touch_lease(session, self.world.dataset, row, who, LEASE_S)
        after = self._leases().get(row)
        if before is None or before[0] != who:
            assert (after is None) == (before is None)
        else:
            assert after is not None
            assert after[1] > LEASE_S - 60

    @rule(who=PEOPLE, image=st.integers(0, IMAGES - 1), back=st.booleans())
    def label(self, who: str, image: int, back: bool) -> None:
        row = self.world.images[image]
        self.labels += 1
        said = notice(row, key=f"label-{self.labels}", fingerprint=str(self.labels))
        with self.catalog.write() as session:
            notify(session, self.world.dataset, [said], who)
            if back:
                notify(session, self.world.dataset, [said.model_copy(update={"kind": "removed"})], who)
        self.labelled.add(row)
        if back:
            self.labelled.discard(row)

    @rule(seconds=st.sampled_from([60.0, 1800.0, LEASE_S + 1, 8 * 3600.0, -1800.0, -8 * 3600.0, 1e8, -1e8]))
    def time_passes_or_the_clock_jumps(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule()
    def sweep(self) -> None:
        with self.catalog.write() as session:
            reclaim(session, self.world.dataset)
        assert all(0 <= left <= LEASE_S + 1 for _, left in self._leases().values())

    @invariant()
    def an_image_is_free_or_somebodys_or_labelled(self) -> None:
        leases = self._leases()
        with self.catalog.read() as session:
            opened = {row.id: row.open for row in session.scalars(select(Image))}
        for image, is_open in opened.items():
            assert is_open is (image not in leases and image not in self.labelled)


def test_any_interleaving_of_people_and_clocks_gives_an_image_to_one_and_loses_none(
    sqlite_template: Path, tmp_path: Path
) -> None:
    Quick.template, Quick.folder = sqlite_template, tmp_path
    run_state_machine_as_test(Leasing, settings=settings(max_examples=20, stateful_step_count=25))
