"""An installation with something of everything: labels, a model, a bundle, secrets, and what a training said."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import delete, make_url, update

from configs.settings import Settings
from infra.adapters.catalog.tables import Attempt, Bundle, Experiment, Job, ModelVersion, VaultValue
from infra.adapters.catalog.tables.base import new_id
from infra.services import people
from infra.services.callers import Role
from infra.services.operating import vault
from infra.services.operating.pages import HOME_ORG
from infra.wiring import Parts, open_parts
from tasks.bundles.unpack import unpack
from tasks.rounds.count import notify
from tests.builders import BUNDLE, ORG, World, build, notice, start_loop

EVENTS = b'{"name": "loss", "step": 1, "value": 0.5}\n'


@dataclass(frozen=True)
class Clinic:
    """The installation, and what has to be found again."""

    parts: Parts
    world: World
    bundle: str
    key: str
    secret: str
    weights: str


@pytest.fixture
def clinic_anywhere(parts: Parts, tmp_path: Path) -> Clinic:
    """A clinic, on each database in turn."""
    return _filled(parts, tmp_path)


@pytest.fixture
def clinic(sqlite_url: str, tmp_path: Path) -> Iterator[Clinic]:
    """A clinic on SQLite."""
    opened = open_parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url))
    yield _filled(opened, tmp_path)
    opened.close()


def _filled(parts: Parts, tmp_path: Path) -> Clinic:
    world = build(parts.catalog)
    loop = start_loop(parts.catalog, world)
    vault.ensure(parts)
    key = people.create_key(parts, people.operator(HOME_ORG), name="ann", role=Role.ANNOTATOR, org=ORG).secret
    bundle = register_bundle(parts, tmp_path)
    weights = parts.blobs.put_bytes(b"weights")
    secret = new_id()
    sealed = parts.vault.seal(ORG, "the PACS's password", secret)
    with parts.catalog.write() as session:
        session.add(VaultValue(id=secret, org=ORG, key_id=sealed.key_id, ciphertext=sealed.ciphertext))
        session.get_one(ModelVersion, world.version).weights = weights
        # Its parent comes later in any order of ids or times: references go in circles.
        session.add(
            Job(id="0-child", org=ORG, experiment_id=world.experiment, action="train", status="Done", parent_id=loop)
        )
        session.flush()
        session.add(Attempt(job_id="0-child", n=1, state="ended"))
    (parts.blobs.attempt_folder("0-child", 1) / "events.jsonl").write_bytes(EVENTS)
    save(parts, world, world.images[0], b"first label")
    return Clinic(parts, world, bundle, key, secret, weights)


def register_bundle(parts: Parts, folder: Path) -> str:
    """Unpack a small bundle in place of the world's, which has no files."""
    source = folder / "bundle"
    (source / "configs").mkdir(parents=True)
    (source / "configs" / "metadata.json").write_text('{"version": "1.0.0"}')
    (source / "docs.txt").write_text("of the bundle")
    identity, _ = unpack(source, parts.settings.home / "bundles")
    with parts.catalog.write() as session:
        session.add(Bundle(id=identity, name="small", version="1", tier="A", labels={}, check={}, registered_by=""))
        session.flush()
        session.execute(update(Experiment).values(bundle_id=identity))
        session.execute(update(ModelVersion).values(bundle_id=identity))
        session.execute(delete(Bundle).where(Bundle.id == BUNDLE))
    return identity


def save(parts: Parts, world: World, image: int, content: bytes) -> str:
    """Acknowledge a label: its bytes are durable, then its row is."""
    blob = parts.blobs.put_bytes(content)
    told = notice(image, key=f"label-{blob[:8]}", fingerprint=blob).model_copy(update={"blob": blob})
    with parts.catalog.write() as session:
        notify(session, world.dataset, [told], "ann")
    return blob


@pytest.fixture
def second_postgresql_url(postgres_url: str) -> Iterator[str]:
    """The URL of a database without tables, as an operator makes one to restore into."""
    address, name = make_url(postgres_url), f"t{uuid4().hex}"

    def administer(statement: sql.SQL) -> None:
        with psycopg.connect(
            host=address.host, port=address.port, user=address.username, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.format(sql.Identifier(name)))

    administer(sql.SQL("CREATE DATABASE {}"))
    yield f"{postgres_url}/{name}"
    administer(sql.SQL("DROP DATABASE {} WITH (FORCE)"))
