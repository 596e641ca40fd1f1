"""Roles and rights."""

from itertools import pairwise

import pytest

from configs.errors import ForbiddenError
from infra.services.callers import RIGHTS, Caller, Right, Role, allow


def test_each_role_may_all_that_the_one_before_may_and_something_more() -> None:
    for lower, higher in pairwise(Role):
        assert RIGHTS[lower] < RIGHTS[higher]


def test_every_right_is_somebodys() -> None:
    assert frozenset(Right) == RIGHTS[Role.ADMIN]


def test_a_refusal_names_the_roles_that_may() -> None:
    caller = Caller(org="clinic", subject="k", name="anna", role=Role.ANNOTATOR)
    allow(caller, Right.ANNOTATE)
    with pytest.raises(ForbiddenError, match="use one with the role engineer, admin"):
        allow(caller, Right.PUBLISH)


def test_the_user_id_of_a_key_is_always_the_same() -> None:
    first = Caller(org="clinic", subject="k", name="anna", role=Role.ANNOTATOR)
    again = Caller(org="clinic", subject="k", name="renamed", role=Role.ADMIN)
    other = Caller(org="clinic", subject="l", name="anna", role=Role.ANNOTATOR)
    assert first.user_id == again.user_id != other.user_id
