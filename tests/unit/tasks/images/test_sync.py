"""Who a patient is, and whom the hash sends to evaluation."""

from pathlib import Path

import pytest

from infra.adapters.images.base import StoredImage
from infra.adapters.security.vault import Vault
from tasks.images.sync import is_held_out, patient_key_of

ORG = "clinic"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "keys.json")


def _image(key: str, patient: str | None, study: str | None) -> StoredImage:
    return StoredImage(key=key, patient=patient, study=study, name="t1", meta={}, fingerprint="f")


def test_images_are_of_one_patient_by_the_patient_else_by_the_study_else_alone(vault: Vault) -> None:
    def key(*image: str | None) -> str:
        return patient_key_of(vault, ORG, _image(str(image[0]), image[1], image[2]))

    assert key("a", "smith", "1.2") == key("b", "smith", "1.3") != key("c", "jones", "1.2")
    assert key("a", None, "1.2") == key("b", None, "1.2") != key("c", None, "1.3")
    assert key("a", None, None) != key("b", None, None)


def test_a_patient_is_a_hash_of_the_organisations_own(vault: Vault, tmp_path: Path) -> None:
    image = _image("a", "smith", "1.2")
    ours = patient_key_of(vault, ORG, image)

    assert len(ours) == 64
    assert "smith" not in ours
    assert ours == patient_key_of(vault, ORG, image), "the same for ever"
    assert ours != patient_key_of(vault, "elsewhere", image)
    assert ours != patient_key_of(Vault(tmp_path / "other.json"), ORG, image)


def test_the_hash_sends_a_fifth_of_the_patients_to_evaluation(vault: Vault) -> None:
    held_out = [is_held_out(vault.keyed_hash(ORG, f"patient-{number}")) for number in range(4000)]

    assert sum(held_out) == pytest.approx(800, abs=4 * 25), "four standard deviations of a binomial"
