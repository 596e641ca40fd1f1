"""Run an app's scoring methods, and have its strategy choose images."""

from pathlib import Path

from configs.wire.apps import AppOrderRequest, Chosen
from configs.wire.host import Ready
from tasks.compute.apps.datastore import Datastore
from tasks.compute.apps.load import load, methods_of, own_code, read_conf, strategies_of
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError


def run(request: AppOrderRequest, control: Control) -> None:
    """Answer with the images that the strategy chooses, first choice first; of a scoring method with nothing.

    Raises:
        BadInputError: If the app has neither of this name.
        BundleFaultError: If its code fails.
    """
    control.say(Ready())
    folder = Path(request.bundle)
    app = load(folder, read_conf(folder))
    methods, strategies = methods_of(app), strategies_of(app)
    store = Datastore(control)
    if request.name not in (known := {**methods, **strategies}):
        raise BadInputError(f"The app has no {request.name!r}; it has {', '.join(known) or 'no strategy'}")
    strategy = strategies.get(request.name)
    for name, method in methods.items():
        if (strategy is not None and not request.now) or name == request.name:
            with own_code(f"The scoring method {name!r} failed", folder):
                method({}, store)
    if strategy is None or strategy.per_request != request.now:
        return
    for _ in range(request.most):
        with own_code(f"The strategy {request.name!r} failed", folder):
            image = strategy({}, store)
        # What it may not choose ends the order: asked again it would most likely say the same.
        if image is None or not store.leave_out(image):
            break
        control.say(Chosen(image=image))
