"""What a commit promises: that it is on the disk, whatever happens next."""

from sqlalchemy import text

from infra.adapters.catalog.session import Catalog


def test_a_commit_is_on_the_disk_when_it_returns(catalog: Catalog) -> None:
    full = 2
    with catalog.write() as session:
        if session.get_bind().dialect.name == "sqlite":
            assert session.scalar(text("PRAGMA synchronous")) == full
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        else:
            assert session.scalar(text("SHOW synchronous_commit")) == "on"
