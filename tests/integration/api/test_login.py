"""Logging in, keys and tokens."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from infra.adapters.catalog.tables import ApiKey, BearerToken
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import ORG, Api


def test_a_key_is_exchanged_for_a_token_that_works(client: TestClient, annotator: Api) -> None:
    reply = client.post("/api/v1/login", content=f'{{"ngc_api_key": "{annotator.secret}"}}')
    assert reply.status_code == 201
    said = reply.json()
    whole = client.get(
        f"/api/v1/users/{said['user_id']}/datasets", headers={"Authorization": f"Bearer {said['token']}"}
    )
    assert (whole.status_code, whole.json()) == (200, [])


def test_the_catalog_holds_neither_key_nor_token(parts: Parts, client: TestClient, annotator: Api) -> None:
    token = client.post("/api/v1/login", json={"ngc_api_key": annotator.secret}).json()["token"]
    with parts.catalog.read() as session:
        kept = [*session.scalars(select(ApiKey.secret_hash)), *session.scalars(select(BearerToken.token_hash))]
    assert kept
    assert annotator.secret not in kept
    assert token not in kept
    assert all(len(value) == 64 for value in kept)


def test_a_wrong_key_is_401_in_the_dialects_words(client: TestClient) -> None:
    reply = client.post("/api/v1/login", json={"ngc_api_key": "tb_nothing"})
    assert reply.status_code == 401
    assert reply.json() == {
        "error_desc": "Unauthorized: Credentials error: Invalid NGC_API_KEY",
        "error_code": 1,
    }


def test_after_five_failures_the_address_has_to_wait_also_with_the_right_key(
    client: TestClient, annotator: Api
) -> None:
    for _ in range(5):
        assert client.post("/api/v1/login", json={"ngc_api_key": "tb_nothing"}).status_code == 401
    reply = client.post("/api/v1/login", json={"ngc_api_key": annotator.secret})
    assert reply.status_code == 429
    assert 0 < int(reply.headers["Retry-After"]) <= 61


@pytest.mark.parametrize("shown", ["", "Bearer tb_nothing", "Basic dXNlcjpwdw==", "Bearer"])
def test_without_a_valid_key_nothing_is_answered(client: TestClient, shown: str) -> None:
    reply = client.get(f"/api/v1/orgs/{ORG}/datasets", headers={"Authorization": shown} if shown else {})
    assert reply.status_code == 401
    assert reply.json()["error_code"] == 1


def test_revoking_a_key_ends_its_tokens_at_once(parts: Parts, client: TestClient, annotator: Api) -> None:
    token = client.post("/api/v1/login", json={"ngc_api_key": annotator.secret}).json()["token"]
    operator = people.operator(ORG)
    [key] = [key for key in people.list_keys(parts, operator) if key.role == Role.ANNOTATOR]
    people.revoke_key(parts, operator, key.id)
    for secret in (token, annotator.secret):
        reply = client.get(f"/api/v1/orgs/{ORG}/datasets", headers={"Authorization": f"Bearer {secret}"})
        assert reply.status_code == 401


def test_a_token_that_has_ended_is_refused(parts: Parts, client: TestClient, annotator: Api) -> None:
    token = client.post("/api/v1/login", json={"ngc_api_key": annotator.secret}).json()["token"]
    with parts.catalog.write() as session:
        for row in session.scalars(select(BearerToken)):
            row.until -= 24 * 3600 + 1
    reply = client.get(f"/api/v1/orgs/{ORG}/datasets", headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 401


def test_a_caller_sees_only_their_own_user_and_organisation(annotator: Api, stranger: Api) -> None:
    mine = annotator.at("GET", "/api/v1/auth").json()
    assert annotator.at("GET", f"/api/v1/users/{mine['user_id']}/experiments").status_code == 200
    assert stranger.at("GET", f"/api/v1/users/{mine['user_id']}/experiments").status_code == 404
    assert stranger.at("GET", f"/api/v1/orgs/{ORG}/experiments").status_code == 404
