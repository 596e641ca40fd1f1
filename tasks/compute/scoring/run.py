"""Score images with one version, a message each."""

import os
from functools import partial
from pathlib import Path
from threading import Thread

from configs.wire.host import ImageScore, Ready, ScoreRequest
from tasks.compute.boxes.detector import undecided
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError, NotFiniteError, answering, failed
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.compute.scoring.methods import method_named
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
    answer, method = partial(predictor.answer, network), method_named(request.method).score

    def scored(files: list[str]) -> Scored:
        """Score one image by whatever the network answers."""
        if channels.kind == "boxes":
            return Scored(undecided(predictor.boxes(network, files)))
        return method(Subject(network, predictor.prepare(files), answer, channels))

    for image in request.images:
        try:
            with answering():
                found = scored(image.image)
        except (BadInputError, NotFiniteError) as error:
            control.say(failed(error, about=image.id))
            continue
        control.say(ImageScore(image=image.id, score=found.score, by=found.by, features=[*found.features]))


def _until_gone(control: Control) -> None:
    """End the process when the parent asks for it or is gone."""
    control.hear()
    os._exit(0)
