"""Compare versions on the same cases, in one process and on one pipeline."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread

import torch
from monai.transforms import LoadImage
from torch import Tensor, nn

from configs.kinds import UNLABELLED
from configs.wire.host import Case, CaseResult, EvaluateRequest, Ready
from tasks.compute.boxes import precision
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, NotFiniteError, UnreadableError, answering, failed, preparing
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.classes import class_answer
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Bundle, Config
from tasks.compute.loader.network import build_network, load_state
from tasks.compute.loader.pipeline import LABEL, Pipeline, boxes_in, class_in
from tasks.compute.loader.tier import tier_of
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import mean
from tasks.compute.metrics.key_metric import KeyMetric, key_metric_of

# Predicted and reference label map of one case, both with the experiment's label indices on one grid; or two classes.
Compared = tuple[Tensor, Tensor]
Comparison = Callable[[nn.Module, Case], Compared]


def run(request: EvaluateRequest, control: Control) -> None:
    """Answer an evaluation; a case that cannot be read, or on which the network fails, is told and left out."""
    Thread(target=_until_gone, args=(control,), daemon=True).start()
    control.say(Ready())
    bundle = Bundle(Path(request.bundle))
    training = bundle.training()
    by_validation = tier_of(training)[0] == "A" and training is not None
    config = training if by_validation and training is not None else bundle.inference()
    network, channels = build_network(bundle, config, labels=request.labels, weights=None)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    cache = Path(request.cache) if request.cache else None
    inferer = config.build("validate#inferer") if by_validation else None
    predictor = Predictor(
        bundle, _inference_of(bundle, config), channels, cache=cache, arrangement=Arrangement(), inferer=inferer
    )
    compare = (
        _on_validation(bundle, config, channels, predictor, cache) if by_validation else _on_images(predictor, channels)
    )
    network.eval()
    labels = {index: name for index, name in request.labels.items() if index or channels.kind != "mask"}
    metric = key_metric_of(training if by_validation else None, exclusive=channels.exclusive, kind=channels.kind)
    for version, weights in request.versions.items():
        asked = request.cases if request.asked is None else _named(request.cases, request.asked.get(version, []))
        if not asked:
            continue
        if weights:
            load_state(network, Path(weights))
        else:
            network.load_state_dict(start)
        for case in asked:
            try:
                control.say(
                    judge_boxes(case, version, network, predictor, labels)
                    if channels.kind == "boxes"
                    else judge(case, version, network, compare, labels, metric, channels.within)
                )
            except UnreadableError as error:
                control.say(failed(error, about=case.id))


def judge(
    case: Case,
    version: str,
    network: nn.Module,
    compare: Comparison,
    labels: dict[int, str],
    metric: KeyMetric,
    within: Mapping[int, tuple[int, ...]],
) -> CaseResult:
    """Return one version's score on one case, for the labels that its annotator drew.

    Of a label that contains others, as `within` says, theirs are its voxels, too.
    """
    # What was not drawn may be there all the same: a prediction of it is neither right nor wrong.
    drawn = {i: name for i, name in labels.items() if case.annotated is None or name in case.annotated}
    try:
        predicted, reference = compare(network, case)
    except NotFiniteError:
        return CaseResult(
            case=case.id,
            version=version,
            metric=metric.name,
            per_label=dict.fromkeys(drawn.values(), 0.0),
            mean=0.0,
            empty=False,
            finite=False,
        )
    predicted = predicted.masked_fill(reference == UNLABELLED, 0)
    parts = {name: within.get(index, (index,)) for index, name in drawn.items()}
    counts = {name: Counts.of(_of(reference, own), _of(predicted, own)) for name, own in parts.items()}
    per_label = {name: metric.overlap(counted) for name, counted in counts.items()}
    indices = torch.tensor(list(drawn), dtype=reference.dtype)
    empty = bool(torch.isin(reference, indices).any()) and not bool(torch.isin(predicted, indices).any())
    return CaseResult(
        case=case.id,
        version=version,
        metric=metric.name,
        per_label=per_label,
        mean=mean(list(per_label.values())),
        empty=empty,
        finite=True,
    )


def judge_boxes(
    case: Case, version: str, network: nn.Module, predictor: Predictor, labels: dict[int, str]
) -> CaseResult:
    """Return how well one version finds a case's boxes, for the labels that its annotator spoke about."""
    drawn = {i: name for i, name in labels.items() if case.annotated is None or name in case.annotated}
    truth = boxes_in(case)
    about = {"case": case.id, "version": version, "metric": precision.METRIC}
    try:
        with answering():
            found = predictor.boxes(network, case.image)
    except NotFiniteError:
        nothing = dict.fromkeys(drawn.values(), 0.0)
        return CaseResult(**about, per_label=nothing, mean=0.0, empty=False, finite=False)
    per_label = {name: precision.average_precision(found, truth, index) for index, name in drawn.items()}
    empty = bool(drawn.keys() & {*truth.classes}) and not drawn.keys() & {*found.classes}
    return CaseResult(**about, per_label=per_label, mean=mean([*per_label.values()]), empty=empty, finite=True)


def _of(said: Tensor, indices: Sequence[int]) -> Tensor:
    """Return where a label map, or a class, is one of these."""
    return said == indices[0] if len(indices) == 1 else torch.isin(said, torch.tensor(indices, dtype=said.dtype))


def _named(cases: list[Case], names: list[str]) -> list[Case]:
    wanted = set(names)
    return [case for case in cases if case.id in wanted]


def _on_validation(
    bundle: Bundle, config: Config, channels: Channels, predictor: Predictor, cache: Path | None
) -> Comparison:
    """Return the comparison on the grid of the bundle's `validate#preprocessing`, where its key metric is."""
    pipeline = Pipeline(
        config,
        config.find("validate#preprocessing") or "train#preprocessing",
        channels=channels,
        about=bundle.metadata,
        cache=cache,
    )
    # A table: training targets are channels, results speak of the experiment's indices.
    back = torch.zeros(256, dtype=torch.uint8)
    for label, target in channels.channel_of().items() if channels.kind == "mask" else ():
        back[target] = label
    if channels.knows_unlabelled:
        back[UNLABELLED] = UNLABELLED

    def compare(network: nn.Module, case: Case) -> Compared:
        """Return prediction and label on the grid that validation prepares."""
        item = pipeline.fixed(case)
        image = item[bundle.metadata.image_key]
        with answering():
            if channels.kind == "class":
                answer = class_answer(predictor.answer(network, image), channels)
                return torch.tensor(answer.index), torch.tensor(class_in(str(case.label)))
            decided, _ = predictor.decide(network, image)
        return decided.cpu(), back[torch.as_tensor(item[LABEL])[0].long()]

    return compare


def _on_images(predictor: Predictor, channels: Channels) -> Comparison:
    """Return the comparison on each image's own grid, for bundles that say nothing about validation."""
    read = LoadImage(image_only=True, ensure_channel_first=False)

    def compare(network: nn.Module, case: Case) -> Compared:
        """Return prediction and label on the image's own grid."""
        if case.label is None:
            raise BadInputError(f"Case {case.id} has no label; evaluation needs one")
        with answering():
            if channels.kind == "class":
                said = class_answer(predictor.answer(network, predictor.prepare(case.image)), channels)
                return torch.tensor(said.index), torch.tensor(class_in(case.label))
            labels, _, _ = predictor.segment(network, case.image)
        with preparing():
            reference = torch.as_tensor(read(case.label)).to(torch.uint8)
        return torch.from_numpy(labels), reference.reshape(labels.shape)  # of a picture two axes

    return compare


def _inference_of(bundle: Bundle, config: Config) -> Config:
    """Return the configuration that a predictor needs beside the one the network was built from."""
    return config if config.find("preprocessing", "pre_transforms") else bundle.inference()


def _until_gone(control: Control) -> None:
    """End the process when the parent asks for it or is gone."""
    control.hear()
    os._exit(0)
