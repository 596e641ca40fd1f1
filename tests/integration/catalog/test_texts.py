"""Text that no database keeps is refused as the caller's, whatever the database."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from configs.errors import InvalidRequestError
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Dataset


@pytest.mark.parametrize("name", ["half a pair \ud800", "p1/\udcff.nii"])
def test_half_a_character_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidRequestError), catalog.read() as session:
        session.scalars(select(Dataset).where(Dataset.name == name)).all()


def test_nul_is_never_the_server_s_failure(catalog: Catalog) -> None:
    query = select(Dataset).where(Dataset.name == "a\0b")
    with catalog.read() as session:
        if catalog.is_sqlite:
            assert session.scalars(query).all() == []
            return
        with pytest.raises(InvalidRequestError):
            session.scalars(query).all()


@pytest.mark.parametrize("document", [{"names": {"1": "a\0b"}}, {"a\0b": 1}, {"list": [{"x": "\0"}]}])
def test_nul_deep_in_a_document_is_never_the_server_s_failure(catalog: Catalog, document: dict[str, object]) -> None:
    with pytest.raises((InvalidRequestError, IntegrityError)) as refused, catalog.write() as session:
        session.add(Dataset(org="nobody", name="x", spec=document))
    assert catalog.is_sqlite == isinstance(refused.value, IntegrityError), "SQLite keeps it, were there such an org"
