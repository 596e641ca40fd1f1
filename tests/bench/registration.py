"""A data set of 100,000 objects on a store that checks signatures, from its address to its last row.

Measured where it is named only: to fill the store takes longer than all that is measured.
"""

import json
import resource
import time
from collections.abc import Iterator

from configs.settings import Settings
from tests.bench.frame import Bench, Row, at_most, reported
from tests.bench.stores import entries, registered
from tests.fixtures_objects import Bucket, running_seaweedfs

IMAGES = 100_000
_AT_ONCE = 32


def rows(bench: Bench) -> Iterator[Row]:
    """Measure once, however many repeats are wanted."""
    folder = bench.folder / "weed"
    folder.mkdir()
    with running_seaweedfs(folder) as endpoint:
        bucket = Bucket("s3", endpoint, "set")
        named = entries(IMAGES)
        objects = [f"{bucket.name}/{bucket.folder}/{path}" for entry in named for path in entry["image"]["path"]]
        start = time.perf_counter()
        bucket.bare().pipe(dict.fromkeys(objects, b"x"), batch_size=_AT_ONCE)
        bucket.put("manifest.json", json.dumps({"data": named}).encode())
        filled = time.perf_counter()
        first, again = registered(Settings(home=bench.folder / "home", **bucket.settings), bucket)
    what = f"data set of {IMAGES:,} images on S3 registered, every object looked for"
    yield at_most(what, 180, "s", [first], "SeaweedFS on the same cores")
    yield reported("the same listed again", "s", [again])
    yield reported("its objects put there by s3fs", "s", [filled - start])
    yield reported("most memory of the process", "MB", [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024])
