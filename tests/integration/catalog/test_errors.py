"""What a database's error says: the statement, never the values in it."""

import pytest
from sqlalchemy.exc import IntegrityError

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Dataset

PATIENT = "Doe^Jane"


def _insert(catalog: Catalog) -> None:
    with catalog.write() as session:
        session.add(Dataset(org="nobody", name=PATIENT, spec={"url": PATIENT}))


def test_a_database_error_names_no_value(catalog: Catalog) -> None:
    with pytest.raises(IntegrityError) as failed:
        _insert(catalog)
    assert PATIENT not in str(failed.value)
    assert "INSERT INTO dataset" in str(failed.value)
