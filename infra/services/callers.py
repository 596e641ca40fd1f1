"""Who calls, and what each role may do: one table, one question."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

from configs.errors import ForbiddenError

_NOBODY = UUID(int=0)


class Role(StrEnum):
    """What a key is for; each one may do all that the one before may."""

    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ENGINEER = "engineer"
    ADMIN = "admin"


class Right(StrEnum):
    """What can be allowed; a use case asks for exactly one."""

    READ = "read"
    ANNOTATE = "take the next image, run inference, save and notify labels"
    REVIEW = "approve labels and send them back"
    MANAGE_DATASETS = "manage data sets"
    MANAGE_EXPERIMENTS = "manage experiments"
    RUN_JOBS = "run jobs and read their logs"
    PUBLISH = "publish and roll back model versions"
    MANAGE_KEYS = "manage keys"
    MANAGE_BUNDLES = "register bundles"
    MANAGE_HOOKS = "manage webhooks"
    UPLOAD_MODELS = "upload model weights"
    READ_LOGS = "read the system's logs"
    PURGE = "remove for good what was deleted"


_ANNOTATOR = frozenset({Right.READ, Right.ANNOTATE})
_REVIEWER = _ANNOTATOR | {Right.REVIEW}
_ENGINEER = _REVIEWER | {Right.MANAGE_DATASETS, Right.MANAGE_EXPERIMENTS, Right.RUN_JOBS, Right.PUBLISH}

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.ANNOTATOR: _ANNOTATOR,
    Role.REVIEWER: _REVIEWER,
    Role.ENGINEER: _ENGINEER,
    Role.ADMIN: _ENGINEER
    | {Right.MANAGE_KEYS, Right.MANAGE_BUNDLES, Right.MANAGE_HOOKS, Right.UPLOAD_MODELS, Right.READ_LOGS, Right.PURGE},
}


@dataclass(frozen=True)
class Caller:
    """Somebody with a valid key. `subject` is the key's id: it names the caller in audit rows and leases."""

    org: str
    subject: str
    name: str
    role: Role

    @property
    def user_id(self) -> str:
        """The id that the MONAI Cloud dialect shows: UUID 5 of the subject."""
        return user_id_of(self.subject)


def user_id_of(subject: str) -> str:
    """Return the user id that belongs to a key."""
    return str(uuid5(_NOBODY, subject))


def may(caller: Caller, right: Right) -> bool:
    """Say whether the caller's role has this right."""
    return right in RIGHTS[caller.role]


def allow(caller: Caller, right: Right) -> None:
    """Let the caller go on.

    Raises:
        ForbiddenError: If the caller's role has not got this right.
    """
    if may(caller, right):
        return
    able = ", ".join(role for role, rights in RIGHTS.items() if right in rights)
    msg = f"A key with the role {caller.role!s} may not {right!s}: use one with the role {able}"
    raise ForbiddenError(msg)
