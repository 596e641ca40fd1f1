"""A whole installation at work for a while: annotators, rounds and swaps, and a fault every so often.

`teachback up` on a home of its own; its image folder, its Prefect and its MLflow go away for a minute each, and its
processes are killed in turn. Afterwards nothing that was acknowledged may be missing or doubled, and what lived all
the time may not have grown.
"""

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import psutil
from sqlalchemy import select

from configs.settings import Settings
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog.tables import Experiment, Job, Publication
from infra.wiring import Parts
from tasks.images.sample.write import write_cases
from tests.crash.ward import CLOUD, NATIVE, answer, key, make_dataset, make_experiment
from tests.fixtures_installation import SHORT, Installation, client, command, running_installation
from tests.processes import wait_until
from tests.soak.ledger import Found, Ledger, check

CASES, PEOPLE, AWAY_S = 8, 3, 60.0
# Who looks at an image before saving leaves the processors to rounds, as people do.
LOOKS_S = 2.0
FAULT_EVERY_S = 100.0
SAMPLED_EVERY_S = 5.0
_KINDS = ("infra.doors.api", "infra.doors.realtime", "infra.adapters.tracking", "worker", "prefect")


@dataclass
class Week:
    """What came of it.

    Attributes:
        found: What is lost, doubled or miscounted.
        statuses: How often each call was answered how.
        rounds: How many rounds ended how.
        publications: Models that were published, one after the other without a gap.
        faults: What was done to it, in order.
        growth: Of each process that lived for most of the time: MiB and open files in its first and last quarter.
        wrong: Whatever else is not as it should be.
    """

    found: Found = field(default_factory=lambda: Found([], [], []))
    statuses: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    publications: int = 0
    faults: list[str] = field(default_factory=list)
    growth: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    acknowledged: int = 0
    seconds: float = 0.0


class Hospital:
    """The installation and what happens in it."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.folder = folder
        self.week = Week()
        self.ledger = Ledger()
        self._stop = threading.Event()
        self._samples: dict[int, list[tuple[str, float, int]]] = {}
        self._lock = threading.Lock()
        write_cases(folder / "images", folder / "truth", count=CASES, seed=1, spacing_mm=6)
        write_cases(folder / "held-out", folder / "held-out-truth", count=2, seed=2, spacing_mm=6, first=101)
        (folder / "held-out-truth").rename(folder / "held-out" / "labels")
        with installation.client() as http:
            self.dataset = make_dataset(http, folder / "images")
            judge = make_dataset(http, folder / "held-out")
            self.experiment = make_experiment(http, self.dataset, judge, realtime=True)
            specs = {"round_size": 4, "train_spec": {"epochs": 2}, "publish": "auto"}
            body = {"action": "annotation", "specs": specs}
            self.loop = answer(http.post(f"{CLOUD}/experiments/{self.experiment}/jobs", json=body), 201)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let annotators work, and look at the processes, until the block ends."""
        threads = [threading.Thread(target=self._annotate, args=(number,)) for number in range(PEOPLE)]
        threads.append(threading.Thread(target=self._watch))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _annotate(self, person: int) -> None:
        chance = Random(person)
        with client(self.installation.address, self.installation.key) as http:
            for turn in range(10**9):
                if self._stop.is_set():
                    return
                number = chance.randrange(1, CASES + 1)
                self._note("inference", lambda: self._infer(http, number))  # noqa: B023 - called before the loop goes on
                self._stop.wait(LOOKS_S)
                self._save(http, person, turn, number)

    def _infer(self, http: httpx.Client, number: int) -> httpx.Response:
        body = {"action": "inference", "specs": {"image": key(number)}}
        return http.post(f"{CLOUD}/experiments/{self.experiment}/jobs", json=body)

    def _save(self, http: httpx.Client, person: int, turn: int, number: int) -> None:
        """Save a label that nobody saved before; again and again until it is acknowledged."""
        path, sha256 = self._draw(person, turn, number)
        for tried in range(10**9):
            reply = self._note("save", lambda: self._put(http, number, path))
            if reply is not None and reply.is_success:
                self.ledger.note(reply.json()["label"], key(number), sha256, again=tried > 0)
                return
            if self._stop.wait(0.5) and tried > 600:  # five minutes after the end
                self.week.wrong.append(f"a label of image {number} was never acknowledged")
                return

    def _put(self, http: httpx.Client, number: int, path: Path) -> httpx.Response:
        with path.open("rb") as file:
            params, files = {"image": key(number)}, {"label": ("label.nii", file)}
            return http.put(f"/label/{self.dataset}/datastore/label", params=params, files=files)

    def _draw(self, person: int, turn: int, number: int) -> tuple[Path, str]:
        truth: Any = nib.load(self.folder / "truth" / f"{key(number)}.nii.gz")
        array = np.asarray(truth.dataobj).astype(np.uint8)
        array.flat[:40] = [int(digit) for digit in f"{(turn * PEOPLE + person):040b}"]
        path = self.folder / f"drawn-{person}.nii"
        nib.save(nib.Nifti1Image(array, truth.affine), path)
        return path, _sha256(path)

    def _note(self, what: str, call: Callable[[], httpx.Response]) -> httpx.Response | None:
        reply: httpx.Response | None = None
        with suppress(httpx.TransportError):
            reply = call()
        said = "no answer" if reply is None else str(reply.status_code)
        with self._lock:
            self.week.statuses[f"{what}: {said}"] += 1
        return reply

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLED_EVERY_S):
            for process in self.installation.processes():
                kind = next((each for each in _KINDS if any(each in word for word in command(process))), None)
                try:
                    mib, files = process.memory_info().rss / 2**20, process.num_fds()
                except psutil.Error:
                    continue
                if kind is not None:
                    self._samples.setdefault(process.pid, []).append((kind, mib, files))

    def look(self, seconds: float) -> Week:
        """Wait for the open round's end, and compare everything with what was promised."""
        self.week.seconds = seconds
        self.week.acknowledged = len(self.ledger.acknowledged)
        with self.installation.client() as http:
            path = f"{CLOUD}/experiments/{self.experiment}/jobs/{self.loop}:pause"
            wait_until(lambda: http.post(path).is_success, "the loop to be paused")
        parts = Parts(Settings(home=self.installation.home))
        wait_until(lambda: not _open(parts), "the last round to end", within_s=1500)
        self.week.found = check(parts, self.dataset, self.ledger)
        with parts.catalog.read() as session:
            rounds = session.scalars(select(Job).where(Job.action == "train").order_by(Job.round_no)).all()
            numbers = session.scalars(select(Publication.seq).order_by(Publication.seq)).all()
            seq = session.get_one(Experiment, self.experiment).published_seq
        self.week.rounds = Counter(str(JobStatus(each.status)) for each in rounds)
        self.week.wrong += [f"round {each.round_no}: {each.message}" for each in rounds if each.status == "Error"]
        if [each.round_no for each in rounds] != list(range(1, len(rounds) + 1)):
            self.week.wrong.append("rounds are missing or doubled")
        if sorted(numbers)[-seq:] != list(range(1, seq + 1)):
            self.week.wrong.append("publications skip a number")
        self.week.publications = seq
        wait_until(lambda: self._served() == seq, "the last model to be served", within_s=750)
        parts.close()
        self.week.growth = self._grown()
        return self.week

    def _served(self) -> int | None:
        with self.installation.client() as http:
            slots = answer(http.get(f"{NATIVE}/status"), 200)["slots"]
        return next((slot["serving_seq"] for slot in slots if slot["experiment_id"] == self.experiment), None)

    def _grown(self) -> list[str]:
        most = max((len(each) for each in self._samples.values()), default=0)
        lines = []
        for samples in self._samples.values():
            if len(samples) < most / 2:
                continue
            part = max(1, len(samples) // 4)
            first, last = samples[part : 2 * part] or samples, samples[-part:]
            mib = [median(each[1] for each in some) for some in (first, last)]
            files = [median(each[2] for each in some) for some in (first, last)]
            name = samples[0][0].rpartition(".")[2]
            told = f"{name}: {mib[0]:.0f} → {mib[1]:.0f} MiB, {files[0]:.0f} → {files[1]:.0f} files"
            lines.append(f"{told} (from its second to its last quarter of {len(samples) * SAMPLED_EVERY_S:.0f} s)")
        return sorted(lines)


def work(folder: Path, seconds: float) -> Week:
    """Let a hospital work for so long, with a fault every minute or two, and say what came of it."""
    with running_installation(folder / "home", {**SHORT, "TEACHBACK_ATTEMPT_LEASE_S": "20"}) as installation:
        hospital = Hospital(installation, folder)
        faults = _faults(hospital)
        wait_until(lambda: hospital._served() is not None, "the realtime server", within_s=1500)
        began = time.monotonic()
        with hospital.at_work():
            times = max(1, round(seconds / FAULT_EVERY_S / len(faults)))
            pause_s = max(5.0, (seconds - 3 * AWAY_S * times) / (len(faults) * times + 1))
            until = began + seconds
            for name, happen in faults * times:
                time.sleep(pause_s)
                if time.monotonic() > until:
                    break
                hospital.week.faults.append(name)
                happen()
            time.sleep(max(0.0, min(pause_s, until - time.monotonic())))
        return hospital.look(time.monotonic() - began)


def _faults(hospital: Hospital) -> list[tuple[str, Callable[[], None]]]:
    house = hospital.installation
    prefect, mlflow = ("prefect", "server", "start"), ("infra.adapters.tracking",)

    def kill(*words: str) -> Callable[[], None]:
        return lambda: _signal(house.processes(*words), signal.SIGKILL)

    def away(*words: str) -> Callable[[], None]:
        def stop() -> None:
            found = _family(house.processes(*words))
            _signal(found, signal.SIGSTOP)
            time.sleep(AWAY_S)
            _signal(found, signal.SIGCONT)

        return stop

    return [
        ("MLflow killed", kill(*mlflow)),
        ("Prefect killed", kill(*prefect)),
        ("API killed", kill("infra.doors.api")),
        ("image folder away for a minute", lambda: _folder_away(hospital.folder / "images")),
        ("realtime server killed", kill("infra.doors.realtime")),
        ("MLflow does not answer for a minute", away(*mlflow)),
        ("worker and its flow killed", kill("infra.adapters.orchestration.worker")),
        ("bundle hosts killed", kill("tasks.compute")),
        ("Prefect does not answer for a minute", away(*prefect)),
    ]


def _family(found: list[psutil.Process]) -> list[psutil.Process]:
    family = list(found)
    for process in found:
        with suppress(psutil.NoSuchProcess):  # it ended by itself since it was found
            family += process.children(recursive=True)
    return family


def _signal(found: list[psutil.Process], what: signal.Signals) -> None:
    for process in _family(found) if what == signal.SIGKILL else found:
        try:
            os.kill(process.pid, what)
        except ProcessLookupError:
            continue


def _folder_away(images: Path) -> None:
    images.rename(images.with_name("away"))
    time.sleep(AWAY_S)
    images.with_name("away").rename(images)


def _open(parts: Parts) -> bool:
    with parts.catalog.read() as session:
        query = select(Job.id).where(Job.action == "train", Job.status.not_in(TERMINAL))
        return session.scalar(query.limit(1)) is not None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
