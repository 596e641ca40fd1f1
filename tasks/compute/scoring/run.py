"""Score images with one version, a message each."""

import os
from functools import partial
from pathlib import Path
from threading import Thread

import torch
from monai.transforms import LoadImage
from torch import Tensor, nn

from configs.wire.host import Case, ImageScore, Ready, ScoreRequest
from tasks.compute.boxes.detector import undecided
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, NotFiniteError, answering, failed, preparing
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.compute.scoring.judged import Judged
from tasks.compute.scoring.methods import OF_LABELS, method_named
from tasks.compute.scoring.subject import Scored, Subject


def run(request: ScoreRequest, control: Control) -> None:
    """Answer a scoring request; an image that cannot be scored is told and left out."""
    Thread(target=_until_gone, args=(control,), daemon=True).start()
    control.say(Ready())
    bundle = Bundle(Path(request.bundle))
    config = bundle.inference()
    weights = Path(request.weights) if request.weights else None
    network, channels = build_network(bundle, config, labels=request.labels, weights=weights)
    network.eval()
    cache = Path(request.cache) if request.cache else None
    predictor = Predictor(bundle, config, channels, cache=cache, arrangement=Arrangement())
    if channels.kind == "boxes" and request.method != "entropy":
        raise BadInputError(f"What finds boxes is scored by entropy, not by {request.method}: ask for that")
    if request.method in OF_LABELS and channels.kind != "mask":
        raise BadInputError(f"{request.method!r} scores label maps: this experiment's labels are none")
    of_label = OF_LABELS.get(request.method)
    method = None if of_label else method_named(request.method).score

    def scored(case: Case) -> Scored:
        """Score one image by whatever the network answers, or its label."""
        if of_label is not None:
            return Scored(of_label(_judged(case, network, predictor, request.labels)))
        if channels.kind == "boxes" or method is None:
            return Scored(undecided(predictor.boxes(network, case.image)))
        answer = partial(predictor.answer, network)
        return method(Subject(network, predictor.prepare(case.image), answer, channels, request.passes))

    for image in request.images:
        try:
            with answering():
                found = scored(image)
        except (BadInputError, NotFiniteError) as error:
            control.say(failed(error, about=image.id))
            continue
        control.say(ImageScore(image=image.id, score=found.score, by=found.by, features=[*found.features]))


def _judged(case: Case, network: nn.Module, predictor: Predictor, labels: dict[int, str]) -> Judged:
    """Return a case's label beside the network's answer."""
    if case.label is None:
        raise BadInputError(f"Case {case.id} has no label to score")
    drawn = (index for index, name in labels.items() if index and (case.annotated is None or name in case.annotated))
    with preparing("The label"):
        label = LoadImage(image_only=True, ensure_channel_first=False)(case.label)
    spacing = tuple(float(step) for step in label.pixdim[: label.dim()])

    def answer() -> Tensor:
        """Return the network's label map."""
        labels = torch.from_numpy(predictor.segment(network, case.image, scored=False)[0])
        return labels.reshape(label.shape)  # of a picture two axes

    return Judged(torch.as_tensor(label).to(torch.uint8), tuple(drawn), spacing, answer)


def _until_gone(control: Control) -> None:
    """End the process when the parent asks for it or is gone."""
    control.hear()
    os._exit(0)
