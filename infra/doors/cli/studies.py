"""What `up --studies` asks of the server, once: the data set `studies`, an experiment per model, its annotation job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from configs.errors import InvalidRequestError, NotFoundError
from configs.names import DEFAULT_DATASET as DATASET
from infra.doors.cli.client import Client

DEFAULT_MODEL = "sample"
SLOT_WITHIN_S = 180  # a cold start of a bundle host on a busy machine


class Named(BaseModel):
    """A data set or experiment, as far as it is needed here."""

    id: str
    name: str
    bundle: str = ""


class Base(Named):
    """A base experiment."""

    network_arch: str
    version: str = ""
    read_only: bool = True


class JobRow(BaseModel):
    """A job of an experiment, as far as it is needed here."""

    id: str
    action: str
    status: str


@dataclass(frozen=True)
class Studies:
    """What a person said about the images.

    Attributes:
        place: Folder, or address of a DICOMweb server.
        models: Names of base experiments.
        labels: Label names in the order of their values, from 1; none = those of the model.
        round_size: Labels per round; None = no annotation job.
        train: Training fields and bundle overrides of the annotation job's rounds.
        strategy: In which order images come; empty = as the server has it.
    """

    place: str
    models: Sequence[str] = (DEFAULT_MODEL,)
    labels: Sequence[str] = ()
    round_size: int | None = 5
    train: Mapping[str, Any] = field(default_factory=dict)
    strategy: str = ""


def place_of(text: str) -> str:
    """Return the address, or the absolute folder, that *text* names.

    Raises:
        NotFoundError: If it is neither an address nor a folder that exists.
    """
    if "://" in text:
        return text
    folder = Path(text).expanduser().resolve()
    if not folder.is_dir():
        raise NotFoundError("folder", text)
    return str(folder)


def register(client: Client, studies: Studies) -> list[str]:
    """Make what is missing; returns a line for each thing made, or not made anew. What exists by name stays as it is.

    Raises:
        TeachbackError: With what the server refused.
    """
    made = []
    dataset = _by_name(client, "datasets", DATASET)
    if dataset is None:
        dataset = make_dataset(client, DATASET, studies.place)
        made.append(f"data set {dataset.name!r}")
    for model in studies.models:
        name = f"{DATASET} {model}"
        experiment = _by_name(client, "experiments", name)
        if experiment is None:
            base = base_named(client, model)
            experiment = make_experiment(client, name, base, dataset, labels=studies.labels, strategy=studies.strategy)
            made.append(f"experiment {experiment.name!r}")
        elif (newest := _newest(_bases(client), model)) is not None and newest.bundle != experiment.bundle:
            made.append(
                f"experiment {name!r} keeps {model!r} as it was: delete the experiment to begin with the new one"
            )
        if studies.round_size is not None and not _has_annotation(client, experiment):
            start_annotation(client, experiment, round_size=studies.round_size, train=studies.train)
            made.append(f"annotation job of {experiment.name!r}: a round every {studies.round_size} labels")
    return made


def base_named(client: Client, name: str) -> Base:
    """Return the newest base experiment of this name.

    Raises:
        NotFoundError: If there is none; the message suggests a near name.
    """
    bases = _bases(client)
    found = _newest(bases, name)
    if found is None:
        raise NotFoundError("model", name, [base.name for base in bases])
    return found


def make_dataset(client: Client, name: str, place: str) -> Named:
    """Make a data set of a folder or DICOMweb server."""
    body = {"name": name, "type": "semantic_segmentation", "format": "monai", "client_url": place}
    return client.get_as(Named, client.request("POST", client.cloud("datasets"), json=body, timeout=600))


def make_experiment(
    client: Client,
    name: str,
    base: Base,
    dataset: Named,
    *,
    held_out: Named | None = None,
    labels: Sequence[str] = (),
    strategy: str = "",
) -> Named:
    """Make an experiment with a realtime server, which trains on *dataset*.

    It is evaluated on *held_out*; without one on patients of *dataset* that are kept apart.
    """
    body: dict[str, Any] = {
        "name": name,
        "network_arch": base.network_arch,
        "base_experiment": [base.id],
        "train_datasets": [dataset.id],
        "eval_dataset": (held_out or dataset).id,
        "inference_dataset": dataset.id,
        "realtime_infer": True,
        "realtime_infer_request_timeout": SLOT_WITHIN_S,
    }
    if strategy:
        body["strategy"] = strategy
    if labels:
        body["model_params"] = {"labels": {str(value): name for value, name in enumerate(labels, start=1)}}
    answer = client.request("POST", client.cloud("experiments"), json=body, timeout=SLOT_WITHIN_S + 60)
    return client.get_as(Named, answer)


def start_annotation(
    client: Client, experiment: Named, *, round_size: int, train: Mapping[str, Any], max_rounds: int | None = None
) -> str:
    """Start the experiment's annotation job; returns its id."""
    stop = {} if max_rounds is None else {"stop_criteria": {"max_rounds": max_rounds}}
    specs = {"round_size": round_size, "train_spec": dict(train), **stop}
    body = {"action": "annotation", "specs": specs}
    answer = client.request("POST", client.cloud(f"experiments/{experiment.id}/jobs"), json=body)
    return client.get_as(str, answer)


def round_size_of(text: str) -> int | None:
    """Return the round size that *text* says; None for `off`.

    Raises:
        InvalidRequestError: If it is neither `off` nor a whole number above 0.
    """
    if text == "off":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InvalidRequestError(f"--round-size was {text!r}; give a whole number above 0, or off.")
    return int(text)


def _bases(client: Client) -> list[Base]:
    return client.get_as(list[Base], client.request("GET", client.cloud("experiments:base")))


def _newest(bases: Sequence[Base], name: str) -> Base | None:
    return max((base for base in bases if base.name == name), key=lambda base: base.version, default=None)


def _by_name(client: Client, kind: str, name: str) -> Named | None:
    answer = client.request("GET", client.cloud(kind), params={"name": name})
    return next((row for row in client.get_as(list[Named], answer) if row.name == name), None)


def _has_annotation(client: Client, experiment: Named) -> bool:
    answer = client.request("GET", client.cloud(f"experiments/{experiment.id}/jobs"))
    return any(job.action == "annotation" for job in client.get_as(list[JobRow], answer))
