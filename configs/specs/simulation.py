"""What a simulation of strategies is asked to do."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from configs.specs.score import Strategy
from configs.specs.train import TrainSpec


class SimulationSpec(BaseModel):
    """A labelled data set replayed: each strategy and seed chooses round by round, is trained and measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1, max_length=20)]
    seeds: int = Field(default=3, ge=1, le=100)
    rounds: int = Field(default=5, ge=1, le=100)
    round_size: int = Field(default=5, ge=1, le=10_000)
    train: TrainSpec = TrainSpec()
