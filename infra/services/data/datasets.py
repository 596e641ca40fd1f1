"""Data sets: made from an address, listed, changed, deleted, and brought up to date with their store."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError
from configs.names import DEFAULT_DATASET
from configs.specs.dataset import Channel, DatasetSpec, LabelSettings, OnGap, StoreKind
from infra.adapters.catalog import audit
from infra.adapters.catalog import datasets as catalog
from infra.adapters.catalog.tables import Dataset, Lease
from infra.adapters.catalog.tables.base import new_id, now
from infra.adapters.images.base import Credentials, ImageStore
from infra.adapters.images.objects.place import SCHEMES, object_place
from infra.services.callers import Caller, Right, Role, allow
from infra.services.data.access import UNRESOLVED, credentials_of, probed, refuse_our_own, replace_secret, sealed
from infra.services.data.freshness import LISTING_S
from infra.services.data.workspaces import ResultsTo, choice
from infra.services.listing import Cut, Page, cut
from infra.wiring import Parts
from tasks.images.forget import forget_dataset
from tasks.images.sync import SyncReport, look_anew
from tasks.labels.choosing.rules import apply_rules
from tasks.labels.incoming.catch_up import catch_up
from tasks.labels.incoming.imports import look_anew as look_anew_at_labels
from tasks.labels.incoming.imports import since_of

_WEB = ("http", "https")
_log = logging.getLogger(__name__)


class NoDefaultError(NotFoundError):
    """No data set is named, and none is the default."""

    def __str__(self) -> str:
        return (
            f"No data set is named, and there is none called {DEFAULT_DATASET!r} that would be meant:"
            " make it with `teachback up --studies`, or name another as /label/{data set}/…"
        )


class ShownDataset(BaseModel):
    """What callers say about a data set and see again, and nothing here reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = "semantic_segmentation"
    format: str = "monai"
    version: str = "1.0.0"
    logo: str = ""
    shared: bool = False
    use_for: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    url: str | None = None
    cloud_file_path: str | None = None


class NewDataset(LabelSettings):
    """What a data set is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "My Dataset"
    description: str = ""
    url: str
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    filters: str = ""
    patient_regex: str | None = None
    on_gap: OnGap | None = None
    results: ResultsTo | None = None
    channels: list[Channel] = Field(default=[], max_length=64)
    shown: ShownDataset = ShownDataset()


class DatasetChange(LabelSettings):
    """What is to change; only fields that were set do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    description: str | None = None
    type: str | None = Field(default=None, description="May only be named as it is.")
    format: str | None = Field(default=None, description="May only be named as it is.")
    version: str | None = None
    logo: str | None = None
    shared: bool | None = None
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    on_gap: OnGap | None = None
    results: ResultsTo | None = None


def create(parts: Parts, caller: Caller, request: NewDataset) -> Dataset:
    """Make a data set, once its store has answered, and list its images.

    Raises:
        ForbiddenError: If the caller may not.
        InvalidRequestError: If the address is refused, or nothing there answers as an image store.
    """
    allow(caller, Right.MANAGE_DATASETS)
    spec = _spec(parts, caller, request)
    credentials = credentials_of(request.username, request.password, request.token)
    # Before any row: a data set that nothing stands behind would be listed and asked for ever.
    with probed(parts, spec, credentials) as store:
        dataset_id = _kept(parts, caller, request, spec, credentials)
        _refresh(parts, dataset_id, store)
    return get(parts, caller, dataset_id)


def get(parts: Parts, caller: Caller, dataset_id: str) -> Dataset:
    """Return one data set.

    Raises:
        NotFoundError: If the organisation has none of this id.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.get(session, caller.org, dataset_id)


def find(parts: Parts, caller: Caller, name: str) -> Dataset:
    """Return the data set of this id or name; without a name the default one: `studies`, or else the only one.

    Raises:
        NotFoundError: If the organisation has none such.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        if name:
            return catalog.find(session, caller.org, name)
        known = catalog.listed(session, caller.org)
        default = [row for row in known if row.name == DEFAULT_DATASET] or (known if len(known) == 1 else [])
        if not default:
            raise NoDefaultError("dataset", DEFAULT_DATASET, [row.name for row in known])
        return default[-1]


def listed(parts: Parts, caller: Caller, page: Page, *, keep: Callable[[Dataset], bool] | None = None) -> Cut[Dataset]:
    """Return a page of the organisation's data sets."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return cut(catalog.listed(session, caller.org), page, keep=keep)


def change(parts: Parts, caller: Caller, dataset_id: str, request: DatasetChange) -> Dataset:
    """Change what the request names, and nothing else. New credentials are tried before they are kept.

    Raises:
        NotFoundError: If the organisation has none of this id.
        InvalidRequestError: If type or format would change, or the store refuses the new credentials.
    """
    allow(caller, Right.MANAGE_DATASETS)
    row = get(parts, caller, dataset_id)
    shown = ShownDataset.model_validate(row.shown)
    for field, given, fixed in (("type", request.type, shown.type), ("format", request.format, shown.format)):
        if given not in (None, fixed):
            raise InvalidRequestError(f"Cannot change dataset {field}")
    said = request.label_settings()
    _check_labels_to(parts, request, by_admin=caller.role is Role.ADMIN)
    credentials = credentials_of(request.username, request.password, request.token)
    if credentials is not None:
        with probed(parts, DatasetSpec.model_validate(row.spec), credentials):
            pass
    secret = sealed(parts, caller.org, credentials)
    workspace = choice(parts, caller, request.results or ResultsTo(), row.name)
    with parts.catalog.write() as session:
        row = catalog.get(session, caller.org, dataset_id, for_change=True)
        _write(row, request)
        if request.results is not None:
            row.workspace_id = workspace(session)
        if said:
            row.spec = DatasetSpec.model_validate({**row.spec, **said}).model_dump(mode="json")
            apply_rules(session, dataset_id)
            look_anew_at_labels(session, dataset_id)
        if secret is not None:
            replace_secret(session, row, secret)
        anew = request.on_gap is not None and request.on_gap != DatasetSpec.model_validate(row.spec).on_gap
        if anew:
            row.spec = {**row.spec, "on_gap": request.on_gap}
            look_anew(session, dataset_id)
        named = sorted(request.model_fields_set)
        audit.record(session, caller.org, caller.subject, "dataset.change", dataset_id, fields=named)
    # After the unit: to list a store takes seconds.
    if credentials is not None or anew:
        _refresh(parts, dataset_id)
    return get(parts, caller, dataset_id)


def remove(parts: Parts, caller: Caller, dataset_id: str) -> Dataset:
    """Hide a data set and drop what this host has cached of it; its labels' history stays.

    Raises:
        NotFoundError: If the organisation has none of this id.
        ConflictError: If an experiment uses it.
    """
    allow(caller, Right.MANAGE_DATASETS)
    row = get(parts, caller, dataset_id)

    def hidden(session: Session) -> None:
        """Hide the row, held, so that no experiment takes the data set up meanwhile."""
        locked = catalog.get(session, caller.org, dataset_id, for_change=True)
        users = catalog.users_of(session, dataset_id)
        if users:
            raise ConflictError(f"Dataset in use: delete the experiments {', '.join(users)} first")
        locked.deleted_at = session.scalar(select(now()))
        session.execute(delete(Lease).where(Lease.dataset_id == dataset_id))
        audit.record(session, caller.org, caller.subject, "dataset.delete", dataset_id)

    parts.catalog.unit(hidden)
    # After the unit: files that are gone cannot be rolled back.
    forget_dataset(parts, dataset_id)
    return row


def refresh(parts: Parts, caller: Caller, dataset_id: str) -> SyncReport:
    """List the store again, and take in labels that came to it.

    Raises:
        NotFoundError: If the organisation has none of this id.
        StoreError: If the store cannot be listed.
    """
    allow(caller, Right.ANNOTATE)
    get(parts, caller, dataset_id)
    return catch_up(parts, dataset_id)


def _kept(parts: Parts, caller: Caller, request: NewDataset, spec: DatasetSpec, credentials: Credentials | None) -> str:
    """Write a new data set's rows; return its id."""
    row = Dataset(
        id=new_id(),
        org=caller.org,
        name=request.name,
        description=request.description,
        spec=spec.model_dump(mode="json"),
        shown=request.shown.model_dump(mode="json"),
        created_by=caller.subject,
    )
    secret = sealed(parts, caller.org, credentials)
    workspace = choice(parts, caller, request.results or ResultsTo(), request.name)
    with parts.catalog.write() as session:
        if secret is not None:
            session.add(secret)
            session.flush()
            row.secret_id = secret.id
        row.workspace_id = workspace(session)
        session.add(row)
        audit.record(session, caller.org, caller.subject, "dataset.create", row.id, kind=spec.kind)
    return row.id


def _refresh(parts: Parts, dataset_id: str, store: ImageStore | None = None) -> None:
    """List a store that has just answered, as far as its listing gets in the time of a request; the rest comes later.

    If it fails now, the data set says so and is listed again later.
    """
    try:
        catch_up(parts, dataset_id, within_s=LISTING_S, store=store)
    except StoreError as error:
        _log.warning("data set %s could not be listed: %s", dataset_id, error)


def _spec(parts: Parts, caller: Caller, request: NewDataset) -> DatasetSpec:
    by_admin = caller.role is Role.ADMIN
    kind, url = _place(parts, request.url, by_admin=by_admin)
    _check_labels_to(parts, request, by_admin=by_admin)
    given = {name: value for name in ("patient_regex", "on_gap") if (value := getattr(request, name))}
    place = {"kind": kind, "url": url, "filters": request.filters, "channels": request.channels, "by_admin": by_admin}
    return DatasetSpec.model_validate({**place, **given, **request.label_settings()})


def _check_labels_to(parts: Parts, request: LabelSettings, *, by_admin: bool) -> None:
    """Refuse an address for labels that may not be reached from here, and a day that is none."""
    since_of(request.import_labels or "all")
    place = request.labels_to
    if place is None or place in {"store", "home"}:
        return
    if urlsplit(place).scheme in SCHEMES:
        if not by_admin:
            raise InvalidRequestError("Labels go to an object store with this server's credentials: an admin names it")
        return
    _place(parts, place, by_admin=by_admin)


def _place(parts: Parts, url: str, *, by_admin: bool) -> tuple[StoreKind, str]:
    """Say what kind of store an address means, if it may be reached from here; an admin allows what they name."""
    if not url:
        raise InvalidRequestError("Must provide a url to create a MONAI dataset: client_url is empty")
    place = object_place(url, parts.objects.endpoints)
    if place is not None:
        return place.root.kind, url  # what is called follows from the credentials, too: it is judged when it is opened
    parsed = urlsplit(url)
    if parsed.scheme in _WEB:
        (parts.egress.trusting(url) if by_admin else parts.egress).check(url)
        return "dicomweb", url
    folder = Path(unquote(parsed.path) if parsed.scheme == "file" else url)
    if parsed.netloc or not folder.is_absolute():
        known = "http(s)://…, s3://…, abfs://…, gs://…, file:///…"
        raise InvalidRequestError(f"{UNRESOLVED} It is neither {known} nor an absolute folder.")
    if not (parts.settings.single_machine or _is_open(parts, folder)):
        raise InvalidRequestError(
            "A folder of the server may be named only where the server listens on loopback alone, or where"
            " `teachback up --studies` or TEACHBACK_FOLDERS names it"
        )
    refuse_our_own(parts, folder)
    return "folder", str(folder)


def _is_open(parts: Parts, folder: Path) -> bool:
    """Say whether the operator has named a folder, or one that it is in."""
    named = [Path(each) for each in parts.settings.folders.split(os.pathsep) if each]
    return any(folder.resolve().is_relative_to(each.resolve()) for each in named)


def _write(row: Dataset, request: DatasetChange) -> None:
    if request.name is not None:
        row.name = request.name
    if request.description is not None:
        row.description = request.description
    shown: Sequence[str] = ("version", "logo", "shared")
    said = {name: getattr(request, name) for name in shown if getattr(request, name) is not None}
    if said:
        row.shown = {**row.shown, **said}
