"""Replay a labelled data set as if it were being annotated, by one strategy after the other.

Every strategy and seed trains anew from the same start in every round, and is measured on the same held-out cases. What
a training came to is kept under what it was made of: strategies that chose the same images share it, and a simulation
that was ended goes on where it was.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from configs.durable import written
from configs.specs.score import reads_scores
from configs.specs.simulation import SimulationSpec
from configs.wire.host import Case
from tasks.selection.ask import needs_no_model
from tasks.selection.strided import METHOD as STRIDED
from tasks.selection.strided import spread
from tasks.simulation.bench import Bench, How, Measured
from tasks.simulation.curves import Curve, Point

Say = Callable[[str, int, int, Point], None]
"""Is told strategy, seed, round and what came of it."""


@dataclass(frozen=True)
class Pool:
    """Labelled cases: those that are annotated, in the order of their ids, and those that all are measured on.

    `made_of` names the bytes of all of them.
    """

    cases: Sequence[Case]
    held_out: Sequence[Case]
    made_of: str


class Replay:
    """Replays all strategies and seeds of a simulation.

    Args:
        bench: What trains, measures and scores.
        pool: The cases.
        spec: What was asked.
        folder: Keeps what was found, and the weights of the current round.
        say: Told after each training.
    """

    def __init__(self, bench: Bench, pool: Pool, spec: SimulationSpec, folder: Path, say: Say) -> None:
        self._bench, self._pool, self._spec, self._folder, self._say = bench, pool, spec, folder, say
        self._made = sha256(
            json.dumps(
                [
                    bench.bundle_id,
                    bench.labels,
                    bench.start,
                    bench.train.model_dump(mode="json"),
                    pool.made_of,
                    [[case.id for case in cases] for cases in (pool.cases, pool.held_out)],
                ]
            ).encode()
        ).hexdigest()
        self.metric = ""

    def curves(self) -> list[Curve]:
        """Replay everything; strategy by strategy, seed by seed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = {
            (strategy, seed): list[Point]() for strategy in self._spec.strategies for seed in range(self._spec.seeds)
        }
        for seed in range(self._spec.seeds):
            chosen: dict[str, list[int]] = {strategy: [] for strategy in self._spec.strategies}
            for number in range(self._rounds):
                for strategy, labelled in chosen.items():
                    labelled.extend(self._next(strategy, seed, number, labelled))
                for strategy, labelled in chosen.items():
                    measured = self._measured(labelled, seed)
                    found[strategy, seed].append(measured.point)
                    self._say(strategy, seed, number + 1, measured.point)
                self._drop_weights(keep={self._key("weights", seed, labelled) for labelled in chosen.values()})
            self._drop_weights(keep=set())
        return [Curve(strategy=strategy, seed=seed, points=points) for (strategy, seed), points in found.items()]

    @property
    def _rounds(self) -> int:
        """Rounds until nothing is left to label."""
        return min(self._spec.rounds, -(-len(self._pool.cases) // self._spec.round_size))

    def _next(self, strategy: str, seed: int, number: int, labelled: list[int]) -> list[int]:
        """Return the places in the pool that this strategy labels next."""
        what = f"{strategy} {number} of {self._rounds} by {self._spec.round_size}"
        kept = self._folder / f"{self._key(what, seed, labelled)}.json"
        if kept.exists():
            return [int(place) for place in json.loads(kept.read_bytes())]
        left = [place for place in self._order(strategy, seed, number, labelled) if place not in labelled]
        chosen = left[: self._spec.round_size]
        _keep(kept, json.dumps(chosen).encode())
        return chosen

    def _order(self, strategy: str, seed: int, number: int, labelled: list[int]) -> list[int]:
        """Return all places, first choice first. Who needs a trained model begins with the seed's random images."""
        count = len(self._pool.cases)
        if strategy == STRIDED:
            return list(spread(count))
        if strategy in ("first", "last"):
            return list(range(count))[:: 1 if strategy == "first" else -1]
        if not reads_scores(strategy) or (number == 0 and not needs_no_model(strategy)):
            return [int(place) for place in np.random.default_rng(seed).permutation(count)]
        # Only distances are from what is labelled, too.
        places = np.array([place for place in range(count) if strategy == "diversity" or place not in labelled])
        cases = [self._pool.cases[place] for place in places]
        how = How(strategy, number / self._rounds, seed)
        weights = self._weights(labelled, seed) if labelled else None
        scores = self._bench.scored(cases, np.isin(places, labelled), weights, how)
        return [int(place) for place in places[np.argsort(-scores, kind="stable")]]

    def _measured(self, labelled: list[int], seed: int) -> Measured:
        kept = self._folder / f"{self._key('measured', seed, labelled)}.json"
        if kept.exists():
            found = Measured.model_validate_json(kept.read_bytes())
        else:
            found = self._bench.measured(self._weights(labelled, seed), self._pool.held_out, len(labelled))
            _keep(kept, found.model_dump_json().encode())
        self.metric = found.metric
        return found

    def _weights(self, labelled: list[int], seed: int) -> Path:
        """Return weights trained on these images; those of the round that is under way are there already."""
        file = self._folder / f"{self._key('weights', seed, labelled)}.safetensors"
        if not file.exists():
            partial = file.with_suffix(".partial")
            self._bench.trained([self._pool.cases[place] for place in sorted(labelled)], seed, partial)
            partial.replace(file)
        return file

    def _drop_weights(self, keep: set[str]) -> None:
        for file in self._folder.glob("*.safetensors"):
            if file.stem not in keep:
                file.unlink()

    def _key(self, what: str, seed: int, labelled: Sequence[int]) -> str:
        """Return the name of a file that holds what was made of these images in this way."""
        return sha256(json.dumps([self._made, what, seed, sorted(labelled)]).encode()).hexdigest()


def _keep(file: Path, content: bytes) -> None:
    with written(file) as target:
        target.write(content)
