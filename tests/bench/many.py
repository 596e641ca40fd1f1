"""A catalog of very many rows in seconds: SQLite makes them itself, with `INSERT ... SELECT` over counted numbers."""

from sqlalchemy import Connection, Table, func, insert, literal_column, select, text, update

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Base
from infra.adapters.catalog.tables.base import new_id


def _table(name: str) -> Table:
    return Base.metadata.tables[name]


def add_images(catalog: Catalog, dataset_id: str, count: int) -> list[int]:
    """Add images of a patient each, a fifth of them for evaluation; return their ids in the order of their keys."""
    image, dataset = _table("image"), _table("dataset")
    with catalog.write() as session:
        connection = session.connection()
        before = connection.scalar(select(func.max(image.c.id))) or 0
        connection.execute(text("PRAGMA cache_size=-200000"))
        for index in image.indexes:  # made anew afterwards: sorted at once, not row by row
            index.drop(connection)
        values = {
            "id": f"{before + 1} + n",
            "dataset_id": f"'{dataset_id}'",
            "key": "printf('many-%07d', n)",
            "patient_key": "printf('%064x', n)",
            "held_out": "n % 5 = 0",
            "fingerprint": "'1'",
            "shuffle": "n * 0.618033988749895 - CAST(n * 0.618033988749895 AS INTEGER)",
        }
        _insert(connection, image, values, count)
        for index in image.indexes:
            index.create(connection)
        more = update(dataset).where(dataset.c.id == dataset_id).values(images=dataset.c.images + count)
        connection.execute(more)
    return list(range(before + 1, before + 1 + count))


def skip_images(catalog: Catalog, images: list[int]) -> None:
    """Take these images out, as the system does with what it cannot read; their ids follow each other."""
    image = _table("image")
    out = update(image).where(image.c.id.between(images[0], images[-1]))
    with catalog.write() as session:
        session.connection().execute(out.values(open=False, skipped_reason="unreadable: cut off", skipped_by="system"))


def add_labels(catalog: Catalog, dataset_id: str, images: list[int]) -> None:
    """Add an active label of the liver to each of these images, whose ids follow each other."""
    image, dataset = _table("image"), _table("dataset")
    run, count = new_id()[:8], len(images)
    with catalog.write() as session:
        connection = session.connection()
        before = connection.scalar(select(dataset.c.label_seq).where(dataset.c.id == dataset_id)) or 0
        label = {
            "id": f"'{run}' || printf('-%07d', n)",
            "dataset_id": f"'{dataset_id}'",
            "image_id": f"{images[0]} + n",
            "store_key": f"'{run}' || printf('/%07d', n)",
            "fingerprint": "'1'",
            "blob": "printf('%064x', n)",
            "seq": f"{before} + n + 1",
            "names": """'{"1": "liver"}'""",
            "author": "'ann'",
            "created_at": "n",
        }
        _insert(connection, _table("label"), label, count)
        event = {"dataset_id": label["dataset_id"], "seq": label["seq"], "kind": "'added'", "label_id": label["id"]}
        _insert(connection, _table("label_event"), event, count)
        tag = {"dataset_id": label["dataset_id"], "image_id": label["image_id"], "tag": "'final'"}
        tag |= {"label_id": label["id"], "at": "n"}
        _insert(connection, _table("label_tag"), tag, count)
        connection.execute(update(image).where(image.c.id.between(images[0], images[-1])).values(open=False))
        connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(label_seq=before + count))


def add_jobs(catalog: Catalog, experiment_id: str, dataset_id: str, count: int, *, org: str, bundle_id: str) -> None:
    """Add trainings to an experiment, each with its attempt and, but for every tenth, which failed, its model."""
    run = new_id()[:8]
    with catalog.write() as session:
        connection = session.connection()
        job = {
            "id": f"'{run}' || printf('-%07d', n)",
            "org": f"'{org}'",
            "experiment_id": f"'{experiment_id}'",
            "dataset_id": f"'{dataset_id}'",
            "action": "'train'",
            "status": "CASE n % 10 WHEN 0 THEN 'Error' ELSE 'Done' END",
            "name": "printf('Training %d', n)",
            "result": """'{"decision": "published"}'""",
            "created_at": "n",
            "modified_at": "n",
        }
        _insert(connection, _table("job"), job, count)
        _insert(connection, _table("attempt"), {"job_id": job["id"], "n": "1", "state": "'ended'"}, count)
        model = {
            "id": f"'{run}' || printf('-m%07d', n)",
            "experiment_id": job["experiment_id"],
            "number": "n + 1",
            "bundle_id": f"'{bundle_id}'",
            "job_id": f"CASE n % 10 WHEN 0 THEN NULL ELSE {job['id']} END",
        }
        _insert(connection, _table("model_version"), model, count)


def _insert(connection: Connection, table: Table, values: dict[str, str], count: int) -> None:
    """Insert *count* rows; `n` counts them from 0, and what is not said is the column's default."""
    counted = select(literal_column("0").label("n")).cte("counted", recursive=True)
    counted = counted.union_all(select(counted.c.n + 1).where(counted.c.n + 1 < count))
    rows = select(*(literal_column(value) for value in values.values())).select_from(counted)
    connection.execute(insert(table).from_select(list(values), rows))
