"""The bundle host's part of a simulation: train on these cases, measure, score the others."""

import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from configs.errors import BundleError, HostDiedError
from configs.specs.score import ScoringMethod
from configs.specs.train import TrainSpec
from configs.wire.host import (
    Case,
    CaseResult,
    EvaluateRequest,
    HostMessage,
    HostRequest,
    ImageScore,
    ScoreRequest,
    TrainRequest,
    TrainResult,
)
from infra.wiring import Parts
from tasks.devices.asking import answers, work_folder
from tasks.devices.claims import Need
from tasks.devices.needs import batch_need, training_need
from tasks.rounds.steps.train import tensor_cache
from tasks.selection.beside import Told, order
from tasks.simulation.curves import Point


class Measured(BaseModel):
    """One trained network on the held-out cases, and in which metric."""

    model_config = ConfigDict(frozen=True)

    metric: str
    point: Point


@dataclass(frozen=True)
class Bench:
    """Trains and measures one bundle for one set of label names.

    Attributes:
        parts: The adapters.
        bundle_id: The bundle, unpacked in `bundle`.
        labels: The experiment's names by index.
        start: Safetensors that each training starts from; None = the bundle's own.
        train: How it trains.
    """

    parts: Parts
    bundle_id: str
    bundle: Path
    labels: dict[int, str]
    start: str | None
    train: TrainSpec

    def trained(self, cases: Sequence[Case], seed: int, target: Path) -> None:
        """Train on these cases and put the weights at *target*.

        Raises:
            HostError: If training fails.
        """
        with work_folder(self.parts, "simulate") as work:
            request = TrainRequest(
                bundle=str(self.bundle),
                cases=list(cases),
                labels=self.labels,
                weights=self.start,
                spec=self.train.for_host(),
                out=str(work / "host" / "out"),
                cache=self._cache(),
                seed=seed,
            )
            for message in self._asked(request, training_need(self.parts, self.bundle_id), work):
                if isinstance(message, TrainResult):
                    shutil.copyfile(message.weights, target)
                    return
        raise HostDiedError("Training ended without a result.")

    def measured(self, weights: Path, held_out: Sequence[Case], labels: int) -> Measured:
        """Measure weights that were trained on so many labels; cases without anything to find are left out.

        Raises:
            BundleError: If there is no case that says anything.
        """
        request = EvaluateRequest(
            bundle=str(self.bundle),
            cases=list(held_out),
            labels=self.labels,
            versions={"": str(weights)},
            cache=self._cache(),
        )
        found = list[CaseResult]()
        with work_folder(self.parts, "simulate") as work:
            for message in self._asked(request, batch_need(self.parts, self.bundle_id, None), work):
                found += [message] if isinstance(message, CaseResult) else []
        means = [result.mean for result in found if result.mean is not None]
        if not means:
            raise BundleError(
                "None of the held-out cases says anything: their labels hold none of the experiment's names"
            )
        values: dict[str, list[float]] = {}
        for result in found:
            for name, value in result.per_label.items():
                values.setdefault(name, []).extend([] if value is None else [value])
        per_label = {name: statistics.fmean(each) for name, each in values.items() if each}
        point = Point(labels=labels, mean=statistics.fmean(means), per_label=per_label, at=time.time())
        return Measured(metric=found[0].metric, point=point)

    def scored(
        self, images: Sequence[Case], taken: NDArray[np.bool_], weights: Path | None, how: "How"
    ) -> NDArray[np.float64]:
        """Return a score per image by a method, in its order beside the others if it makes one; -1 of what fails."""
        request = ScoreRequest(
            bundle=str(self.bundle),
            images=[case.model_copy(update={"label": None}) for case in images],
            labels=self.labels,
            weights=str(weights) if weights else self.start,
            method=how.method,
            cache=self._cache(),
        )
        told = dict[str, ImageScore]()
        with work_folder(self.parts, "simulate") as work:
            for message in self._asked(request, batch_need(self.parts, self.bundle_id, None), work):
                if isinstance(message, ImageScore):
                    told[message.image] = message
        seen = [place for place, case in enumerate(images) if case.id in told]
        scores = np.full(len(images), -1.0)
        features = [told[images[place].id].features for place in seen]
        if seen and all(features):
            beside = Told(how.method, np.array(features, dtype=np.float32), taken[seen], how.progress, how.seed)
            scores[seen] = order(self.parts, self.bundle, beside)
        else:
            scores[seen] = [told[images[place].id].score or 0.0 for place in seen]
        return scores

    def _cache(self) -> str:
        return str(tensor_cache(self.parts, self.bundle_id))

    def _asked(self, request: HostRequest, need: Need, work: Path) -> Iterator[HostMessage]:
        return answers(self.parts, request, need, work=work, bundle=self.bundle)


@dataclass(frozen=True)
class How:
    """By which method images are scored, how far the annotation is (0..1), and the seed of its noise."""

    method: ScoringMethod
    progress: float
    seed: int
