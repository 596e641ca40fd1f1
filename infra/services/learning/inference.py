"""Realtime inference of one image."""

import time
from dataclasses import dataclass, field

from configs.errors import BusyError, InvalidRequestError
from configs.specs.infer import InferSpec
from configs.wire.answers import ANSWERS, BoxesAnswer, ClassAnswer
from configs.wire.slot import JSON_TYPE, LabelForm
from infra.adapters.catalog import datasets as dataset_catalog
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog import images as image_catalog
from infra.adapters.catalog.experiments import Uses
from infra.adapters.catalog.tables import Bundle, Experiment, Image
from infra.services.callers import Caller, Right, allow
from infra.services.data import images
from infra.services.data.freshness import look_again
from infra.services.data.images import NextImage
from infra.services.learning.experiment_requests import ShownExperiment, output_filename
from infra.wiring import Parts
from tasks.bundles.heads import answer_file
from tasks.images.addressed import is_address, name_in
from tasks.publishing.usable import may_be_asked, no_model_yet
from tasks.selection.next_image import upcoming
from tasks.serving.predict import hint, predict

# Below the 60 s after which proxies and clients give up by themselves: they get our reason instead.
WAIT_S = 50.0
POLL_S = 1.0
# What the annotator most likely opens next; more would push out of the cache what others look at.
AHEAD = 2
TABLE = "predictions.csv"
_ENDINGS: dict[LabelForm, str] = {"nrrd": ".nrrd", "nifti": ".nii.gz"}


@dataclass(frozen=True)
class Inference:
    """What to ask about. Without a data set: the experiment's for inference, else the one it trains on.

    `upload`: the address of an image that was sent, in place of one of a data set; `image` is what it is called.
    """

    image: str
    dataset_id: str | None = None
    spec: InferSpec = field(default_factory=InferSpec)
    form: LabelForm = "nrrd"
    client_id: str = ""
    upload: str = ""


@dataclass(frozen=True)
class Predicted:
    """An answer as a file's bytes, and which model version made it. `said`: what it says, where it is no label map."""

    name: str
    content: bytes
    version: str
    seq: int
    cached: bool
    seconds: float
    said: ClassAnswer | BoxesAnswer | None = None


def infer(parts: Parts, caller: Caller, experiment_id: str, asked: Inference) -> Predicted:
    """Have the experiment's realtime server answer about an image; a server that just starts is waited for.

    Raises:
        NotFoundError: If there is no such experiment, data set or image.
        InvalidRequestError: If realtime inference is off, there is no model yet, or prompts do not fit the model.
        BusyError: If no server is ready in time.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        experiment = catalog.get(session, caller.org, experiment_id)
        if not may_be_asked(session, experiment):
            raise InvalidRequestError(no_model_yet(session, experiment))
        address = asked.upload or (asked.image if is_address(asked.image) else "")
        dataset_id = asked.dataset_id or (
            "" if address else _dataset(catalog.uses(session, [experiment.id])[experiment.id])
        )
        if dataset_id:
            dataset_catalog.get(session, caller.org, dataset_id)
        image = None if address else image_catalog.find(session, dataset_id, asked.image)
        table = table_name(experiment, catalog.bundle(session, experiment.bundle_id))
    if address:
        if not asked.upload:
            parts.egress.check(address)
    else:
        image = image or _arrived(parts, dataset_id, asked.image)
        images.touch(parts, caller, dataset_id, image.id, asked.client_id)
    give_up = time.monotonic() + WAIT_S
    while True:
        try:
            image_id = image.id if image else 0
            answer = predict(parts, experiment_id, dataset_id, image_id, asked.spec, asked.form, address=address)
            break
        except BusyError:
            if time.monotonic() >= give_up:
                raise
            time.sleep(POLL_S)
    called = images.basename(name_in(asked.image) if address else asked.image)
    name, content, said = f"{called}_seg{_ENDINGS[asked.form]}", answer.content, None
    if answer.media_type == JSON_TYPE:
        said = ANSWERS.validate_json(content)
        name, content = _written(said, asked.image, table)
    return Predicted(name, content, answer.version, answer.seq, answer.cached, answer.seconds, said)


def _arrived(parts: Parts, dataset_id: str, key: str) -> Image:
    """Return an image that may have come to its store a moment ago; one that is known costs no listing."""
    look_again(parts, dataset_id, [key])
    with parts.catalog.read() as session:
        return image_catalog.by_key(session, dataset_id, key)


def _written(answer: ClassAnswer | BoxesAnswer, image: str, table: str) -> tuple[str, bytes]:
    """Return name and content of the file that an answer is: a line of a table, or boxes."""
    if isinstance(answer, ClassAnswer):
        return table, answer.row(image).encode()
    return f"{images.basename(image)}_boxes.json", answer.model_dump_json().encode()


def table_name(experiment: Experiment, bundle: Bundle) -> str:
    """Return what a table of an experiment's answers is called, where these are no label maps."""
    said = output_filename(ShownExperiment.model_validate(experiment.shown).override)
    return said or images.basename(answer_file(bundle) or TABLE)


def prefetch(parts: Parts, caller: Caller, asked: NextImage, image: Image) -> None:
    """Have an image predicted that was just handed out, then the two that the same annotator would get next.

    For every experiment that may be asked about them. These are hints: a server that has enough to do drops them.
    """
    with parts.catalog.read() as session:
        named = [asked.experiment_id] if asked.experiment_id else dataset_catalog.users_of(session, image.dataset_id)
        own = catalog.listed(session, caller.org, bases=False)
        served = [row.id for row in own if row.realtime and may_be_asked(session, row)]
        wanted = [experiment_id for experiment_id in named if experiment_id in served]
        ahead = upcoming(
            session,
            image.dataset_id,
            count=AHEAD if wanted else 0,
            experiment_id=asked.experiment_id,
            strategy=asked.strategy,
        )
    for each in (image, *ahead):
        for experiment_id in wanted:
            hint(parts, experiment_id, each.dataset_id, each.id)


def _dataset(uses: Uses) -> str:
    chosen: list[str] = [*uses.get("inference", ()), *uses.get("train", ())]
    if not chosen:
        raise InvalidRequestError("The experiment names no data set for inference: name one as specs.dataset_id")
    return chosen[0]
