"""From the last label to the first training step and to the published model, by part; live answers meanwhile.

Two installations, as `teachback up` starts them: one as it is, one that has nothing warm. A round trains one epoch on
four volumes of 60 x 72 x 60 voxels, each labelled anew, and is judged on one more.
"""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import select

from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Attempt, Job, Outbox, Publication, StepMark
from tasks.images.sample.write import write_cases
from tests.bench import training
from tests.bench.frame import Bench, Row, at_most, percentile, reported
from tests.crash.ward import answer, key, make_dataset, make_experiment
from tests.fixtures_installation import Installation, running_installation
from tests.processes import wait_until

_OPEN = frozenset(JobStatus) - TERMINAL
CLOUD = "/api/v1/orgs/local"
VOLUMES = 4
ANSWERS = 20
STARTS = 5  # calls, each of which waits most of a minute for a realtime server that starts
COLD = {"TEACHBACK_WARM_HOST": "off", "TEACHBACK_WARM_FLOWS": "off"}


class StartingError(Exception):
    """The realtime server does not answer yet."""


class _PrefectState(BaseModel):
    type: str
    timestamp: datetime


@dataclass(frozen=True)
class Timeline:
    """One round, in seconds since the last label was counted."""

    run_made: float
    taken: float
    running: float
    claimed: float
    gathered: float
    first_step: float
    trained: float
    published: float

    def parts(self) -> dict[str, float]:
        """Return what passed between one moment and the next, up to the first step."""
        moments = {
            "outbox to flow run": self.run_made,
            "worker takes it": self.taken,
            "flow process starts": self.running,
            "claim": self.claimed,
            "gather": self.gathered,
            "host, data, first step": self.first_step,
        }
        before = [0.0, *moments.values()]
        return {name: moment - before[number] for number, (name, moment) in enumerate(moments.items())}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure rounds warm and cold, and what training costs beside its arithmetic."""
    with _clinic(bench.folder / "warm", {}) as clinic:
        wait_until(clinic.warm, "the warm processes", within_s=225)
        clinic.round()  # the first one prepares its images
        warm = [clinic.round() for _ in range(bench.repeats)]
        idle, busy = clinic.answers(), clinic.answers_while_training()
        started = [clinic.first_answer() for _ in range(bench.repeats)]
    yield at_most("last label to first step, warm", 4, "s", [each.first_step for each in warm], _told(warm))
    with _clinic(bench.folder / "cold", COLD) as clinic:
        cold = [clinic.round()]
        started_cold = [clinic.first_answer()]
    yield at_most("last label to first step, cold", 12, "s", [each.first_step for each in cold], _told(cold))
    note = "last label to published; MONAI Label's train call: 12.5-15 s"
    yield at_most("1 epoch of 4 volumes, warm", 8, "s", [each.published for each in warm], note)
    yield reported("of this, in the bundle host's training step by step", "s", [e.trained - e.first_step for e in warm])
    shares = [percentile(busy, 0.95) / percentile(idle, 0.95)]
    told = f"p95 {percentile(idle, 0.95) * 1000:.0f} ms idle, {percentile(busy, 0.95) * 1000:.0f} ms; {ANSWERS} each"
    yield at_most("live answer while a round trains ÷ idle, p95", 2, "x", shares, told)
    yield reported("realtime experiment created to its first answer, warm", "s", started)
    yield reported("realtime experiment created to its first answer, nothing warm", "s", started_cold)
    yield from training.rows(bench)


def _told(timelines: Sequence[Timeline]) -> str:
    """Return the median of each part."""
    parts = [timeline.parts() for timeline in timelines]
    return ", ".join(f"{name} {statistics.median(each[name] for each in parts):.2f}" for name in parts[0])


@contextmanager
def _clinic(folder: Path, settings: Mapping[str, str]) -> Iterator["_Clinic"]:
    """Run an installation with labelled volumes, its realtime server ready and its loop waiting for labels."""
    folder.mkdir()
    write_cases(folder / "images", folder / "truth", count=VOLUMES, seed=1)
    write_cases(folder / "held-out", folder / "held-out-truth", count=1, seed=2, first=101)
    (folder / "held-out-truth").rename(folder / "held-out" / "labels")
    with running_installation(folder / "home", settings) as installation, installation.client() as client:
        train, judge = (make_dataset(client, folder / name) for name in ("images", "held-out"))
        experiment = make_experiment(client, train, judge, realtime=True)
        catalog = installation.catalog()
        clinic = _Clinic(installation, client, catalog, folder / "truth", train, judge, experiment)
        clinic.start_loop()
        yield clinic
        catalog.close()


@dataclass
class _Clinic:
    """One installation, its people and its catalog."""

    installation: Installation
    client: httpx.Client
    catalog: Catalog
    truth: Path
    dataset: str
    judge: str
    experiment: str
    said: int = 0

    def start_loop(self) -> None:
        """Have every four labels make a round of one epoch, whose model is published."""
        specs = {"round_size": VOLUMES, "train_spec": {"epochs": 1}, "publish": "auto"}
        self._job("annotation", specs)

    def warm(self) -> bool:
        """Say whether every process that is forked from is there."""
        run = self.installation.home / "run"
        return all((run / name).exists() for name in ("warm.sock", "flows.sock"))

    def round(self) -> Timeline:
        """Label every volume anew and wait until the round that this makes due has ended."""
        self.said += 1
        for number in range(1, VOLUMES + 1):
            self._label(number)
        job = self._newest_round()
        wait_until(lambda: self._status(job) not in _OPEN, "the round to end", within_s=300)
        assert self._status(job) == JobStatus.DONE, self._message(job)
        return self._timeline(job)

    def answers(self) -> list[float]:
        """Return the seconds of fresh answers, one after the other."""
        return [self._infer(self.experiment) for _ in range(ANSWERS)]

    def first_answer(self) -> float:
        """Return the seconds from an experiment's creation to its first answer; then it is deleted."""
        began = time.perf_counter()
        experiment = make_experiment(self.client, self.dataset, self.judge, realtime=True)
        for _ in range(STARTS):
            with suppress(StartingError):
                self._infer(experiment)
                break
        seconds = time.perf_counter() - began
        self.client.delete(f"{CLOUD}/experiments/{experiment}").raise_for_status()
        return seconds

    def answers_while_training(self) -> list[float]:
        """As `answers`, while a training runs that takes longer than all of them."""
        job = self._job("train", {"epochs": 100_000})
        wait_until(lambda: self._stepped(job), "the training's first step", within_s=300)
        found = self.answers()
        assert self._status(job) == JobStatus.RUNNING, self._message(job)
        self.client.post(f"{CLOUD}/experiments/{self.experiment}/jobs/{job}:cancel").raise_for_status()
        wait_until(lambda: self._status(job) not in _OPEN, "the training to be cancelled", within_s=150)
        return found

    def _infer(self, experiment: str) -> float:
        self.said += 1
        # A parameter that no bundle has makes a question that was not asked before.
        specs = {"image": key(1 + self.said % VOLUMES), "bundle_params": {"asked": self.said}}
        began = time.perf_counter()
        body = {"action": "inference", "specs": specs}
        reply = self.client.post(f"{CLOUD}/experiments/{experiment}/jobs", json=body)
        if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise StartingError(reply.text)
        assert reply.status_code == httpx.codes.CREATED, reply.text  # with the label map itself
        return time.perf_counter() - began

    def _job(self, action: str, specs: Mapping[str, Any]) -> str:
        body = {"action": action, "specs": specs}
        return str(answer(self.client.post(f"{CLOUD}/experiments/{self.experiment}/jobs", json=body), 201))

    def _label(self, number: int) -> None:
        """Save the truth with one voxel changed, so that it is another label than before."""
        known = nib.load(self.truth / f"{key(number)}.nii.gz")
        values = np.asarray(known.dataobj).copy()
        values.flat[self.said] = 1 - values.flat[self.said]
        path = self.installation.home.parent / "label.nii.gz"
        nib.save(nib.Nifti1Image(values, known.affine), path)
        with path.open("rb") as file:
            reply = self.client.put(
                f"/label/{self.dataset}/datastore/label",
                params={"image": key(number)},
                files={"label": ("label.nii.gz", file)},
            )
        answer(reply, 200)

    def _newest_round(self) -> str:
        query = select(Job.id).where(Job.experiment_id == self.experiment, Job.parent_id.is_not(None))
        with self.catalog.read() as session:
            return session.scalars(query.order_by(Job.round_no.desc())).first() or ""

    def _row(self, job: str) -> Job:
        with self.catalog.read() as session:
            return session.get_one(Job, job)

    def _status(self, job: str) -> str:
        return self._row(job).status

    def _message(self, job: str) -> str:
        return self._row(job).message

    def _stepped(self, job: str) -> bool:
        return self._row(job).first_step_at is not None

    def _timeline(self, job: str) -> Timeline:
        with self.catalog.read() as session:
            row, attempt = session.get_one(Job, job), session.get_one(Attempt, (job, 1))
            made = select(Outbox.done_at).where(Outbox.kind == OutboxKind.START_FLOW, Outbox.ref == job)
            marks = {mark.step: mark.at for mark in session.scalars(select(StepMark).where(StepMark.job_id == job))}
            published = session.scalars(select(Publication.at).where(Publication.job_id == job)).one()
            run_made = session.scalars(made).one()
        states = self._prefect_states(attempt.flow_run_id or "")
        moments = [
            run_made,
            states["PENDING"],
            states["RUNNING"],
            attempt.claimed_at,
            marks["gather"],
            row.first_step_at,
            marks["fine_tune"],
            published,
        ]
        return Timeline(*(float(moment or 0.0) - float(row.due_at or 0.0) for moment in moments))

    def _prefect_states(self, run: str) -> dict[str, float]:
        """Return when a run entered each of its states."""
        found = self.installation.environment("infra.adapters.orchestration.worker")
        user, _, word = found["PREFECT_API_AUTH_STRING"].partition(":")
        with httpx.Client(base_url=found["PREFECT_API_URL"], auth=(user, word), timeout=120) as prefect:
            reply = prefect.get("/flow_run_states/", params={"flow_run_id": run})
            states = TypeAdapter(list[_PrefectState]).validate_json(reply.raise_for_status().content)
        return {state.type: state.timestamp.timestamp() for state in reversed(states)}
