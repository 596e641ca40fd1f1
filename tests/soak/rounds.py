"""kill -9 of whoever runs a round, at every named point: the next attempt ends it, and nothing is there twice.

`python -m tests.soak.rounds FOLDER CATALOG_URL TIMES` kills at each point so often and prints what is wrong as JSON.
The rounds are real but for their bundle hosts, which train nothing: kills of those are in tests/crash.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select

from configs.settings import Settings
from configs.states import JobStatus
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion, PendingImage, Publication, StepMark
from infra.wiring import Parts
from tasks.reconcile import attempts
from tasks.rounds.steps import work
from tests.fixtures_installation import ROOT
from tests.rounds_in_memory import Ward, build_ward
from tests.runs_in_memory import RunsInMemory
from tests.training_in_memory import TrainingInMemory

POINTS = (
    "claimed",
    "window-closed",
    "before-mark-gather",
    "before-training",
    "weights-stored",
    "before-mark-fine_tune",
    "before-mark-evaluate",
    "published",
    "finished",
)
LEASE_S = 0.5


def kills(folder: Path, catalog_url: str, times: int) -> list[str]:
    """Run the program in a process of its own and return what it found wrong."""
    command = [sys.executable, "-m", "tests.soak.rounds", str(folder), catalog_url, str(times)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Fork a process for every step: this one opens no catalog, so nothing is shared."""
    folder, url, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rounds = [point for _ in range(times) for point in POINTS]
    folder.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    _warm_up(folder)
    _expect(0, _in_child(lambda: _make(folder, url, len(rounds))), "making the ward", said)
    for number, point in enumerate(rounds):
        _expect(-signal.SIGKILL, _in_child(lambda: _begin(folder, url, number, point)), f"dying at {point}", said)  # noqa: B023 - it runs before the loop goes on
        _expect(0, _in_child(lambda: _go_on(folder, url)), f"going on after {point}", said)
    _expect(0, _in_child(lambda: _look(folder, url, len(rounds))), "looking at the end", said)
    found = folder / "wrong.json"
    print(json.dumps(said + (json.loads(found.read_text()) if found.exists() else [])))  # noqa: T201 - its answer


def _warm_up(folder: Path) -> None:
    """Run a round that nobody looks at, so that what is imported and compiled at first use is there for all."""
    place = folder / "first"
    place.mkdir()
    catalog = Catalog(f"sqlite+pysqlite:///{place / 'catalog.db'}")
    catalog.migrate()
    catalog.close()
    url = f"sqlite+pysqlite:///{place / 'catalog.db'}"
    _make(place, url, 1)
    _begin(place, url, 0, "")


def _in_child(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - process edge: the parent is told by the status
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _expect(wanted: int, status: int, what: str, said: list[str]) -> None:
    if status != wanted:
        said.append(f"{what}: ended with {status} instead of {wanted}")


def _open(folder: Path, url: str, point: str = "") -> Ward:
    settings = Settings(
        home=folder / "home",
        catalog_url=url,
        testing=True,
        failpoint=point,
        attempt_lease_s=LEASE_S,
        attempt_renew_s=0.1,
    )
    parts = Parts(settings, orchestrator=RunsInMemory(), hosts=TrainingInMemory())
    known = folder / "ward.json"
    if not known.exists():
        return build_ward(parts, TrainingInMemory(), folder, train=[])
    told = json.loads(known.read_text())
    return Ward(parts, TrainingInMemory(), folder, told["dataset"], told["experiment"], {})


def _make(folder: Path, url: str, patients: int) -> None:
    settings = Settings(home=folder / "home", catalog_url=url)
    settings.home.mkdir()
    parts = Parts(settings, orchestrator=RunsInMemory(), hosts=TrainingInMemory())
    names = [f"t{number}" for number in range(patients)]
    ward = build_ward(parts, TrainingInMemory(), folder, train=names)
    loop = ward.loop(1, "auto")
    told = {"dataset": ward.dataset, "experiment": ward.experiment, "loop": loop}
    (folder / "ward.json").write_text(json.dumps(told))
    parts.close()


def _begin(folder: Path, url: str, number: int, point: str) -> None:
    """Label one more image, which makes a round due, and work on that until death."""
    living = _open(folder, url)
    living.label(f"t{number}", drawn=number % 100 + 1)
    job = _open_round(living)
    living.parts.close()
    ward = _open(folder, url, point)
    held = work.claim(ward.parts, job, 1)
    assert held is not None
    ward.run(held)
    ward.parts.close()


def _go_on(folder: Path, url: str) -> None:
    """Do as reconciler and worker do: miss the dead attempt when its lease is over, and run the next."""
    ward = _open(folder, url)
    job = _newest(ward)
    while job.status not in {JobStatus.DONE, JobStatus.ERROR}:
        attempts.leases_over(ward.parts)
        held = work.claim(ward.parts, job.id, _newest(ward).current_attempt)
        if held is None:
            time.sleep(LEASE_S / 5)
        else:
            ward.run(held)
        job = _newest(ward)


def _open_round(ward: Ward) -> str:
    job = _newest(ward)
    assert job.status == JobStatus.PENDING, job.status
    return job.id


def _newest(ward: Ward) -> Job:
    with ward.parts.catalog.read() as session:
        return session.scalars(select(Job).where(Job.action == "train").order_by(Job.round_no.desc()).limit(1)).one()


def _look(folder: Path, url: str, rounds: int) -> None:
    ward = _open(folder, url)
    (folder / "wrong.json").write_text(json.dumps(_wrong(ward.parts.catalog, ward, rounds)))


def _wrong(catalog: Catalog, ward: Ward, rounds: int) -> list[str]:
    with catalog.read() as session:
        jobs = session.scalars(select(Job).where(Job.action == "train").order_by(Job.round_no)).all()
        made = session.scalars(select(ModelVersion.job_id).where(ModelVersion.job_id.is_not(None))).all()
        shown = session.scalars(select(Publication).where(Publication.job_id.is_not(None))).all()
        marks = session.execute(select(StepMark.job_id, func.count()).group_by(StepMark.job_id)).tuples().all()
        loop = session.scalars(select(Job).where(Job.action == "annotation")).one()
        rows = session.scalar(select(func.count()).select_from(PendingImage))
        published = session.get_one(Experiment, ward.experiment)
        numbers = session.scalars(select(Publication.seq).order_by(Publication.seq)).all()
    wrong = [f"round {job.round_no} is {job.status}: {job.message}" for job in jobs if job.status != JobStatus.DONE]
    wrong += [] if [job.round_no for job in jobs] == list(range(1, rounds + 1)) else ["rounds are missing or doubled"]
    wrong += [] if sorted(map(str, made)) == sorted(job.id for job in jobs) else ["versions are missing or doubled"]
    of_jobs = sorted(str(each.job_id) for each in shown)
    wrong += [] if of_jobs == sorted(job.id for job in jobs) else ["publications are missing or doubled"]
    wrong += [] if list(numbers) == list(range(1, published.published_seq + 1)) else ["publications skip a number"]
    wrong += [] if len(marks) == rounds else ["steps of some rounds are not marked"]
    wrong += [] if (loop.pending, rows) == (0, 0) else [f"{loop.pending} labels pending, {rows} rows"]
    wrong += [] if loop.rounds_done == rounds else [f"{loop.rounds_done} rounds done of {rounds}"]
    return wrong


if __name__ == "__main__":
    main()
