"""A bundle to begin from is one that can be built, trained and served as it is."""

from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from tasks.bundles.new import write_bundle
from tasks.compute.loader.check import check
from tasks.compute.loader.config import Bundle

SAMPLE = Path(__file__).parents[4] / "bundles" / "sample"


def test_a_new_bundle_has_its_own_labels_and_channels_and_is_of_tier_a(tmp_path: Path) -> None:
    write_bundle(SAMPLE, tmp_path / "kidneys", ["left kidney", "right kidney"], channels=2)

    found = check(Bundle(tmp_path / "kidneys"))

    assert (found.tier, found.labels) == ("A", {1: "left kidney", 2: "right kidney"})
    assert found.notes == []
    with pytest.raises(InvalidRequestError, match="is there already"):
        write_bundle(SAMPLE, tmp_path / "kidneys", ["liver"])
