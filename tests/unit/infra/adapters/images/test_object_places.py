"""Which store an address means, and what it may not carry."""

import pytest

from configs.errors import InvalidRequestError
from infra.adapters.images.objects.place import Endpoints, location_of, object_place

MINIO = Endpoints(s3="https://minio.hospital.example:9000")
HERE = "https://account.blob.core.windows.net"


@pytest.mark.parametrize(
    ("url", "kind", "manifest", "endpoint", "account", "region"),
    [
        ("s3://bucket/set", "s3", "bucket/set/manifest.json", MINIO.s3, "", ""),
        ("s3://bucket", "s3", "bucket/manifest.json", MINIO.s3, "", ""),
        ("s3://bucket/set/Other.json", "s3", "bucket/set/Other.json", MINIO.s3, "", ""),
        ("https://bucket.s3.amazonaws.com/a%20b/", "s3", "bucket/a b/manifest.json", "", "", ""),
        ("https://bucket.s3.eu-central-1.amazonaws.com/set", "s3", "bucket/set/manifest.json", "", "", "eu-central-1"),
        ("https://s3.us-gov-west-1.amazonaws.com/bucket/x.json", "s3", "bucket/x.json", "", "", "us-gov-west-1"),
        ("https://a.b.s3.dualstack.us-west-2.amazonaws.com", "s3", "a.b/manifest.json", "", "", "us-west-2"),
        ("https://minio.hospital.example:9000/bucket/set", "s3", "bucket/set/manifest.json", MINIO.s3, "", ""),
        (f"{HERE}/images/set", "azure", "images/set/manifest.json", HERE, "account", ""),
        ("abfs://images/set", "azure", "images/set/manifest.json", "", "", ""),
        ("abfss://images@account.dfs.core.windows.net/set", "azure", "images/set/manifest.json", HERE, "account", ""),
        ("az://images/x.json", "azure", "images/x.json", "", "", ""),
        ("gs://bucket/set", "gcs", "bucket/set/manifest.json", "", "", ""),
        ("https://storage.googleapis.com/bucket/set", "gcs", "bucket/set/manifest.json", "", "", ""),
        ("https://bucket.storage.googleapis.com/set", "gcs", "bucket/set/manifest.json", "", "", ""),
        ("https://host/data/x.json", "web", "https://host/data/x.json", "https://host", "", ""),
    ],
)
def test_an_address_tells_its_store(
    url: str, kind: str, manifest: str, endpoint: str, account: str, region: str
) -> None:
    place = object_place(url, MINIO)
    assert place is not None
    told = place.root
    assert (told.kind, place.manifest_path, told.endpoint, told.account, told.region) == (
        kind, manifest, endpoint, account, region,
    )  # fmt: skip


@pytest.mark.parametrize("url", ["https://pacs/dicom-web", "http://pacs:8042", "/a/folder", "file:///a", "ftp://a/b"])
def test_what_names_no_manifest_is_no_object_store(url: str) -> None:
    assert object_place(url, MINIO) is None


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "gs:///x",
        f"{HERE}/",
        "https://s3.amazonaws.com",
        f"{HERE}/images?sv=2024&sig=x",
        "https://h/m.json?t=1",
    ],
)
def test_an_address_without_a_bucket_or_with_a_query_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        object_place(url, MINIO)


def test_places_of_one_store_are_told_from_others() -> None:
    def same(one: str, other: str) -> bool:
        first, second = location_of(one, Endpoints()), location_of(other, Endpoints())
        assert first is not None
        assert second is not None
        return first.same_store(second)

    assert same("s3://a/x", "https://other.s3.eu-west-1.amazonaws.com/y")
    assert same("abfs://a", f"{HERE}/b")
    assert not same(f"{HERE}/b", "https://other.blob.core.windows.net/b")
    assert not same("s3://a", "gs://a")
    assert not same("https://one/m.json", "https://two/m.json")
