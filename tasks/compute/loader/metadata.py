"""`configs/metadata.json`, as far as we use it; what a bundle's authors wrote otherwise than the schema is left out."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_RANDOM = re.compile(r"random\((\d+)\)")


def _by_number(written: Any) -> Any:
    """Return what is written under numbers: some bundles have names there, or nothing."""
    return {key: str(value) for key, value in _mapping(written).items() if str(key).lstrip("-").isdigit()}


def _mapping(written: Any) -> dict[Any, Any]:
    return written if isinstance(written, dict) else {}


def _extents(written: Any) -> Any:
    return [extent for extent in written if isinstance(extent, int | str)] if isinstance(written, list) else []


def _number(written: Any) -> Any:
    return written if isinstance(written, int) else None


def _names(written: Any) -> Any:
    """Return package names with their versions: a list of names says the same with none."""
    if isinstance(written, list):
        return {str(name): "" for name in written}
    return {str(name): str(version) for name, version in _mapping(written).items()}


Packages = Annotated[dict[str, str], BeforeValidator(_names)]


class DataFormat(BaseModel):
    """One input or output of a network."""

    model_config = ConfigDict(extra="ignore")

    format: Annotated[str, BeforeValidator(str)] = ""
    num_channels: Annotated[int | None, BeforeValidator(_number)] = None
    spatial_shape: Annotated[list[int | str], BeforeValidator(_extents)] = []
    channel_def: Annotated[dict[int, str], BeforeValidator(_by_number)] = {}


Formats = Annotated[dict[str, DataFormat], BeforeValidator(_mapping)]


class NetworkFormat(BaseModel):
    """A network's inputs and outputs by name."""

    model_config = ConfigDict(extra="ignore")

    inputs: Formats = {}
    outputs: Formats = {}


class Metadata(BaseModel):
    """The file. Packages by name, with the version that the bundle was written for."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    monai_version: str = ""
    weights: str = ""
    required_packages_version: Packages = {}
    optional_packages_version: Packages = {}
    network_data_format: Annotated[NetworkFormat, BeforeValidator(_mapping)] = Field(default_factory=NetworkFormat)

    @property
    def seed(self) -> int | None:
        """The seed of `weights: random(seed)`, or None where weights come in a file."""
        found = _RANDOM.fullmatch(self.weights.replace(" ", ""))
        return int(found[1]) if found else None

    @property
    def image_key(self) -> str:
        """The network's first input."""
        return next(iter(self.network_data_format.inputs), "image")

    @property
    def image(self) -> DataFormat:
        """How that input looks."""
        return next(iter(self.network_data_format.inputs.values()), DataFormat())

    @property
    def prediction(self) -> DataFormat:
        """The output `pred`, else the first."""
        outputs = self.network_data_format.outputs
        return outputs.get("pred") or next(iter(outputs.values()), DataFormat())
