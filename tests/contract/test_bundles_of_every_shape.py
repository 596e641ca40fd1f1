"""Every shape that a bundle may have registers with its tier, or with a reason that says what to do; and serves."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from configs.errors import BundleError
from configs.wire.answers import ClassAnswer
from configs.wire.host import Case, ImageScore, Load, Loaded, Predict, Prediction, ScoreRequest, ServeRequest
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tests.shapes.answering import of_pictures, tells_a_class
from tests.shapes.every import REFUSED, SERVES
from tests.shapes.own_code import needs_more

SHAPE = (18, 17, 16)
_NUMBERED = "The bundle does not name its labels: they are numbered"


@pytest.fixture(scope="module")
def hosts(warm_host: Path | None) -> ProcessHosts:
    return ProcessHosts(warm=warm_host)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Four files of noise on an oblique grid."""
    affine = np.array([[0, 2, 0, -9], [-2, 0, 0, 7], [0, 0, -3, 5], [0, 0, 0, 1.0]])
    random = np.random.default_rng(0)
    for number in range(4):
        nib.save(nib.Nifti1Image(random.normal(size=SHAPE).astype(np.float32), affine), tmp_path / f"{number}.nii")
    return [str(tmp_path / f"{number}.nii") for number in range(4)]


@pytest.mark.parametrize("name", SERVES)
def test_it_registers_with_its_tier_and_serves(
    hosts: ProcessHosts, tmp_path: Path, images: list[str], name: str
) -> None:
    make, tier, reason = SERVES[name]
    folder = make().write(tmp_path / name)

    found = examine(hosts, folder, tmp_path / "check")

    assert found.tier == tier
    assert reason in found.reason
    assert [note for note in found.notes if "made-up image" in note] == []
    image = images if name == "regions" else images[:1]
    predicted = _predict(hosts, folder, tmp_path / "serve", found.labels, image)
    assert predicted.shape == SHAPE
    assert set(np.unique(predicted)) <= {0, *found.labels}


def _predict(
    hosts: ProcessHosts, folder: Path, work: Path, labels: dict[int, str], image: list[str]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    path = _answer(hosts, folder, work, labels, image)
    return np.asarray(nib.load(path).dataobj).astype(np.uint8)


def _answer(hosts: ProcessHosts, folder: Path, work: Path, labels: dict[int, str], image: list[str]) -> Path:
    request = ServeRequest(bundle=str(folder), labels=labels, out=str(work / "served"), cache=str(work / "cache"))
    with hosts.start(request, work=work, bundle=folder, readable=[Path(image[0]).parent], threads=1) as host:
        host.send(Load(version="own"))
        messages = host.messages()
        assert any(isinstance(message, Loaded) for message in (next(messages), next(messages)))
        host.send(Predict(id="p", version="own", image=image, name="p.nii.gz"))
        answer = next(messages)
        assert isinstance(answer, Prediction), answer
        return Path(answer.path)


def test_what_an_image_alone_does_not_satisfy_registers_with_a_note(hosts: ProcessHosts, tmp_path: Path) -> None:
    found = examine(hosts, needs_more().write(tmp_path / "needs_more"), tmp_path / "check")
    (note,) = found.notes
    assert note.startswith("Its inference was tried on a made-up image, and failed: KeyError: 'dose'")


def test_one_that_tells_a_class_of_a_picture_answers_with_the_chances_of_each(
    hosts: ProcessHosts, tmp_path: Path
) -> None:
    folder = tells_a_class().write(tmp_path / "tells_a_class")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)).save(tmp_path / "grey.png")

    found = examine(hosts, folder, tmp_path / "check")

    assert (found.answers, found.labels, found.notes) == ("class", {0: "label 1", 1: "label 2"}, [_NUMBERED])
    path = _answer(hosts, folder, tmp_path / "serve", found.labels, [str(tmp_path / "grey.png")])
    said = ClassAnswer.model_validate_json(path.read_bytes())
    assert set(said.probabilities) == {0, 1}
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert said.probabilities[said.index] >= 0.5


def test_one_that_takes_pictures_answers_with_a_slice_of_their_pixels(hosts: ProcessHosts, tmp_path: Path) -> None:
    folder = of_pictures().write(tmp_path / "of_pictures")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)).save(tmp_path / "grey.png")

    found = examine(hosts, folder, tmp_path / "check")

    assert (found.tier, found.notes) == ("A", [])
    answer = nib.load(_answer(hosts, folder, tmp_path / "serve", found.labels, [str(tmp_path / "grey.png")]))
    assert answer.shape == (40, 24, 1)
    assert answer.affine.tolist() == np.diag([-1, -1, 1, 1]).tolist()


@pytest.mark.parametrize("size", [(24, 24), (24, 40)])
def test_masks_of_pictures_are_scored_against_the_answer(
    hosts: ProcessHosts, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder, labels = of_pictures().write(tmp_path / "of_pictures"), {1: "disc"}
    image, label = tmp_path / "grey.png", tmp_path / "label.nii"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)).save(image)
    answer = _predict(hosts, folder, tmp_path / "serve", labels, [str(image)])
    assert set(np.unique(answer)) == {0, 1}
    nib.save(nib.Nifti1Image(answer[..., 0], np.diag([-1, -1, 1, 1])), label)
    case = Case(id="1", image=[str(image)], label=str(label))

    for method, itself in (("dice", 1.0), ("surface", 0.0)):
        request = ScoreRequest(bundle=str(folder), images=[case], labels=labels, method=method)
        with hosts.start(request, work=tmp_path / method, bundle=folder, readable=[tmp_path], threads=1) as host:
            scored = [message for message in host.messages() if isinstance(message, ImageScore)]
        assert [each.score for each in scored] == [itself]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_serve_here_says_why_and_what_to_do(hosts: ProcessHosts, tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(BundleError, match=reason):
        examine(hosts, make().write(tmp_path / name), tmp_path / "check")
