"""Text that no database keeps is refused as the caller's, whatever the database."""

import pytest
from sqlalchemy import select

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
