"""Scores are refreshed in order of use, in shards, go on after a kill, and end when a newer model is out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from configs.errors import BundleError, HostDiedError, SupersededError
from configs.specs.round import RoundSpec
from configs.wire.host import Failed, HostMessage, HostRequest, ImageScore, Ready, ScoreRequest
from configs.wire.order import Ordered, OrderRequest
from infra.adapters.catalog.tables import Candidate, Dataset, Experiment, Image, Job, ModelVersion
from infra.wiring import Parts
from tasks.compute.scoring.subject import Beside
from tasks.delivery.dispatch import deliver_due
from tasks.images.sync import sync_dataset
from tasks.rounds.count import notify
from tasks.rounds.jobs.pause import pause
from tasks.rounds.jobs.start import start_train
from tasks.rounds.steps.work import claim
from tasks.selection.leases import reclaim
from tasks.selection.next_image import next_image
from tasks.selection.refresh import refresh_experiment, refresh_scores
from tasks.selection.scores import keep_score
from tasks.selection.scoring import score_as_asked, start_scoring
from tests.builders import BUNDLE, World, add_version, build, notice, second_experiment, start_loop
from tests.hosts_in_memory import HostInMemory, HostsInMemory
from tests.runs_in_memory import RunsInMemory

NAMES = ("a", "b", "c", "d", "e")


class ToldHosts(HostsInMemory):
    """Starts bundle hosts that score each image by its place in the request, and do what is said in between.

    Args:
        between: Called before each score with the number of scores so far; may raise what ends the host.
    """

    def __init__(self, between: Callable[[int], HostMessage | None] = lambda _: None) -> None:
        self.between = between
        self.requests: list[ScoreRequest] = []
        self.features: dict[int, list[float]] = {}
        self.orders: list[Beside] = []
        self.order_fails = False
        self.scored = 0

    def host(self, request: HostRequest, work: Path) -> "ToldHost | OrderingHost":
        """Start one."""
        if isinstance(request, OrderRequest):
            return OrderingHost(self, request, work)
        assert isinstance(request, ScoreRequest)
        self.requests.append(request)
        return ToldHost(self, request)


class ToldHost(HostInMemory):
    """One of them."""

    def __init__(self, hosts: ToldHosts, request: ScoreRequest) -> None:
        self._hosts, self._request = hosts, request

    def messages(self) -> Iterator[HostMessage]:
        yield Ready()
        for case in self._request.images:
            said = self._hosts.between(self._hosts.scored)
            self._hosts.scored += 1
            told = self._hosts.features.get(int(case.id), [])
            yield said or ImageScore(image=case.id, score=1 / self._hosts.scored, by="flips", features=told)


class OrderingHost(HostInMemory):
    """One that gives images their first feature as their score."""

    def __init__(self, hosts: ToldHosts, request: OrderRequest, work: Path) -> None:
        self._hosts, self._request, self._work = hosts, request, work

    def messages(self) -> Iterator[HostMessage]:
        if self._hosts.order_fails:
            raise HostDiedError("killed")
        with np.load(self._request.features) as told:
            beside = Beside(told["features"], told["taken"], self._request.progress, self._request.seed)
        self._hosts.orders.append(beside)
        self._work.mkdir()
        np.save(self._work / "scores.npy", beside.features[:, 0])
        yield Ordered(path=str(self._work / "scores.npy"))


@pytest.fixture
def world(parts: Parts, tmp_path: Path) -> World:
    """Five images in a folder, nothing scored."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMES:
        nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), dtype=np.float32), np.eye(4)), folder / f"{name}.nii.gz")
    bundle = parts.settings.home / "bundles" / BUNDLE / "configs"
    bundle.mkdir(parents=True)
    (bundle / "metadata.json").write_text("{}")
    made = build(parts.catalog, images=0)
    with parts.catalog.write() as session:
        session.get_one(Dataset, made.dataset).spec = {"kind": "folder", "url": str(folder)}
    sync_dataset(parts, made.dataset)
    with parts.catalog.read() as session:
        images = list(session.scalars(select(Image.id).order_by(Image.shuffle)))
    return World(made.dataset, made.experiment, made.version, images)


def _hosts(parts: Parts, between: Callable[[int], HostMessage | None] = lambda _: None) -> ToldHosts:
    return ToldHosts(between).put_into(parts)


def _asked(hosts: ToldHosts) -> list[list[int]]:
    return [[int(case.id) for case in request.images] for request in hosts.requests]


def test_images_are_scored_in_shards_those_first_that_would_be_given_first(parts: Parts, world: World) -> None:
    older = world.version
    with parts.catalog.write() as session:
        for image, score in zip(world.images[3:], (0.2, 0.8), strict=True):
            keep_score(session, older, image, "epistemic", score)
        session.get_one(Experiment, world.experiment).strategy = "epistemic"
    version = _newer(parts, world)
    _publish(parts, world, version)
    hosts = _hosts(parts)

    assert refresh_scores(parts, world.experiment, world.dataset, chunk=2).images == 5

    first, second, third = world.images[:3]
    assert _asked(hosts) == [[world.images[4], world.images[3]], [first, second], [third]]
    assert {request.method for request in hosts.requests} == {"epistemic"}
    with parts.catalog.read() as session:
        rows = session.scalars(select(Candidate)).all()
    assert {(row.version_id, row.by) for row in rows} == {(version, "flips")}
    assert refresh_experiment(parts, world.experiment) == 0


def test_after_a_kill_the_next_refresh_does_only_what_is_left(parts: Parts, world: World) -> None:
    def killed(scored: int) -> None:
        if scored == 2:
            raise HostDiedError("killed")

    _hosts(parts, killed)
    with pytest.raises(HostDiedError):
        refresh_scores(parts, world.experiment, world.dataset)
    hosts = _hosts(parts)

    assert refresh_experiment(parts, world.experiment, "entropy") == 3
    assert _asked(hosts) == [world.images[2:]]


def test_a_newer_model_ends_the_refresh(parts: Parts, world: World) -> None:
    newer = _newer(parts, world)

    def publish(scored: int) -> None:
        if scored == 1:
            _publish(parts, world, newer)

    hosts = _hosts(parts, publish)
    assert refresh_scores(parts, world.experiment, world.dataset, chunk=2).images == 1
    assert len(hosts.requests) == 1


def test_an_image_that_fails_is_left_out_and_a_bundle_that_fails_ends_it(parts: Parts, world: World) -> None:
    _hosts(
        parts, lambda scored: Failed(id=str(world.images[0]), code="bad_input", message="?") if scored == 0 else None
    )
    assert refresh_scores(parts, world.experiment, world.dataset, chunk=3).images == 4

    _hosts(parts, lambda _: Failed(code="bundle_error", message="?"))
    with pytest.raises(BundleError):
        refresh_scores(parts, world.experiment, world.dataset)


def test_what_is_no_volume_is_skipped_with_the_reason(parts: Parts, world: World, tmp_path: Path) -> None:
    with parts.catalog.read() as session:
        broken = session.get_one(Image, world.images[0]).key
    (tmp_path / "images" / f"{broken}.nii.gz").write_bytes(b"not packed at all")
    sync_dataset(parts, world.dataset)
    _hosts(parts)

    assert refresh_scores(parts, world.experiment, world.dataset).images == 4
    with parts.catalog.read() as session:
        image = session.get_one(Image, world.images[0])
    assert (image.open, image.skipped_by) == (False, "system")
    assert "NIfTI" in image.skipped_reason


def test_a_model_that_has_not_learnt_the_experiments_labels_is_asked_only_what_images_are_like(
    parts: Parts, world: World
) -> None:
    with parts.catalog.write() as session:
        session.get_one(Experiment, world.experiment).labels = {"1": "spleen"}
    hosts = _hosts(parts)

    assert refresh_experiment(parts, world.experiment) == 5
    assert {request.method for request in hosts.requests} == {"diversity"}


def test_images_are_ordered_beside_each_other_and_beside_what_is_labelled(parts: Parts, world: World) -> None:
    given = _next(parts, world)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(given)], "ann")
        session.get_one(Experiment, world.experiment).strategy = "diversity"
    hosts = _hosts(parts)
    hosts.features = {image: [float(place)] for place, image in enumerate(world.images)}

    refresh_experiment(parts, world.experiment)
    ordered = hosts.orders[0]
    assert ordered.taken.tolist() == [image == given for image in sorted(world.images)]
    assert ordered.features[:, 0].tolist() == [world.images.index(image) for image in sorted(world.images)]
    # The host's order: the highest feature first.
    assert [_next(parts, world) for _ in range(4)] == [image for image in world.images[::-1] if image != given]

    refresh_experiment(parts, world.experiment)
    assert len(hosts.orders) == 1, "nothing new was seen"


def test_scoring_goes_on_while_a_training_waits_for_another_job(parts: Parts, world: World) -> None:
    other, hosts = second_experiment(parts.catalog, world, {"1": "spleen"}), _hosts(parts)
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, other.experiment)
        before = start_train(session, experiment, RoundSpec(), actor="ann")
        start_train(session, experiment, RoundSpec(publish="none"), actor="ann", after=before.id)
    assert refresh_experiment(parts, world.experiment) == 0, "the first of the two needs the place"
    with parts.catalog.write() as session:
        pause(session, before.id)
    assert refresh_experiment(parts, world.experiment) == 5
    assert len(hosts.requests) == 1


def test_an_order_that_was_lost_is_made_by_the_next_refresh(parts: Parts, world: World) -> None:
    with parts.catalog.write() as session:
        session.get_one(Experiment, world.experiment).strategy = "clasp"
    hosts = _hosts(parts)
    hosts.features = {image: [float(place)] for place, image in enumerate(world.images)}
    hosts.order_fails = True
    with pytest.raises(HostDiedError):
        refresh_experiment(parts, world.experiment)

    hosts.order_fails = False
    assert refresh_experiment(parts, world.experiment) == 0
    assert [_next(parts, world) for _ in range(2)] == [world.images[4], world.images[3]]


def test_strided_images_lie_evenly_over_the_ids_without_any_model(parts: Parts, world: World) -> None:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        experiment.strategy, experiment.labels = "strided", {"1": "spleen"}
    hosts = _hosts(parts)

    assert refresh_experiment(parts, world.experiment) == 5
    assert hosts.requests == []
    with parts.catalog.read() as session:
        by_key = list(session.scalars(select(Image.id).order_by(Image.key)))
    # Every fifth image is one to evaluate, whatever the strategy says.
    assert [_next(parts, world) for _ in range(4)] == [by_key[place] for place in (0, 4, 2, 1)]


def test_what_is_labelled_in_other_names_is_scored_too(parts: Parts, world: World) -> None:
    other = second_experiment(parts.catalog, world, {"1": "spleen"})
    with parts.catalog.write() as session:
        said = notice(world.images[0]).model_copy(update={"names": {"1": "spleen"}})
        next_image(session, world.dataset, holder="ann", experiment_id=world.experiment)
        reclaim(session, world.dataset, lease_s=-1)
        reclaim(session, world.dataset)
        notify(session, world.dataset, [said], "ann")
    hosts = _hosts(parts)

    assert refresh_scores(parts, world.experiment, world.dataset).images == 5
    assert refresh_scores(parts, other.experiment, world.dataset).images == 5, "one of them is labelled already"
    asked = [request.method for request in hosts.requests]
    assert asked == ["entropy", "diversity"], "the other one has not learnt its label yet"


def _next(parts: Parts, world: World) -> int:
    """Return the image that an annotator is given next."""
    with parts.catalog.write() as session:
        return next_image(session, world.dataset, holder="ann", experiment_id=world.experiment).id


def _newer(parts: Parts, world: World) -> str:
    """Make a version with the bundle's own weights; returns its id."""
    version = add_version(parts.catalog, world, 1)
    with parts.catalog.write() as session:
        session.get_one(ModelVersion, version).weights = None
    return version


def _publish(parts: Parts, world: World, version: str) -> None:
    with parts.catalog.write() as session:
        session.get_one(Experiment, world.experiment).published_version = version


def test_a_loop_without_a_model_asks_for_an_order_at_its_start(parts: Parts, world: World, runs: RunsInMemory) -> None:
    with parts.catalog.write() as session:
        session.get_one(Experiment, world.experiment).labels = {"1": "spleen"}
    start_loop(parts.catalog, world, round_size=5)
    deliver_due(parts)
    assert list(runs.parameters.values()) == [{"experiment": world.experiment}]


def test_scores_that_are_asked_for_are_a_job_that_is_asked_for_once(
    parts: Parts, world: World, runs: RunsInMemory
) -> None:
    hosts = _hosts(parts)
    job_id = _ask(parts, world, "epistemic")
    assert [_ask(parts, world, "epistemic"), _ask(parts, world, "entropy") == job_id] == [job_id, False]
    deliver_due(parts)
    assert {"job_id": job_id, "attempt": 1} in runs.parameters.values()

    held = claim(parts, job_id, 1)
    assert held is not None
    score_as_asked(parts, held)

    assert {request.method for request in hosts.requests} == {"epistemic"}
    with parts.catalog.read() as session:
        done = session.get_one(Job, job_id)
    assert (done.status, done.result) == ("Done", {"method": "epistemic", "scored": 5})
    assert _ask(parts, world, "epistemic") != job_id, "images may have come since"
    with pytest.raises(SupersededError):
        score_as_asked(parts, held)


def test_a_job_says_that_it_gave_way_to_a_round_only_where_something_is_left(parts: Parts, world: World) -> None:
    def waits(scored: int) -> None:
        if scored == 4:
            with parts.catalog.write() as session:
                start_train(session, session.get_one(Experiment, world.experiment), RoundSpec(), actor="ann")

    _hosts(parts, waits)
    said = [_done(parts, world, "entropy"), _done(parts, world, "strided")]

    assert said == [
        "entropy: 4 scores are new; it gave way to a round that waits: ask again for the rest",
        "strided: 5 scores are new",
    ]


def _done(parts: Parts, world: World, method: str) -> str:
    job_id = _ask(parts, world, method)
    deliver_due(parts)
    held = claim(parts, job_id, 1)
    assert held is not None
    score_as_asked(parts, held)
    with parts.catalog.read() as session:
        return session.get_one(Job, job_id).message


def _ask(parts: Parts, world: World, method: str) -> str:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        job, _ = start_scoring(session, experiment, world.dataset, method, actor="ann", request={})
        return job.id
