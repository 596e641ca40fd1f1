"""S3 by s3fs: Amazon's, any other that speaks it, and Google's by HMAC keys."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import s3fs

from configs.errors import InvalidRequestError
from infra.adapters.images.base import Credentials
from infra.adapters.images.objects.files import Found, ObjectFiles, found_of
from infra.adapters.images.objects.place import Location
from infra.adapters.images.web import CONNECT_S, READ_S, silence
from infra.adapters.security.egress import EgressPolicy
from infra.adapters.security.egress_async import Guard


class S3Files(ObjectFiles):
    """Objects in S3.

    Args:
        location: Where.
        credentials: Access key and secret; none = what everybody may read.
        policy: Which addresses may be called.

    Raises:
        InvalidRequestError: If the credentials are of another kind.
    """

    kind = "s3"

    def __init__(self, location: Location, credentials: Credentials | None, policy: EgressPolicy) -> None:
        silence("s3fs", "botocore", "aiobotocore")
        guard = Guard(policy)
        config = {
            "connector_args": {"resolver": guard, "socket_factory": guard.socket},
            "proxies": {},  # one of the environment would go around the policy
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"total_max_attempts": 1},  # s3fs tries again itself
            # Stores other than Amazon's know no checksums at the end of a body.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            # The environment may name an endpoint for other programs: it would go around the policy, too.
            "ignore_configured_endpoint_urls": True,
        }
        # Servers of one's own have no name for each bucket.
        if location.endpoint:
            config["s3"] = {"addressing_style": "path"}
        super().__init__(
            s3fs.S3FileSystem(
                **_signed_with(credentials),
                endpoint_url=location.endpoint or None,
                client_kwargs={"region_name": location.region or "us-east-1"},
                config_kwargs=config,
                # What came since the last listing would be missed.
                use_listings_cache=False,
                skip_instance_cache=True,
            ),
            address_of(location),
        )

    async def _head(self, path: str) -> Mapping[str, Any]:
        bucket, _, key = path.partition("/")
        said: Mapping[str, Any] = await self._files._call_s3("head_object", Bucket=bucket, Key=key)  # noqa: SLF001 - in our loop
        return {**said, "size": said["ContentLength"]}

    async def _pages(self, bucket: str, prefix: str) -> AsyncIterator[list[Found]]:
        more: dict[str, str] = {}
        while True:
            page = await self._files._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)  # noqa: SLF001 - as above
            yield [found_of(f"{bucket}/{each['Key']}", each) for each in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def address_of(location: Location) -> str:
    """Return the address that is called."""
    amazon = f"https://s3.{location.region}.amazonaws.com" if location.region else "https://s3.amazonaws.com"
    return location.endpoint or amazon


def _signed_with(credentials: Credentials | None) -> dict[str, object]:
    if credentials is None:
        return {"anon": True}
    if not credentials.username or credentials.password is None:
        raise InvalidRequestError("S3 is entered by an access key as client_id and its secret as client_secret")
    return {"key": credentials.username, "secret": credentials.password.get_secret_value()}
