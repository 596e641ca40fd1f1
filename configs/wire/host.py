"""Messages between a parent and its bundle host.

The request is a file (`in/request.json`); everything after goes over the control socket, framed as in
`configs.wire.framing`. The parent trusts nothing that a host says beyond what these models check.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from configs.specs.infer import InferSpec
from configs.specs.score import ScoringMethod
from configs.specs.train import TrainSpec
from configs.wire.admit import AdmitRequest, Admitted
from configs.wire.apps import (
    AppModels,
    AppOrderRequest,
    AppRequest,
    AskFile,
    Chosen,
    ListImages,
    SayOfImage,
    StoreAnswer,
)
from configs.wire.check import CheckRequest, CheckResult
from configs.wire.export import Exported, ExportRequest
from configs.wire.message import Message, Request
from configs.wire.order import Ordered, OrderRequest
from configs.wire.scribbles import Scribbled, ScribbleRequest

ScoredBy = Literal["", "dropout", "flips", "encoder", "histogram"]
MOST_FEATURES = 2048
FailureCode = Literal["out_of_memory", "not_finite", "bundle_error", "bad_input", "unreadable"]


class Case(Message):
    """One image with its label, as local files.

    `id` is our own opaque id. `image` names one file, or one per input channel. Label files hold indices of
    the experiment's labels: a label map, or JSON as people save it. `annotated` says which names the annotator drew;
    None = all of them.
    """

    id: str = Field(max_length=200)
    image: list[str] = Field(min_length=1, max_length=64)
    label: str | None = None
    side: Literal["train", "validate", "evaluate"] = "train"
    annotated: list[str] | None = None


def _files(cases: list[Case]) -> list[str]:
    return [file for case in cases for file in (*case.image, *filter(None, [case.label]))]


class TrainRequest(Request):
    """Fine-tune the bundle's network on these cases.

    `labels` maps the values in label files to names (0 = background may be left out). `weights`: safetensors
    to start from, None = the bundle's own. `resume`: a checkpoint of an earlier attempt.
    """

    kind: Literal["train"] = "train"
    bundle: str
    cases: list[Case] = Field(min_length=1)
    labels: dict[int, str] = Field(min_length=1)
    weights: str | None = None
    spec: TrainSpec = TrainSpec()
    resume: str | None = None
    out: str
    cache: str
    seed: int = 0

    def reads(self) -> list[str]:
        """Return images, labels, start weights and checkpoint."""
        return [*_files(self.cases), *filter(None, (self.weights, self.resume))]

    def writes(self) -> list[str]:
        """Return the output folder and the cache."""
        return [self.out, self.cache]


class EvaluateRequest(Request):
    """Compare versions (id → safetensors; empty = the bundle's own weights) on the same labelled cases.

    `asked` says which cases each version is asked about; None = all.
    """

    kind: Literal["evaluate"] = "evaluate"
    bundle: str
    cases: list[Case] = Field(min_length=1)
    labels: dict[int, str] = Field(min_length=1)
    versions: dict[str, str] = Field(min_length=1)
    asked: dict[str, list[str]] | None = None
    cache: str | None = None

    def reads(self) -> list[str]:
        """Return images, labels and weights."""
        return [*_files(self.cases), *filter(None, self.versions.values())]

    def writes(self) -> list[str]:
        """Return the cache."""
        return [self.cache] if self.cache else []


class ScoreRequest(Request):
    """Compute one number per image for the selection strategies; `passes`: see `Subject`."""

    kind: Literal["score"] = "score"
    bundle: str
    images: list[Case] = Field(min_length=1)
    labels: dict[int, str] = Field(min_length=1)
    weights: str | None = None
    method: ScoringMethod = "entropy"
    passes: int = Field(default=0, ge=0)
    cache: str | None = None

    def reads(self) -> list[str]:
        """Return images and weights."""
        return [*_files(self.images), *filter(None, [self.weights])]

    def writes(self) -> list[str]:
        """Return the cache."""
        return [self.cache] if self.cache else []


class ServeRequest(Request):
    """Stay, and answer commands: load, predict, drop. Files are written to `out`."""

    kind: Literal["serve"] = "serve"
    bundle: str
    labels: dict[int, str] = Field(min_length=1)
    out: str
    cache: str

    def writes(self) -> list[str]:
        """Return the output folder and the cache."""
        return [self.out, self.cache]


HostRequest = Annotated[
    AdmitRequest
    | AppRequest
    | AppOrderRequest
    | CheckRequest
    | ExportRequest
    | TrainRequest
    | EvaluateRequest
    | ScoreRequest
    | OrderRequest
    | ScribbleRequest
    | ServeRequest,
    Field(discriminator="kind"),
]


class Ready(Message):
    """The request was read and the imports are done; a serving host now takes commands."""

    kind: Literal["ready"] = "ready"


class Progress(Message):
    """How far training is. Epochs and steps count from 0 to their maximum."""

    kind: Literal["progress"] = "progress"
    epoch: int = Field(ge=0)
    max_epoch: int = Field(ge=0)
    step: int = Field(ge=0)
    max_step: int = Field(ge=0)
    eta_s: float | None = None


class Metric(Message):
    """One measured value; `label` is empty for a value over all labels."""

    kind: Literal["metric"] = "metric"
    name: str = Field(max_length=200)
    label: str = Field(default="", max_length=200)
    step: int = Field(ge=0)
    value: float


class Checkpoint(Message):
    """A whole checkpoint lies in `out`; `epoch` is the number of epochs done."""

    kind: Literal["checkpoint"] = "checkpoint"
    path: str
    epoch: int = Field(ge=0)


class CaseResult(Message):
    """One version on one case, in the bundle's own metric where it is one of ours, else in Dice.

    `per_label` by name, 0..1, larger is better, None where neither reference nor prediction has the label. `mean`
    over the values that are not None. `empty`: none of the labels was predicted although the reference has one.
    `metric` is what the bundle calls it; `mean_dice` is ours.
    """

    kind: Literal["case"] = "case"
    case: str
    version: str
    metric: str = Field(default="mean_dice", max_length=200)
    per_label: dict[str, float | None]
    mean: float | None
    empty: bool
    finite: bool


class ImageScore(Message):
    """One image's score; larger = label it sooner. `by`: how it was come by, where a method has more than one way.

    With `features` it holds until the images are ordered beside each other; None = nothing is known until then.
    """

    kind: Literal["score"] = "score"
    image: str
    score: float | None
    by: ScoredBy = ""
    features: list[float] = Field(default=[], max_length=MOST_FEATURES)


class TrainResult(Message):
    """The trained network's weights (safetensors, in `out`) and how they came about.

    `batch_at_once`: memory did not suffice for a batch, so it went through the network in parts of so many items.
    `ranks`: the processes that trained, one per device. `left_out`: cases that could not be read or prepared.
    """

    kind: Literal["train_result"] = "train_result"
    weights: str
    epoch: int = Field(ge=0)
    steps: int = Field(ge=0)
    train_s: float = Field(ge=0)
    best: float | None = None
    val_at_start: float | None = None
    head_rebuilt: bool = False
    batch_at_once: int | None = Field(default=None, ge=1)
    precision: str = Field(default="", max_length=20)
    ranks: int = Field(default=1, ge=1)
    left_out: list[str] = Field(default_factory=list)


class Loaded(Message):
    """This version is loaded and warm: predictions may name it. `arrangement` says how it is run."""

    kind: Literal["loaded"] = "loaded"
    version: str
    arrangement: str = Field(default="", max_length=100)


class Prediction(Message):
    """An answer in `out`: a uint8 NIfTI label map on the image's own grid, or JSON; and its uncertainty score."""

    kind: Literal["prediction"] = "prediction"
    id: str
    version: str
    path: str
    seconds: float = Field(ge=0)
    score: float | None = None


class Failed(Message):
    """Something failed: the request, or with an `id` one prediction, load (`id` = version), case or image's score."""

    kind: Literal["failed"] = "failed"
    id: str | None = None
    code: FailureCode
    message: str = Field(max_length=4000)


class Finished(Message):
    """Everything asked for was answered; without it the host died."""

    kind: Literal["finished"] = "finished"


HostMessage = Annotated[
    Ready
    | Admitted
    | Progress
    | Metric
    | Checkpoint
    | CaseResult
    | ImageScore
    | Ordered
    | Scribbled
    | CheckResult
    | AppModels
    | ListImages
    | AskFile
    | SayOfImage
    | Chosen
    | Exported
    | TrainResult
    | Loaded
    | Prediction
    | Failed
    | Finished,
    Field(discriminator="kind"),
]


class CheckpointAndExit(Message):
    """Write a checkpoint at the next step and end."""

    kind: Literal["checkpoint_and_exit"] = "checkpoint_and_exit"


class Stop(Message):
    """End at the next step; nothing need be kept."""

    kind: Literal["stop"] = "stop"


class Load(Message):
    """Load a version beside those that serve; answered by `Loaded`. Empty `weights` = the bundle's own."""

    kind: Literal["load"] = "load"
    version: str = Field(max_length=200)
    weights: str = ""


class Predict(Message):
    """Ask one loaded version about one image; the answer is `name` within `out`, and ends in `.json` if it is no mask.

    A background prediction gives way to others between two windows.
    """

    kind: Literal["predict"] = "predict"
    id: str = Field(max_length=200)
    version: str = Field(max_length=200)
    image: list[str] = Field(min_length=1, max_length=64)
    params: InferSpec = InferSpec()
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,150}\.nii(\.gz)?$")
    background: bool = False


class Hurry(Message):
    """Somebody waits for this background prediction now: it gives way to nobody any more."""

    kind: Literal["hurry"] = "hurry"
    id: str = Field(max_length=200)


class Shrink(Message):
    """Do with so many MiB of the accelerator's memory from now on: one window at a time."""

    kind: Literal["shrink"] = "shrink"
    memory_mib: float = Field(gt=0)


class Drop(Message):
    """Forget a version once the predictions that name it are done."""

    kind: Literal["drop"] = "drop"
    version: str = Field(max_length=200)


HostCommand = Annotated[
    CheckpointAndExit | Stop | Load | Predict | Hurry | Shrink | Drop | StoreAnswer, Field(discriminator="kind")
]

REQUESTS: TypeAdapter[HostRequest] = TypeAdapter(HostRequest)
MESSAGES: TypeAdapter[HostMessage] = TypeAdapter(HostMessage)
COMMANDS: TypeAdapter[HostCommand] = TypeAdapter(HostCommand)


def write_request(request: BaseModel, path: Path) -> None:
    """Write a request where its host will read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(request.model_dump_json())
