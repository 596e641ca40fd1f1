"""`Idempotency-Key` on every POST that changes something, on each database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import func, select

from configs.settings import Settings
from infra.adapters.catalog.tables import ApiKey, Dataset, Experiment, Hook, IdempotencyKey, Job
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, Api

ONCE = {"Idempotency-Key": "once"}
KEYS, HOOKS = "/api/teachback/v1/keys", "/api/teachback/v1/hooks"


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog_url=catalog_url)


@pytest.fixture
def admin(people_of: dict[Role, Api]) -> Api:
    return people_of[Role.ADMIN]


def _count(parts: Parts, table: Any) -> int:
    with parts.catalog.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_repeated_post_is_answered_as_the_first_and_does_nothing(admin: Api, parts: Parts, folder: Path) -> None:
    posts: list[tuple[Any, str, dict[str, Any]]] = [
        (Dataset, f"/api/v1/orgs/{admin.org}/datasets", {"client_url": str(folder)}),
        (
            Experiment,
            f"/api/v1/orgs/{admin.org}/experiments",
            {"network_arch": "monai_segmentation", "base_experiment": [BASE_ID]},
        ),
        (ApiKey, KEYS, {"name": "x", "role": "annotator"}),
        (Hook, HOOKS, {"url": "http://127.0.0.1:9/", "events": ["*"]}),
    ]
    for number, (table, path, body) in enumerate(posts):
        before, header = _count(parts, table), {"Idempotency-Key": f"k{number}"}
        first, again = (admin.at("POST", path, json=body, headers=header) for _ in range(2))
        assert first.status_code == 201, first.text
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Idempotency-Replayed"] == "true"
        assert _count(parts, table) == before + 1
        other = admin.at("POST", path, json={**body, "name": "other"}, headers=header)
        assert other.status_code == 409
        other = admin.at("POST", KEYS, json={"name": "y", "role": "annotator"}, headers=header)
        assert other.status_code == 409


def test_two_at_once_have_one_effect_and_one_answer(admin: Api, parts: Parts) -> None:
    before = _count(parts, ApiKey)

    def post(_number: int) -> Response:
        return admin.at("POST", KEYS, json={"name": "x", "role": "annotator"}, headers=ONCE)

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(post, range(4)))
    assert [reply.status_code for reply in replies] == [201] * 4
    assert len({reply.json()["secret"] for reply in replies}) == 1
    assert _count(parts, ApiKey) == before + 1


def test_the_kept_answer_shows_no_secret(admin: Api, parts: Parts) -> None:
    secret = admin.at("POST", KEYS, json={"name": "x", "role": "annotator"}, headers=ONCE).json()["secret"]
    with parts.catalog.read() as session:
        kept = session.scalars(select(IdempotencyKey)).one()
    assert secret not in str(kept.answer)


def test_a_job_whose_answer_was_lost_is_named_again(engineer: Api, experiment: str, parts: Parts) -> None:
    path = f"/experiments/{experiment}/jobs"
    job = engineer.call("POST", path, json={"action": "train"}, headers=ONCE).json()
    with parts.catalog.write() as session:  # the process died after the effect and before its answer was kept
        row = session.scalars(select(IdempotencyKey)).one()
        row.answer = {"id": row.answer["id"]}
    again = engineer.call("POST", path, json={"action": "train"}, headers=ONCE)
    assert (again.status_code, again.json()) == (201, job)
    assert _count(parts, Job) == 1


def test_what_changes_nothing_notes_nothing(admin: Api, parts: Parts) -> None:
    refused = admin.at("POST", KEYS, json={"name": "", "role": "annotator"}, headers=ONCE)
    assert refused.status_code == 400
    assert _count(parts, IdempotencyKey) == 0
    assert admin.at("POST", KEYS, json={"name": "x", "role": "annotator"}, headers=ONCE).status_code == 201


def test_a_repeated_nextimage_gives_the_same_image_and_leases_one(engineer: Api, dataset: str) -> None:
    body = {"action": "nextimage"}
    path = f"/datasets/{dataset}/jobs"
    first, again = (engineer.call("POST", path, json=body, headers=ONCE).json()["image"] for _ in range(2))
    assert first == again
    assert engineer.made(path, **body)["image"] != first


def test_nobody_else_gets_a_persons_answer(people_of: dict[Role, Api]) -> None:
    made = people_of[Role.ADMIN].at("POST", KEYS, json={"name": "x", "role": "admin"}, headers=ONCE)
    asked = people_of[Role.ANNOTATOR].at("POST", KEYS, json={"name": "x", "role": "admin"}, headers=ONCE)
    assert asked.status_code == 409
    assert made.json()["secret"] not in asked.text


def test_a_body_that_nests_without_end_is_refused_by_its_route(admin: Api) -> None:
    asked = admin.at("POST", KEYS, content="[" * 100_000, headers={**ONCE, "Content-Type": "application/json"})
    assert asked.status_code in {400, 422}


def test_a_key_that_is_too_long_is_refused_and_does_nothing(admin: Api, parts: Parts) -> None:
    before, header = _count(parts, ApiKey), {"Idempotency-Key": "k" * 257}
    asked = admin.at("POST", KEYS, json={"name": "x", "role": "annotator"}, headers=header)
    assert asked.status_code == 400
    assert _count(parts, ApiKey) == before


def test_another_organisation_may_use_the_same_key(admin: Api, stranger: Api) -> None:
    ids = {
        api.at("POST", KEYS, json={"name": "x", "role": "annotator"}, headers=ONCE).json()["id"]
        for api in (admin, stranger)
    }
    assert len(ids) == 2
