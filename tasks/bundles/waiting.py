"""Bundles that come with the project without their weights: listed, and usable once these are fetched."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError
from configs.kinds import LabelKind
from configs.wire.check import CheckResult
from infra.adapters.catalog.tables import Bundle

_PULL = re.compile(r'"weights":\s*"pull\((\w+)\)"')
_STATES = ("model.pt", "model.safetensors")


class _Output(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: str = ""
    channel_def: dict[int, str] = {}


class _Format(BaseModel):
    model_config = ConfigDict(extra="ignore")

    inputs: dict[str, object] = {}
    outputs: dict[str, _Output] = {}


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="ignore")

    network_data_format: _Format


def waits(folder: Path) -> CheckResult | None:
    """Return what is noted of a bundle whose metadata say `"weights": "pull(NAME)"`, and that has none yet.

    It is not run: there is nothing to run, and its network may be large. None: it is examined as any other.
    """
    text = (folder / "configs" / "metadata.json").read_text()
    found = _PULL.search(text)
    if found is None or any((folder / "models" / name).is_file() for name in _STATES):
        return None
    written = _Metadata.model_validate_json(text)
    output = next(iter(written.network_data_format.outputs.values()), _Output())
    answers: LabelKind = "class" if output.format == "classes" else "mask"
    return CheckResult(
        tier="C",
        reason=f"It has no weights yet: {_command(found[1])}",
        labels={number: name for number, name in output.channel_def.items() if number or answers == "class"},
        answers=answers,
        inputs=list(written.network_data_format.inputs),
        has_weights=False,
        weights_policy="pull",
        forward_s=0,
        peak_mib=0,
    )


def is_waiting(bundle: Bundle) -> bool:
    """Say whether a bundle's weights have yet to be fetched."""
    return bundle.check.get("weights_policy") == "pull"


def refuse_waiting(bundle: Bundle) -> None:
    """Refuse to use a bundle that waits for its weights.

    Raises:
        InvalidRequestError: With the command that fetches them.
    """
    if is_waiting(bundle):
        raise InvalidRequestError(f"Bundle {bundle.name} has no weights yet: {_command(bundle.name)}")


def _command(name: str) -> str:
    return f"`teachback bundles pull {name}`, on the server's machine, fetches them and shows their licence"
