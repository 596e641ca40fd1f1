"""Case scores are kept once and found again, on both databases."""

from infra.adapters.catalog import scores
from infra.adapters.catalog.session import Catalog


def test_a_score_that_somebody_else_kept_first_stays_as_it_is(catalog: Catalog) -> None:
    with catalog.write() as session:
        scores.keep(session, {})
        scores.keep(session, {"a": {"mean": 0.5}, "b": {"mean": None}})
        scores.keep(session, {"b": {"mean": 0.9}, "c": {"mean": 0.1}})

    with catalog.read() as session:
        found = scores.known(session, ["c", "b", "a", "unknown"])
    assert found == {"a": {"mean": 0.5}, "b": {"mean": None}, "c": {"mean": 0.1}}


def test_more_keys_than_one_statement_takes_are_looked_up(catalog: Catalog) -> None:
    with catalog.write() as session:
        scores.keep(session, {f"{number}": {"mean": number / 2000} for number in range(2000)})

    with catalog.read() as session:
        assert len(scores.known(session, [f"{number}" for number in range(2500)])) == 2000
