"""What is asked of an image store before it is used: its place, its credentials; and how these are kept."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import delete
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import secrets
from infra.adapters.catalog.tables import Dataset, VaultValue
from infra.adapters.images.base import Credentials, ImageStore
from infra.adapters.images.objects.store import ObjectStore
from infra.wiring import Parts
from tasks.images.stores import opened

UNRESOLVED = "Cannot resolve the dataset. Please make sure the dataset information is correct."
# Folders of the home; what else a person keeps in it is theirs.
_OURS = ("bundles", "logs", "mlflow", "predictions", "prefect", "run", "work")
_PLACEHOLDER = re.compile(r"<[^<>]*>")


def credentials_of(
    username: str | None, password: SecretStr | None, token: SecretStr | None = None
) -> Credentials | None:
    """Return what was given: a token, or a password and whose it is; a guide's untouched placeholder is nothing.

    Some secrets say themselves whose they are: a connection string, a service account's JSON.

    Raises:
        InvalidRequestError: If a token and a password are given.
    """
    secret = password.get_secret_value() if password is not None else ""
    named = bool(secret) and not any(_PLACEHOLDER.fullmatch(said) for said in (username or "", secret))
    if token is not None and token.get_secret_value():
        if named:
            raise InvalidRequestError("A store is entered by a token or by a user and password: give one of the two")
        return Credentials(token=token)
    return Credentials(username=username or None, password=password) if named else None


def refuse_our_own(parts: Parts, folder: Path) -> None:
    """Keep data sets out of this installation's own files, and these out of data sets: they are of all organisations.

    Raises:
        InvalidRequestError: If the folder is in one of ours, or holds one.
    """
    settings = parts.settings
    ours = [settings.artifacts_dir, settings.cache_dir, *(settings.home / name for name in _OURS)]
    try:
        asked = folder.resolve()
        held = any(asked.is_relative_to(own.resolve()) or own.resolve().is_relative_to(asked) for own in ours)
    except (OSError, ValueError, RuntimeError):
        return  # a name that no folder can have: whoever opens it says so
    if held:
        raise InvalidRequestError("The folder holds this installation's own files, or lies in them: give one beside it")


@contextmanager
def probed(parts: Parts, spec: DatasetSpec, credentials: Credentials | None) -> Iterator[ImageStore]:
    """Read the first image of a store, or a manifest whole: nothing else tells that it is one; and give the store.

    Within the block a manifest's objects are not looked for again.

    Raises:
        InvalidRequestError: If nothing there answers as an image store, or it refuses the credentials, or a manifest
            names what is not there.
    """
    with ExitStack() as held:
        missing = images = 0
        try:
            store = opened(parts, spec, credentials)
            if isinstance(store, ObjectStore):
                held.enter_context(store.one_listing())
                missing, images = store.missing()
            else:
                next(store.images(), None)
        except StoreError as error:
            raise InvalidRequestError(f"{UNRESOLVED} {error}") from None
        if missing:
            raise InvalidRequestError(
                "Some samples don't exist in the given object storage. Please check path correctness of the manifest"
                f" file: {missing} of {images} images lack an object."
            )
        yield store


def sealed(parts: Parts, org: str, credentials: Credentials | None) -> VaultValue | None:
    """Return the credentials as the vault keeps them, and have no log ever show them."""
    if credentials is None:
        return None
    secret = credentials.token or credentials.password
    if secret is not None:
        parts.redactor.learn(secret.get_secret_value())
    return secrets.sealed(parts.vault, org, _text(credentials))


def replace_secret(session: Session, row: Dataset, secret: VaultValue) -> None:
    """Give a data set other credentials; the old ones are removed."""
    old = row.secret_id
    session.add(secret)
    session.flush()
    row.secret_id = secret.id
    # Written before the old one goes: until then the data set refers to it.
    session.flush()
    session.execute(delete(VaultValue).where(VaultValue.id == old))


def _text(credentials: Credentials) -> str:
    """Return JSON with the secrets in plain, for sealing."""
    plain = {
        "username": credentials.username,
        "password": credentials.password.get_secret_value() if credentials.password else None,
        "token": credentials.token.get_secret_value() if credentials.token else None,
    }
    return json.dumps({name: value for name, value in plain.items() if value is not None})
