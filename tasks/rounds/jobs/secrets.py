"""Secrets in what a job is asked to do: they go to the vault, and the job's row names where.

A value under a name such as `access_token` becomes `vault:<row>`; a URL's user info becomes `vault:<row>@`. A bundle
host gets neither: an override that holds one is refused.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from infra.adapters.catalog.secrets import sealed
from infra.wiring import Parts

_SECRET_NAME = re.compile(r"secret|password|passwd|token(?!iz)|api_?key|credential", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)(?!vault:)([^/\s@?#]+)(?=@)")
_REFERENCE = re.compile(r"vault:([0-9a-f-]{36})")
_Spec = TypeVar("_Spec", bound=BaseModel)


class Sealer:
    """Replaces secrets by references, in one unit; the same secret by the same reference.

    Args:
        parts: The adapters.
        session: The unit that writes the job's row.
        org: Whose job it is.
    """

    def __init__(self, parts: Parts, session: Session, org: str) -> None:
        self._parts = parts
        self._session = session
        self._org = org
        self._known: dict[str, str] = {}

    def spec(self, spec: _Spec) -> _Spec:
        """Return a spec without secrets; what was not set stays so."""
        return type(spec).model_validate(self.values(spec.model_dump(mode="json", exclude_unset=True)))

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a JSON object without secrets."""
        return {name: self._one(name, value) for name, value in values.items()}

    def _one(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.values(value)
        if isinstance(value, list):
            return [self._one(name, part) for part in value]
        if not isinstance(value, str) or not value or _REFERENCE.fullmatch(value):
            return value
        if _SECRET_NAME.search(name):
            return self._reference(value)
        return _USER_INFO.sub(lambda found: self._reference(found[1]), value)

    def _reference(self, secret: str) -> str:
        if secret not in self._known:
            self._parts.redactor.learn(secret)
            row = sealed(self._parts.vault, self._org, secret)
            self._session.add(row)
            self._known[secret] = f"vault:{row.id}"
        return self._known[secret]


def secret_in(values: Mapping[str, Any]) -> str:
    """Return the first name under which a secret stands, as it was sent or as a reference; empty = there is none."""
    return next((name for name, value in values.items() if _holds_secret(name, value)), "")


def _holds_secret(name: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(secret_in(value))
    if isinstance(value, list):
        return any(_holds_secret(name, part) for part in value)
    text = value if isinstance(value, str) else ""
    return bool(text and (_SECRET_NAME.search(name) or _USER_INFO.search(text) or _REFERENCE.search(text)))
