"""Serve predictions: several versions of one network loaded, each request bound to one of them."""

import copy
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Lock, Thread

import torch
from torch import nn

from configs.wire.host import (
    Drop,
    Failed,
    HostCommand,
    Hurry,
    Load,
    Loaded,
    Predict,
    Prediction,
    Ready,
    ServeRequest,
    Shrink,
)
from tasks.compute.control import Control
from tasks.compute.failures import failed
from tasks.compute.inference.arrangement import Arrangement, fastest
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle, device
from tasks.compute.loader.network import build_network, load_state, own_weights, probe
from tasks.compute.prompts.network import Prompted
from tasks.compute.share import limit_memory

_FEW = 4
"""Classes that a network which takes prompts is asked for in trials."""
_PATIENCE_S = 2.0
"""The most that a background prediction waits for live ones before each window: under endless load it still ends."""
# Requests whose `Hurry` came before they did; one that never comes must not be remembered for ever.
_EARLY = 64


@dataclass(eq=False)
class Job:
    """One prediction; it holds its network, so that a swap or a drop cannot touch it.

    A background job that somebody waits for by now is `hurried`.
    """

    command: Predict
    network: nn.Module
    hurried: bool = False


def run(request: ServeRequest, control: Control) -> None:
    """Answer a serving request: until told to stop, or until the parent is gone."""
    server = Server(request, control)
    Thread(target=server.listen, name="control", daemon=True).start()
    control.say(Ready())
    server.work()


class Server:
    """One thread predicts for those who wait, one in the background; one hears commands, one loads and warms versions.

    The background's prediction reads and prepares its image, and writes its answer, beside the live ones; before each
    window it lets them go first. So a live request shares the machine with at most one window of it.
    """

    def __init__(self, request: ServeRequest, control: Control) -> None:
        self._control = control
        self._out = Path(request.out)
        bundle = Bundle(Path(request.bundle))
        config = bundle.inference()
        template, channels = build_network(bundle, config, labels=request.labels, weights=None)
        self._template = template.cpu()  # only what serves takes memory of an accelerator
        self._example = torch.randn_like(probe(bundle, config)).to(device())
        self._arrangement: Arrangement | None = None
        self._parts = (bundle, config, channels, Path(request.cache))
        self._predictor, self._spare_predictor = self._prepare(Arrangement())
        self._versions: dict[str, nn.Module] = {}
        self._live: SimpleQueue[Job | None] = SimpleQueue()
        self._background: SimpleQueue[Job] = SimpleQueue()
        self._patient: dict[str, Job] = {}
        self._early: deque[str] = deque(maxlen=_EARLY)
        self._calm = Condition()
        self._awaited = 0
        self._loading = Lock()

    def listen(self) -> None:
        """Take commands as they come; without a parent the process ends."""
        while (command := self._control.hear()) is not None:
            self._take(command)
        os._exit(0)

    def work(self) -> None:
        """Predict until told to stop."""
        Thread(target=self._work_behind, name="background", daemon=True).start()
        while (job := self._live.get()) is not None:
            try:
                self._predict(job, self._predictor)
            finally:
                with self._calm:
                    self._awaited -= 1
                    self._calm.notify_all()

    def _work_behind(self) -> None:
        while True:
            job = self._background.get()
            self._predict(job, self._spare_predictor, between=partial(self._give_way, job))
            del self._patient[job.command.id]

    def _take(self, command: HostCommand) -> None:
        match command:
            case Load():
                # It takes seconds, and commands about versions that serve have to be heard meanwhile.
                Thread(target=self._load, args=(command,), name="load", daemon=True).start()
            case Drop(version=version):
                self._versions.pop(version, None)
            case Predict():
                self._admit(command)
            case Hurry(id=name):
                self._hurry(name)
            case Shrink(memory_mib=mib):
                self._shrink(mib)
            case _:
                self._live.put(None)

    def _admit(self, command: Predict) -> None:
        """Bind a request to its version and queue it."""
        # Bound now and not when its turn comes: a request ends on the version that it began with.
        network = self._versions.get(command.version)
        if network is None:
            message = f"Version {command.version!r} is not loaded here; loaded are {sorted(self._versions)}"
            self._control.say(Failed(id=command.id, code="bad_input", message=message))
            return
        job = Job(command, network)
        if command.background and command.id not in self._early:
            self._patient[command.id] = job
            self._background.put(job)
            return
        with self._calm:
            self._awaited += 1
        self._live.put(job)

    def _hurry(self, name: str) -> None:
        job = self._patient.get(name)
        if job is None:
            self._early.append(name)  # it may come before the prediction: they are sent by two threads
            return
        with self._calm:
            job.hurried = True
            self._calm.notify_all()

    def _shrink(self, memory_mib: float) -> None:
        self._predictor.one_window_at_a_time()
        self._spare_predictor.one_window_at_a_time()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            limit_memory(memory_mib)

    def _load(self, command: Load) -> None:
        """Load a version beside those that serve, run it once, and only then let it be named."""
        try:
            # One at a time: warming two versions would take the memory of both beside what serves.
            with self._loading:
                network = copy.deepcopy(self._template).to(device())
                if command.weights:
                    load_state(network, Path(command.weights))
                elif isinstance(network, Prompted) and own_weights(self._parts[0]):
                    network.as_published()
                if self._arrangement is None:
                    plain = self._parts[2].kind == "boxes"  # its detector runs the network, in no other way
                    self._arrangement = Arrangement() if plain else fastest(_of_few(network), self._example)
                    self._predictor, self._spare_predictor = self._prepare(self._arrangement)
                network = self._arrangement.fit(network)
                with torch.inference_mode():
                    self._arrangement.run(_of_few(network), self._example)
        except Exception as error:  # noqa: BLE001 (the edge: what a bundle raises is answered, and we go on)
            self._control.say(failed(error, about=command.version))
            return
        self._versions[command.version] = network
        self._control.say(Loaded(version=command.version, arrangement=str(self._arrangement)))

    def _prepare(self, arrangement: Arrangement) -> tuple[Predictor, Predictor]:
        """Return what predicts for those who wait, and for the background: a bundle's transforms may keep state."""
        bundle, config, channels, cache = self._parts
        predictor = Predictor(bundle, config, channels, cache=cache, arrangement=arrangement)
        predictor.keep_later()
        return predictor, copy.deepcopy(predictor)

    def _predict(self, job: Job, predictor: Predictor, *, between: Callable[[], None] | None = None) -> None:
        """Answer one job."""
        command = job.command
        start = time.perf_counter()
        try:
            asked = command.params
            # Nobody waits for a background prediction: its score costs no annotator's time.
            scored = command.background
            answer = predictor.predict(job.network, command.image, between=between, asked=asked, scored=scored)
            path = answer.write(self._out / command.name)
        except Exception as error:  # noqa: BLE001 (the edge: what a bundle raises is answered, and we go on)
            self._control.say(failed(error, about=command.id))
            return
        seconds = time.perf_counter() - start
        self._control.say(
            Prediction(id=command.id, version=command.version, path=str(path), seconds=seconds, score=answer.score)
        )
        with suppress(OSError, RuntimeError):  # no room on the disk: it was answered, and is prepared anew if need be
            predictor.keep()

    def _give_way(self, job: Job) -> None:
        """Within a background prediction: let live requests go first, unless somebody waits for this one too."""
        with self._calm:
            self._calm.wait_for(lambda: job.hurried or not self._awaited, _PATIENCE_S)


def _of_few(network: nn.Module) -> nn.Module:
    """Return what is tried in a network's place: all classes' logits of two windows are gigabytes, and tell no more."""
    return network.asked(network.classes[:_FEW]) if isinstance(network, Prompted) else network
