"""Which strategies and scoring methods an experiment's app has."""

from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError
from configs.specs.score import OF_APP, is_of_app
from configs.wire.apps import AppOrders
from infra.adapters.catalog.tables import Bundle


class _Check(BaseModel):
    """What registering found out about the bundle's app; nothing where it has none."""

    model_config = ConfigDict(extra="ignore")

    orders: AppOrders = AppOrders()


def strategies_in(bundle: Bundle) -> dict[str, str]:
    """Return what each strategy of a bundle's app is, in words, by the name that experiments call it."""
    return {OF_APP + name: said for name, said in orders_in(bundle).strategies.items()}


def methods_in(bundle: Bundle) -> dict[str, str]:
    """Return the same of its scoring methods."""
    return {OF_APP + name: said for name, said in orders_in(bundle).scoring_methods.items()}


def is_per_request(bundle: Bundle, strategy: str) -> bool:
    """Say whether this is a strategy of the bundle's app that is asked for each image."""
    return is_of_app(strategy) and strategy.removeprefix(OF_APP) in orders_in(bundle).per_request


def orders_in(bundle: Bundle) -> AppOrders:
    """Return all that the bundle's app says of orders; it says nothing where there is none."""
    return _Check.model_validate(bundle.check).orders


def check_strategy(bundle: Bundle | None, name: str) -> None:
    """Refuse an app's strategy that the bundle's app does not have; other names are not looked at.

    Raises:
        InvalidRequestError: With those that it has.
    """
    _check(name, "strategy", strategies_in(bundle) if bundle is not None else {})


def check_method(bundle: Bundle, name: str) -> None:
    """Refuse the same of what scores: a scoring method of the app, or a strategy, whose order is kept as scores."""
    _check(name, "strategy or scoring method", {**strategies_in(bundle), **methods_in(bundle)})


def _check(name: str, what: str, known: dict[str, str]) -> None:
    if is_of_app(name) and name not in known:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InvalidRequestError(f"The experiment's app has no {what} {name!r}; {has}")
