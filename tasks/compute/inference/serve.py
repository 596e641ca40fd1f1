"""Serve predictions: several versions of one network loaded, each request bound to one of them."""

import copy
import itertools
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, PriorityQueue
from threading import Lock, Thread

import torch
from torch import nn

from configs.wire.host import (
    Drop,
    Failed,
    HostCommand,
    Load,
    Loaded,
    Predict,
    Prediction,
    Ready,
    ServeRequest,
)
from tasks.compute.control import Control
from tasks.compute.failures import failed
from tasks.compute.inference.arrangement import Arrangement, fastest
from tasks.compute.inference.predictor import Predictor, write_labels
from tasks.compute.loader.config import Bundle, device
from tasks.compute.loader.network import build_network, load_state, probe

_LIVE, _BACKGROUND, _END = 0, 1, 2


@dataclass(order=True)
class Job:
    """One prediction in its turn; it holds its network, so that a swap or a drop cannot touch it."""

    urgency: int
    turn: int
    command: Predict | None = field(compare=False)
    network: nn.Module | None = field(compare=False)


def run(request: ServeRequest, control: Control) -> None:
    """Answer a serving request: until told to stop, or until the parent is gone."""
    server = Server(request, control)
    Thread(target=server.listen, name="control", daemon=True).start()
    control.say(Ready())
    server.work()


class Server:
    """One thread runs networks for predictions; another hears commands; a third loads and warms versions."""

    def __init__(self, request: ServeRequest, control: Control) -> None:
        self._control = control
        self._out = Path(request.out)
        bundle = Bundle(Path(request.bundle))
        config = bundle.inference()
        self._template, channels = build_network(bundle, config, labels=request.labels, weights=None)
        self._example = torch.randn_like(probe(bundle, config)).to(device())
        self._arrangement: Arrangement | None = None
        self._parts = (bundle, config, channels, Path(request.cache))
        self._predictor = self._prepare(Arrangement())
        self._versions: dict[str, nn.Module] = {}
        self._jobs: PriorityQueue[Job] = PriorityQueue()
        self._turns = itertools.count()
        self._loading = Lock()

    def listen(self) -> None:
        """Take commands as they come; without a parent the process ends."""
        while (command := self._control.hear()) is not None:
            self._take(command)
        os._exit(0)

    def work(self) -> None:
        """Predict, the live before the background, until told to stop."""
        while (job := self._jobs.get()).command is not None:
            self._predict(job)

    def _take(self, command: HostCommand) -> None:
        match command:
            case Load():
                Thread(target=self._load, args=(command,), name="load", daemon=True).start()
            case Drop(version=version):
                self._versions.pop(version, None)
            case Predict():
                self._admit(command)
            case _:
                self._jobs.put(Job(_END, next(self._turns), None, None))

    def _admit(self, command: Predict) -> None:
        """Bind a request to its version and queue it."""
        network = self._versions.get(command.version)
        if network is None:
            message = f"Version {command.version!r} is not loaded here; loaded are {sorted(self._versions)}"
            self._control.say(Failed(id=command.id, code="bad_input", message=message))
            return
        urgency = _BACKGROUND if command.background else _LIVE
        self._jobs.put(Job(urgency, next(self._turns), command, network))

    def _load(self, command: Load) -> None:
        """Load a version beside those that serve, run it once, and only then let it be named."""
        try:
            with self._loading:
                network = copy.deepcopy(self._template)
                if command.weights:
                    load_state(network, Path(command.weights))
                if self._arrangement is None:
                    self._arrangement = fastest(network, self._example)
                    self._predictor = self._prepare(self._arrangement)
                network = self._arrangement.fit(network)
                with torch.inference_mode():
                    self._arrangement.run(network, self._example)
        except Exception as error:  # noqa: BLE001 (the edge: what a bundle raises is answered, and we go on)
            self._control.say(failed(error, about=command.version))
            return
        self._versions[command.version] = network
        self._control.say(Loaded(version=command.version, arrangement=str(self._arrangement)))

    def _prepare(self, arrangement: Arrangement) -> Predictor:
        bundle, config, channels, cache = self._parts
        return Predictor(bundle, config, channels, cache=cache, arrangement=arrangement)

    def _predict(self, job: Job) -> None:
        """Answer one job."""
        command, network = job.command, job.network
        if command is None or network is None:
            return
        start = time.perf_counter()
        try:
            labels, grid, score = self._predictor.segment(
                network,
                command.image,
                between=self._give_way if job.urgency == _BACKGROUND else None,
                wanted=command.params.label_prompt,
            )
            path = self._out / command.name
            write_labels(labels, grid, path)
        except Exception as error:  # noqa: BLE001 (the edge: what a bundle raises is answered, and we go on)
            self._control.say(failed(error, about=command.id))
            return
        seconds = time.perf_counter() - start
        self._control.say(
            Prediction(id=command.id, version=command.version, path=str(path), seconds=seconds, score=score)
        )

    def _give_way(self) -> None:
        """Within a background prediction: answer every live request that waits."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job.urgency != _LIVE:
                self._jobs.put(job)
                return
            self._predict(job)
