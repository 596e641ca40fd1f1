"""Having an app looked at: what is asked of a bundle host, and what it answers."""

from typing import Annotated, Literal

from pydantic import Field

from configs.wire.message import Message, Request

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class AppRequest(Request):
    """Write each model of the app as a bundle into `out`, in a folder of the model's name.

    `app`: the app's folder. `conf`: what its `--conf` says.
    """

    kind: Literal["app"] = "app"
    app: str
    name: ModelName
    conf: dict[str, str] = Field(default={}, max_length=100)
    out: str

    def writes(self) -> list[str]:
        """Return the output folder."""
        return [self.out]


class AppModels(Message):
    """A bundle lies in `out` for each of these models."""

    kind: Literal["app_models"] = "app_models"
    models: list[ModelName] = Field(min_length=1, max_length=100)
