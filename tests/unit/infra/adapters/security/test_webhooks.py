"""Signatures of webhooks."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from configs.errors import UnauthorizedError
from infra.adapters.security.tokens import new_webhook_secret
from infra.adapters.security.webhooks import signed, verified

# The specification's own example: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example_is_signed_as_it_says() -> None:
    assert signed([SECRET], VECTOR_ID, VECTOR_BODY, VECTOR_AT) == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR_SIGNATURE,
    }


def test_what_is_signed_here_another_verifies_with_either_secret_of_a_rotation() -> None:
    new, old = new_webhook_secret(), new_webhook_secret()
    headers = signed([new, old], "one", b'{"a": 1}', datetime.now(UTC))
    for secret in (new, old):
        assert Webhook(secret).verify(b'{"a": 1}', headers) == {"a": 1}


@pytest.mark.parametrize("late", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_a_message_out_of_time_is_refused(late: timedelta) -> None:
    headers = signed([SECRET], "one", b"{}", datetime.now(UTC) + late)
    with pytest.raises(UnauthorizedError):
        verified([SECRET], headers, b"{}")


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "two"},
        {"webhook-id": ""},
        {"webhook-timestamp": "0"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,not base 64!"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 9)},
    ],
)
def test_a_message_that_was_changed_or_cannot_be_read_is_refused(changed: dict[str, str]) -> None:
    headers = signed([SECRET], "one", b"{}", datetime.now(UTC))
    assert verified([SECRET], headers, b"{}") == "one"
    with pytest.raises(UnauthorizedError):
        verified([SECRET], headers | changed, b"{}")


@pytest.mark.parametrize("body", [b"{} ", b"\xff"])
def test_another_body_is_refused(body: bytes) -> None:
    headers = signed([SECRET], "one", b"{}", datetime.now(UTC))
    with pytest.raises(UnauthorizedError):
        verified([SECRET], headers, body)


def test_another_secret_is_refused() -> None:
    headers = signed([new_webhook_secret()], "one", b"{}", datetime.now(UTC))
    with pytest.raises(UnauthorizedError):
        verified([SECRET], headers, b"{}")
