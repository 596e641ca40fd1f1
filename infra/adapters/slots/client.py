"""Asks a realtime slot over HTTP; connections are kept and reused."""

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from configs.errors import BusyError, InvalidRequestError, NotFoundError, TeachbackError, UpstreamError
from configs.wire.slot import (
    CACHED_HEADER,
    SCORE_HEADER,
    SECONDS_HEADER,
    SEQUENCE_HEADER,
    TOKEN_HEADER,
    VERSION_HEADER,
    SlotError,
    SlotHealth,
    SlotPredict,
)
from infra.adapters.security.tls import authorities

# Slots are on this network: one that does not take a connection is gone, and a replica is asked instead.
CONNECT_TIMEOUT_S = 2.0
HINT_TIMEOUT_S = 5.0


class UnreachableSlotError(BusyError):
    """Nothing answers at a slot's endpoint, so nothing was begun there: another slot may be asked."""


class DrainingSlotError(BusyError):
    """The slot finishes what it has and takes nothing new: another slot may be asked."""


# A slot that was started again has another token: to the caller it is one that does not answer.
_REFUSALS: dict[str, type[TeachbackError]] = {
    "bad_input": InvalidRequestError,
    "failed": InvalidRequestError,
    "unauthorized": UnreachableSlotError,
    "upstream": UpstreamError,
}


class SlotAnswer(BaseModel):
    """A label map and where it comes from. `seconds` is the slot's own time; `score` the image's uncertainty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    content: bytes
    media_type: str
    version: str
    seq: int
    cached: bool
    seconds: float
    score: float | None = None


class SlotClient:
    """One process's connections to all slots; safe to use from several threads.

    Args:
        connections: How many calls may be under way at once; more wait their turn.
    """

    def __init__(self, connections: int = 64) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # The endpoint is loopback or a pod's address: a proxy of the environment must not see it.
        self._http = httpx.Client(limits=limits, trust_env=False, verify=authorities())

    def predict(self, endpoint: str, token: str, request: SlotPredict, timeout_s: float) -> SlotAnswer:
        """Return the label map.

        Args:
            endpoint: The slot's address, `http://host:port`.
            token: The slot's.
            request: What to segment, and how the answer is to be written.
            timeout_s: Seconds to wait for the answer.

        Raises:
            UnreachableSlotError: If nothing answers there.
            DrainingSlotError: If the slot takes nothing new.
            BusyError: If it has too much to do, its host starts again, or it took too long.
            InvalidRequestError: If the image or the prompts don't fit the model.
            NotFoundError: If the image is not in its store.
            UpstreamError: If the store failed, or the answer is none of a slot.
        """
        response = self._send("POST", f"{endpoint}/predict", token, timeout_s, request)
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        headers = response.headers
        try:
            return SlotAnswer(
                content=response.content,
                media_type=headers.get("content-type", ""),
                version=headers.get(VERSION_HEADER),
                seq=headers.get(SEQUENCE_HEADER),
                cached=headers.get(CACHED_HEADER),
                seconds=headers.get(SECONDS_HEADER),
                score=headers.get(SCORE_HEADER),
            )
        except ValidationError:
            raise UpstreamError("What answers at the slot's endpoint is no slot: wait for its next start") from None

    def hint(self, endpoint: str, token: str, request: SlotPredict) -> None:
        """Have an image predicted for later; whether the slot does is its own affair, and nothing is raised."""
        background = request.model_copy(update={"background": True})
        try:
            self._send("POST", f"{endpoint}/predict", token, HINT_TIMEOUT_S, background)
        except BusyError:
            return

    def health(self, endpoint: str, token: str) -> SlotHealth:
        """Return how the slot is.

        Raises:
            BusyError: If nothing answers there.
            UpstreamError: If what answers is no slot.
        """
        response = self._send("GET", f"{endpoint}/health", token, HINT_TIMEOUT_S)
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        try:
            return SlotHealth.model_validate_json(response.content)
        except ValidationError:
            raise UpstreamError("What answers at the slot's endpoint is no slot: wait for its next start") from None

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def _send(
        self, method: str, url: str, token: str, timeout_s: float, request: SlotPredict | None = None
    ) -> httpx.Response:
        body = None if request is None else request.model_dump_json().encode()
        headers = {TOKEN_HEADER: token, "Content-Type": "application/json"}
        # Connecting fails fast, since another replica may answer; a prediction may take its time.
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            return self._http.request(method, url, content=body, headers=headers, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol):
            raise UnreachableSlotError("The realtime server does not answer; it starts again by itself") from None
        except httpx.TimeoutException:
            raise BusyError(f"The realtime server did not answer within {timeout_s:.0f} s: ask again") from None
        except httpx.TransportError:
            raise BusyError("The realtime server broke off; it starts again by itself: ask again") from None


def _refusal(response: httpx.Response) -> TeachbackError:
    """Return the error that a slot's refusal stands for."""
    try:
        error = SlotError.model_validate_json(response.content)
    except ValidationError:
        return UpstreamError(f"The realtime server answered {response.status_code} without saying why")
    match error.code:
        case "busy" | "draining":
            kind = BusyError if error.code == "busy" else DrainingSlotError
            return kind(error.message, retry_after_s=int(response.headers.get("Retry-After", "5")))
        case "not_found":
            return NotFoundError("image", error.message)
        case _:
            return _REFUSALS[error.code](error.message)
