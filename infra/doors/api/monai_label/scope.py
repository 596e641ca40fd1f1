"""Which data set a request of this dialect is about: the one that its path names, or at the root the default one.

A path may also carry its caller's key, for clients that send no header: an address for one annotator.
"""

import re
from typing import Annotated

from fastapi import Depends, Path, Query, Request

ANNOTATOR_KEY = "annotator_key"
BY_NAME = "/label/{dataset}"
BY_ADDRESS = BY_NAME + "/t/{" + ANNOTATOR_KEY + "}"
_ADDRESS = re.compile(r"/label/[^/]+/t/([^/]+)/")

ImageId = Annotated[str, Query(min_length=1, max_length=1024, description="An image's id in the data set.")]
LabelId = Annotated[str, Query(min_length=1, max_length=1024, description="A label's id, or its image's.")]


async def named(dataset: Annotated[str, Path(max_length=512, description="A data set's id or name.")]) -> None:
    """Describe the path of one data set; its routes read it through `DatasetName`."""
    del dataset


async def _name(request: Request) -> str:
    """Return what the path calls the data set; nothing at the server's root."""
    return str(request.path_params.get("dataset", ""))


DatasetName = Annotated[str, Depends(_name)]


def key_in(path: str) -> str:
    """Return the key that a path carries; nothing where it carries none."""
    found = _ADDRESS.match(path)
    return found[1] if found else ""
