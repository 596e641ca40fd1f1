"""Signatures of webhooks by the Standard Webhooks specification, for messages that go out and that come in."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError

from configs.errors import UnauthorizedError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
MAX_ID_CHARS = 256
# Senders send two while a secret is being replaced; each costs a hash before the caller is known.
MAX_SIGNATURES = 8


def signed(secrets: Sequence[str], message_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return the headers of a message, with one signature per secret.

    Args:
        secrets: `whsec_` and base 64, the newest first; during a rotation there are two.
        message_id: The same for every try.
        body: As it is sent, UTF-8.
        at: When this try is made, with its time zone.
    """
    moment = at.astimezone(UTC)
    made = [Webhook(secret).sign(message_id, moment, body.decode()) for secret in secrets]
    return {ID: message_id, TIMESTAMP: str(int(moment.timestamp())), SIGNATURE: " ".join(made)}


def verified(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> str:
    """Return a message's id, once its signature is found to be one of these secrets' and its time within 5 minutes.

    Raises:
        UnauthorizedError: If it is not, or a header is missing or cannot be read.
    """
    named = {name: headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE)}
    # Bounded before anything is computed: whoever sends it has not shown yet who they are.
    fits = 0 < len(named[ID]) <= MAX_ID_CHARS and len(named[SIGNATURE].split(" ")) <= MAX_SIGNATURES
    if fits and any(_fits(secret, named, body) for secret in secrets):
        return named[ID]
    raise UnauthorizedError(
        f"The message is not signed as agreed: send {ID}, {TIMESTAMP} (within 5 minutes) and {SIGNATURE}: "
        "v1,<base64 HMAC-SHA256 of id.timestamp.body>"
    )


def _fits(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a header or body that is no text of the right form
        return False
    return True
