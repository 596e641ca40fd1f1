"""Having a bundle looked at: what a host is asked, and answers."""

from typing import Annotated, Literal

from pydantic import Field

from configs.kinds import LabelKind
from configs.wire.apps import AppOrders
from configs.wire.message import Message, Request

Tier = Literal["A", "B", "C"]


class CheckRequest(Request):
    """Say what this bundle is and can do."""

    kind: Literal["check"] = "check"
    bundle: str


class CheckResult(Message):
    """What a bundle is: its tier with the reason, and what one forward pass of `patch` (i, j, k) costs.

    `answers`: what it says of an image, and learns from. `answer_file`: what it calls a file of its answers, if at all.
    `head`: the layers that are made anew for labels that the bundle does not name; where there are none,
    `head_refusal` says why. `training_keys`: the ids of its training configuration that an override may name;
    `config_files`: those of each file that a training may name in its place.
    `takes_prompts`: clicks, and what to look for, are part of what it is asked.
    `weights_policy` "pull": its weights have to be fetched, and it was not run.
    `orders`: what its app has.
    `missing`: packages that some of its features may want. `notes`: what else whoever registers it should know.
    """

    kind: Literal["check_result"] = "check_result"
    tier: Tier
    reason: str
    labels: dict[int, str]
    answers: LabelKind = "mask"
    answer_file: str = Field(default="", max_length=200)
    inputs: list[str]
    key_metric: str | None = None
    head: str = Field(default="", max_length=1000)
    head_refusal: str = Field(default="", max_length=1000)
    takes_prompts: bool = False
    has_weights: bool
    weights_policy: Literal["file", "random", "pull"]
    seed: int | None = None
    missing: list[str] = Field(default_factory=list)
    notes: list[Annotated[str, Field(max_length=1000)]] = Field(default_factory=list)
    forward_s: float = Field(ge=0)
    peak_mib: float = Field(ge=0)
    patch: list[int] = Field(default_factory=list)
    training_keys: list[str] = Field(default=[], max_length=5000)
    config_files: dict[str, list[str]] = Field(default={}, max_length=20)
    orders: AppOrders = AppOrders()
