"""Order images beside each other by what scoring told of each."""

from pathlib import Path

import numpy as np

from configs.wire.host import Ready
from configs.wire.order import Ordered, OrderRequest
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError
from tasks.compute.scoring.methods import method_named
from tasks.compute.scoring.subject import Beside


def run(request: OrderRequest, control: Control) -> None:
    """Answer an ordering.

    Raises:
        BadInputError: If the method scores each image by itself.
    """
    control.say(Ready())
    order = method_named(request.method).order
    if order is None:
        raise BadInputError(f"The scoring method {request.method!r} orders no images beside each other")
    with np.load(request.features, allow_pickle=False) as given:
        images = Beside(given["features"], given["taken"], request.progress, request.seed)
    scores = np.asarray(order(images), dtype=np.float32)
    target = Path(request.out) / "scores.npy"
    np.save(target, scores)
    control.say(Ordered(path=str(target)))
