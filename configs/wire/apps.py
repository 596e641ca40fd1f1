"""Apps in a bundle host: having one looked at, having one order images, and what it may ask about them meanwhile."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from configs.wire.message import Message, Request

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
AppName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
MOST_MODELS, MOST_ORDERS = 100, 50
ImageKey = Annotated[str, Field(max_length=1024)]


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


class AppOrders(Message):
    """The strategies and scoring methods of an app, in words, and those strategies that are asked for each image.

    `epistemic_passes`: predictions that our method of this name compares; `epistemic_images`: how many it scores at a
    time; 0 = as ever.
    """

    strategies: dict[AppName, str] = Field(default={}, max_length=MOST_ORDERS)
    per_request: list[AppName] = Field(default=[], max_length=MOST_ORDERS)
    scoring_methods: dict[AppName, str] = Field(default={}, max_length=MOST_ORDERS)
    epistemic_passes: int = Field(default=0, ge=0)
    epistemic_images: int = Field(default=0, ge=0)


class AppOrderRequest(Request):
    """Have an app's scoring method of this name run; or all of them, and then its strategy of this name choose images.

    `most`: images to choose. `now`: somebody waits for an image, so no scoring method runs. The host asks about images
    by the messages below.
    """

    kind: Literal["app_order"] = "app_order"
    bundle: str
    name: AppName
    most: int = Field(ge=1)
    now: bool = False


class AppModels(Message):
    """A bundle lies in `out` for each of these models."""

    kind: Literal["app_models"] = "app_models"
    models: list[ModelName] = Field(min_length=1, max_length=MOST_MODELS)


class ListImages(Message):
    """Which images are there behind this one, by id; answered by a `StoreAnswer`, as the others here."""

    kind: Literal["list_images"] = "list_images"
    which: Literal["unlabeled", "labeled", "all"]
    after: ImageKey = ""


class AskFile(Message):
    """Where is this image, or its label, as a file?"""

    kind: Literal["ask_file"] = "ask_file"
    image: ImageKey
    of: Literal["image", "label"]


class SayOfImage(Message):
    """Keep this about an image."""

    kind: Literal["say_of_image"] = "say_of_image"
    image: ImageKey
    said: dict[str, JsonValue]


class Chosen(Message):
    """A strategy chose this image, after those before."""

    kind: Literal["chosen"] = "chosen"
    image: ImageKey


class StoreAnswer(Message):
    """What was asked for: images, each with what is said of it, none at the end; or files, one for each channel.

    `refused`: why it cannot be answered.
    """

    kind: Literal["store_answer"] = "store_answer"
    images: dict[str, dict[str, JsonValue]] = Field(default={})
    files: list[str] = Field(default=[])
    refused: str = ""
