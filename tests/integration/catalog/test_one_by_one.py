"""Units that name the same thing wait for each other, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select

from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Organisation


def test_of_eight_units_at_once_that_add_what_is_missing_one_adds_it(catalog: Catalog) -> None:
    gate = Barrier(8)

    def add(_: int) -> None:
        gate.wait()
        with catalog.write() as session:
            one_by_one(session, "organisation/clinic")
            if session.get(Organisation, "clinic") is None:
                session.add(Organisation(id="clinic"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))

    with catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Organisation)) == 1
