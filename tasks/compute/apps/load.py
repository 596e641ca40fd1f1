"""Read an app's code, and refuse what would not do what it says."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from configs.wire.apps import MOST_MODELS, MOST_ORDERS, AppName, AppOrders, ModelName
from tasks.compute.apps.interfaces import App, BundleTask, InferTask, ScoringMethod, Strategy, TrainTask
from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.faults import innermost, telling

CONF = "teachback-app.json"
KEYS = {
    "models": "which of the app's models, with commas; default: all",
    "use_pretrained_model": "false: begin with random weights",
    "skip_scoring": "true: none of its scoring methods",
    "skip_strategies": "true: none of its strategies",
    "epistemic_enabled": "true: `up` has its experiments order images by `epistemic`",
    "epistemic_simulation_size": "predictions of an image that `epistemic` compares, where the network has dropout",
    "epistemic_max_samples": "images that `epistemic` scores at a time; 0: all",
}
_MODULE = "app"
_CONF: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
_SWITCH = TypeAdapter(bool)
_MOST_COUNTED = 1_000_000
_Each = TypeVar("_Each")
_OVERRIDABLE = frozenset(name for name in vars(TrainTask) if not name.startswith("_"))


class Model(NamedTuple):
    """A model of an app, and how it learns, if it does."""

    name: str
    infer: InferTask | BundleTask
    train: TrainTask | None


class _Names(NamedTuple):
    """How things are called, in words, too, and how many there may be."""

    form: TypeAdapter[str]
    said: str
    most: int


_MODELS = _Names(TypeAdapter(ModelName), "letters, digits, _ and -, 64 at most", MOST_MODELS)
_ORDERS = _Names(TypeAdapter(AppName), "small letters, digits and _, 40 at most", MOST_ORDERS)


def read_conf(folder: Path) -> dict[str, str]:
    """Return what `--conf` said when an app's models were registered."""
    return _CONF.validate_json((folder / CONF).read_bytes())


def load(folder: Path, conf: Mapping[str, str]) -> App:
    """Return the app in a folder.

    Raises:
        BundleFaultError: If there is none, or its code fails.
        BadInputError: If it does not take a key of *conf*, or the value of one that every app takes.
    """
    folder = folder.absolute()
    if not (folder / f"{_MODULE}.py").is_file():
        raise BundleFaultError(f"The app has no {_MODULE}.py: `teachback apps new` writes one to begin from")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with own_code(f"{_MODULE}.py cannot be read", folder):
        found = getattr(importlib.import_module(_MODULE), _MODULE, None)
    if not (isinstance(found, type) and issubclass(found, App)):
        raise BundleFaultError(f"{_MODULE}.py does not name its app: end it with `{_MODULE} = MyApp`, a class of App")
    known = {**KEYS, **found.keys}
    if unknown := [key for key in conf if key not in known]:
        told = "; ".join(f"{key} ({what})" for key, what in known.items())
        raise BadInputError(f"The app takes no --conf {unknown[0]}. It takes: {told}")
    with own_code("The app cannot be made", folder):
        app = found(folder, conf)
        _check_values(app)
    return app


def models_of(app: App) -> dict[str, Model]:
    """Return the models that an app's `--conf` asks for.

    Raises:
        BadInputError: If it has no model of a name that is asked for.
        BundleFaultError: As `every_model`, if there are too many, or one has a name that no bundle can have.
    """
    found = every_model(app)
    asked = [name.strip() for name in app.conf.get("models", "").split(",") if name.strip()] or list(found)
    if missing := [name for name in asked if name not in found]:
        raise BadInputError(f"--conf models: the app has no model {missing[0]!r}; it has {', '.join(found)}")
    return _named("init_infers", {name: found[name] for name in asked}, _MODELS)


def every_model(app: App) -> dict[str, Model]:
    """Return all models of an app.

    Raises:
        BundleFaultError: If it has none, its code fails, or a training overrides what is not trained by, or is of none.
    """
    with own_code("init_infers failed", app.app_dir):
        infers = dict(app.init_infers())
    if not infers:
        raise BundleFaultError("init_infers returns no model: an app has one at least")
    with own_code("init_trainers failed", app.app_dir):
        trainers = dict(app.init_trainers())
    for name, task in trainers.items():
        refuse_others(task)
        if not isinstance(infers.get(name), InferTask):
            raise BundleFaultError(
                f"init_trainers names {name!r}, and no InferTask of init_infers is called so: a training has the name"
                f" of the model that it trains, one of {', '.join(infers)}"
            )
    return {name: Model(name, infer, trainers.get(name)) for name, infer in infers.items()}


def methods_of(app: App) -> dict[str, ScoringMethod]:
    """Return the app's scoring methods; raises as `models_of`."""
    if switch(app, "skip_scoring", default=False):
        return {}
    with own_code("init_scoring_methods failed", app.app_dir):
        return _named("init_scoring_methods", app.init_scoring_methods(), _ORDERS)


def strategies_of(app: App) -> dict[str, Strategy]:
    """Return the app's strategies; raises as `models_of`."""
    if switch(app, "skip_strategies", default=False):
        return {}
    with own_code("init_strategies failed", app.app_dir):
        return _named("init_strategies", app.init_strategies(), _ORDERS)


def orders_of(folder: Path) -> AppOrders:
    """Return the strategies and scoring methods of the app in a bundle's folder; none where it has no app."""
    if not (folder / CONF).is_file():
        return AppOrders()
    app = load(folder, read_conf(folder))
    strategies, methods = strategies_of(app), methods_of(app)
    return AppOrders(
        strategies={name: each.description[:1000] for name, each in strategies.items()},
        per_request=[name for name, each in strategies.items() if each.per_request],
        scoring_methods={name: each.description[:1000] for name, each in methods.items()},
        epistemic_passes=_count(app, "epistemic_simulation_size"),
        epistemic_images=_count(app, "epistemic_max_samples"),
    )


def _check_values(app: App) -> None:
    """Refuse values now: most of them are read much later, or by nobody where a model has no use for them."""
    for key in ("use_pretrained_model", "skip_scoring", "skip_strategies", "epistemic_enabled"):
        switch(app, key, default=False)
    for key in ("epistemic_simulation_size", "epistemic_max_samples"):
        _count(app, key)


def _count(app: App, key: str) -> int:
    said = app.conf.get(key, "0")
    if not said.isdecimal() or int(said) > _MOST_COUNTED:
        raise BadInputError(f"--conf {key} is {said!r}: give a whole number up to {_MOST_COUNTED}")
    return int(said)


def switch(app: App, key: str, *, default: bool) -> bool:
    """Return what `--conf` says of a key that is true or false.

    Raises:
        BadInputError: If it is neither.
    """
    said = app.conf.get(key, str(default))
    try:
        return _SWITCH.validate_python(said)
    except ValidationError as error:
        raise BadInputError(f"--conf {key} is {said!r}: say true or false") from error


def _named(what: str, found: Mapping[str, _Each], names: _Names) -> dict[str, _Each]:
    if len(found) > names.most:
        raise BundleFaultError(f"{what} returns {len(found)}, and an app may have {names.most}: leave some out")
    for name in found:
        try:
            names.form.validate_python(name)
        except ValidationError as error:
            raise BundleFaultError(f"{what}: {name!r} is no name; take {names.said}") from error
    return dict(found)


def refuse_others(task: TrainTask) -> None:
    """Refuse a training that overrides what ours does not call: it would silently train otherwise than written.

    Raises:
        BundleFaultError: With the first such name.
    """
    kinds = type(task).__mro__
    for kind in kinds[: kinds.index(TrainTask)]:
        for name, value in vars(kind).items():
            public = not name.startswith("_") or name == "__call__"
            if public and name not in _OVERRIDABLE and (callable(value) or hasattr(value, "__get__")):
                raise BundleFaultError(
                    f"{type(task).__name__} overrides {name}, which nothing here calls: it is trained by Lightning,"
                    f" with {', '.join(sorted(_OVERRIDABLE))}. Move what it does into one of these; what is your own"
                    " begins with an underscore"
                )


@contextmanager
def own_code(what: str, folder: Path) -> Iterator[None]:
    """Tell of a failure of an app's code in one sentence, which begins with *what*.

    Raises:
        BundleFaultError: If the block fails with whatever error that is not ours, or one of memory.
    """
    with telling(what, lambda error: innermost(error, folder)):
        yield
