"""Any interleaving of labels, skips, rounds and repeats: what is pending is what a model of the rules says."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from configs.errors import NotFoundError
from configs.states import TERMINAL, AttemptState, JobStatus, LabelState
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Dataset, Image, Job, Label, LabelEvent, Lease, PendingImage
from infra.adapters.catalog.tables.base import new_id
from tasks.devices.claims import Claimant
from tasks.rounds.count import count_pending, notify, open_round_if_due
from tasks.rounds.jobs import attempts
from tasks.rounds.jobs.cancel import cancel
from tasks.selection.next_image import next_image
from tasks.selection.skip import clear, skip
from tests.builders import build, notice, start_loop
from tests.property.quick import Quick

IMAGES, CONTENTS, ROUND_SIZE = 5, 3, 3
ANYONE = st.sampled_from(["ann", "bob"])
IMAGE = st.integers(0, IMAGES - 1)
CONTENT = st.integers(0, CONTENTS - 1)


@dataclass
class Told:
    """What is said of one image: per content its state, and whether the image waits for a round."""

    contents: dict[int, LabelState] = field(default_factory=dict)
    pending: bool = False

    def added(self, content: int, *, saved: bool) -> None:
        """Say a content of it. Known content counts nothing; what was replaced comes back only by being saved."""
        state = self.contents.get(content)
        if state == LabelState.ACTIVE or (state == LabelState.SUPERSEDED and not saved):
            return
        for other, known in self.contents.items():
            if known == LabelState.ACTIVE:
                self.contents[other] = LabelState.SUPERSEDED
        self.contents[content] = LabelState.ACTIVE
        self.pending = self.pending or state is None

    def removed(self, content: int) -> None:
        """Take a content back: with the last that counted, the image no longer waits."""
        if self.contents.get(content) == LabelState.ACTIVE:
            self.contents[content] = LabelState.REMOVED
            self.pending = False

    @property
    def labelled(self) -> bool:
        return LabelState.ACTIVE in self.contents.values()


class Counting(RuleBasedStateMachine):
    """A loop of rounds of three, over five images that have three possible labels each."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Quick.catalog()
        self.world = build(self.catalog, images=IMAGES)
        self.loop = start_loop(self.catalog, self.world, round_size=ROUND_SIZE)
        self.told = [Told() for _ in range(IMAGES)]
        self.skipped: set[int] = set()
        self.leased: dict[int, str] = {}
        self.finished = 0

    def teardown(self) -> None:
        self.catalog.close()

    @rule(image=IMAGE, content=CONTENT, who=ANYONE, saved=st.booleans(), times=st.integers(1, 3))
    def say(self, image: int, content: int, who: str, saved: bool, times: int) -> None:
        said = notice(self.world.images[image], key=f"label-{content}", fingerprint=str(content))
        for _ in range(times):
            with self.catalog.write() as session:
                notify(session, self.world.dataset, [said.model_copy(update={"saved": saved})], who)
            self.told[image].added(content, saved=saved)

    @rule(image=IMAGE, content=CONTENT, who=ANYONE)
    def take_back(self, image: int, content: int, who: str) -> None:
        said = notice(self.world.images[image], key=f"label-{content}", fingerprint=str(content), kind="removed")
        with self.catalog.write() as session:
            notify(session, self.world.dataset, [said], who)
        self.told[image].removed(content)

    @rule(image=IMAGE)
    def skip(self, image: int) -> None:
        with self.catalog.write() as session:
            skip(session, session.get_one(Image, self.world.images[image]), "motion", by="ann")
        self.skipped.add(image)

    @rule(image=IMAGE)
    def clear(self, image: int) -> None:
        with self.catalog.write() as session:
            clear(session, session.get_one(Image, self.world.images[image]))
        self.skipped.discard(image)

    @rule(who=ANYONE)
    def ask_for_the_next(self, who: str) -> None:
        with self.catalog.read() as session:
            leased = set(session.scalars(select(Lease.image_id)))
        free = {
            row
            for number, row in enumerate(self.world.images)
            if number not in self.skipped and not self.told[number].labelled and row not in leased
        }
        try:
            with self.catalog.write() as session:
                given = next_image(session, self.world.dataset, holder=who).id
        except NotFoundError:
            assert not free
            return
        assert given in free, "neither labelled nor skipped nor somebody else's"

    @precondition(lambda self: self._open_round() is not None)
    @rule(labels_meanwhile=st.lists(st.tuples(IMAGE, CONTENT), max_size=3))
    def finish_the_round(self, labels_meanwhile: list[tuple[int, int]]) -> None:
        """Gather, let labels come in meanwhile, and close: those count towards the next."""
        job = self._open_round() or ""
        with self.catalog.write() as session:
            assert attempts.claim(session, job, 1, Claimant(new_id(), "here", 1, born="", lease_s=60))
            row = attempts.fence(session, job, 1)
            row.to_seq = session.get_one(Dataset, self.world.dataset).label_seq
            session.execute(delete(PendingImage).where(PendingImage.job_id == self.loop))
            session.execute(update(Job).where(Job.id == self.loop).values(pending=0))
        for each in self.told:
            each.pending = False
        for image, content in labels_meanwhile:
            self.say(image, content, "ann", False, 1)
        with self.catalog.write() as session:
            row = attempts.fence(session, job, 1)
            row.status = JobStatus.DONE
            session.get_one(Attempt, (job, 1)).state = AttemptState.ENDED
            loop = jobs.locked(session, self.loop)
            loop.rounds_done += 1
            session.flush()
            open_round_if_due(session, loop)
        self.finished += 1

    @precondition(lambda self: self._open_round() is not None)
    @rule()
    def cancel_the_round(self) -> None:
        with self.catalog.write() as session:
            cancel(session, self._open_round() or "", "ann")

    def _open_round(self) -> str | None:
        with self.catalog.read() as session:
            child = jobs.open_child(session, self.loop)
            return child.id if child is not None else None

    @invariant()
    def pending_is_what_the_rules_say(self) -> None:
        wanted = {self.world.images[number] for number, each in enumerate(self.told) if each.pending}
        with self.catalog.read() as session:
            loop = session.get_one(Job, self.loop)
            rows = set(session.scalars(select(PendingImage.image_id).where(PendingImage.job_id == self.loop)))
            assert rows == wanted
            assert loop.pending == len(wanted) == count_pending(session, self.loop)
            assert loop.rounds_done == self.finished

    @invariant()
    def a_round_is_open_exactly_when_one_is_due(self) -> None:
        with self.catalog.read() as session:
            loop = session.get_one(Job, self.loop)
            rounds = session.scalars(select(Job).where(Job.parent_id == self.loop).order_by(Job.round_no)).all()
        opened = [each for each in rounds if each.status not in TERMINAL]
        assert len(opened) <= 1
        assert opened or loop.pending < ROUND_SIZE
        assert [each.round_no for each in rounds] == list(range(1, len(rounds) + 1))

    @invariant()
    def labels_are_as_they_were_told_and_each_event_has_its_number(self) -> None:
        with self.catalog.read() as session:
            rows = session.scalars(select(Label)).all()
            numbers = session.scalars(select(LabelEvent.seq).order_by(LabelEvent.seq)).all()
            seq = session.get_one(Dataset, self.world.dataset).label_seq
            opened = {row.id: row.open for row in session.scalars(select(Image))}
            leased = set(session.scalars(select(Lease.image_id)))
        found = {(self.world.images.index(row.image_id), int(row.fingerprint)): row.state for row in rows}
        assert found == {(n, c): state for n, each in enumerate(self.told) for c, state in each.contents.items()}
        assert list(numbers) == list(range(1, seq + 1))
        for number, row in enumerate(self.world.images):
            taken = number in self.skipped or self.told[number].labelled or row in leased
            assert opened[row] is not taken


def test_any_interleaving_of_labels_skips_and_rounds_keeps_what_is_pending(
    sqlite_template: Path, tmp_path: Path
) -> None:
    Quick.template, Quick.folder = sqlite_template, tmp_path
    run_state_machine_as_test(Counting, settings=settings(max_examples=20, stateful_step_count=25))
