"""Ten swaps under load with the catalog on PostgreSQL: `test_slot.py` has them on SQLite."""

from collections.abc import Iterator

import pytest

from tests.fixtures_catalog import new_database
from tests.integration.realtime.test_slot import (
    test_ten_swaps_under_load_leave_no_answer_failed_mixed_or_of_an_older_model,  # noqa: F401 - collected here too
)
from tests.realtime_home import Realtime, open_realtime


@pytest.fixture(scope="module")
def realtime(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, postgresql_template: str
) -> Iterator[Realtime]:
    """As every slot's here, but for its catalog."""
    with new_database(postgres_url, postgresql_template) as url:
        opened = open_realtime(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("images"), catalog_url=url)
        yield opened
        opened.parts.close()
