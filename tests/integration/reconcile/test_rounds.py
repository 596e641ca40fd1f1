"""Loops whose round did not open, counts that drifted, and metrics on their way."""

from collections.abc import Callable

from sqlalchemy import delete, func, select, update

from configs.settings import Settings
from infra.adapters.catalog.tables import Job, Outbox, PendingImage
from infra.wiring import Parts
from tasks.reconcile import rounds
from tests.builders import World, start_loop
from tests.integration.reconcile.conftest import Round


def _pending(parts: Parts, loop: str, images: list[int], counted: int) -> None:
    with parts.catalog.write() as session:
        session.add_all(PendingImage(job_id=loop, image_id=image) for image in images)
        session.execute(update(Job).where(Job.id == loop).values(pending=counted))


def test_a_round_that_is_due_and_not_open_is_opened_once(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=2)
    _pending(parts, loop, world.images[:2], 2)
    assert rounds.rounds_due(parts) == 1
    assert rounds.rounds_due(parts) == 0
    with parts.catalog.read() as session:
        assert session.scalars(select(Job.round_no).where(Job.parent_id == loop)).all() == [1]


def test_a_loop_with_too_few_labels_is_left_alone(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=3)
    _pending(parts, loop, world.images[:2], 2)
    assert rounds.rounds_due(parts) == 0


def test_a_count_that_drifted_is_repaired_once_an_hour(parts: Parts, world: World, later: Callable[[], None]) -> None:
    loop = start_loop(parts.catalog, world, round_size=9)
    _pending(parts, loop, world.images[:2], 5)
    assert rounds.recount(parts) == 1
    _pending(parts, loop, [], 7)
    assert rounds.recount(parts) == 0
    later()
    assert rounds.recount(parts) == 1
    with parts.catalog.read() as session:
        assert session.get_one(Job, loop).pending == 2


def test_mlflow_is_told_while_a_round_trains_and_not_twice_at_once(
    parts: Parts, round_: Round, later: Callable[[], None]
) -> None:
    home, url = parts.settings.home, parts.settings.catalog_url
    tracked = Parts(Settings(home=home, catalog_url=url, mlflow_tracking_uri="http://127.0.0.1:9"))
    round_.claim()
    assert rounds.metrics_behind(tracked) == 0
    later()
    line = '{"name": "loss", "step": 1, "value": 0.5, "at": 1.0}\n'
    (parts.blobs.attempt_folder(round_.id, 1) / "events.jsonl").write_text(line)
    with parts.catalog.write() as session:
        session.execute(delete(Outbox))
    for _ in range(2):
        assert rounds.metrics_behind(tracked) == 1
        later()
    with parts.catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 1
    assert rounds.metrics_behind(parts) == 0, "no MLflow here"
    tracked.close()
