"""An app is a module called `app`, and these tests read many."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A host reads one app and ends; here the next one is of the same name."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("app", None)
