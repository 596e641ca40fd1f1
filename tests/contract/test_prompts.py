"""VISTA-3D's interface in a real bundle host: registered, and asked by label_prompt and by clicks."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from configs.specs.infer import InferSpec
from configs.wire.host import Failed, Load, Loaded, Predict, Prediction, ServeRequest
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tests.bundles import narrow

LABELS = {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas", 5: "right kidney"}


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Noise on an oblique grid."""
    affine = np.array([[0, 2, 0, -9], [-2, 0, 0, 7], [0, 0, -3, 5], [0, 0, 0, 1.0]])
    values = np.random.default_rng(0).normal(0, 300, (18, 17, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "image.nii")
    return str(tmp_path / "image.nii")


def test_it_registers_and_answers_label_prompts_and_clicks(warm_host: Path | None, tmp_path: Path, image: str) -> None:
    flat = str(Path(image).with_name("flat.nii"))
    nib.save(nib.Nifti1Image(np.zeros((18, 17), np.float32), np.diag([2.0, 2, 2, 1])), flat)
    hosts, folder = ProcessHosts(warm=warm_host), narrow(tmp_path / "vista3d")

    found = examine(hosts, folder, tmp_path / "check")
    assert (found.tier, found.notes, found.labels[132], found.takes_prompts) == ("A", [], "airway", True)

    work = tmp_path / "serve"
    request = ServeRequest(bundle=str(folder), labels=LABELS, out=str(work / "served"), cache=str(work / "cache"))
    with hosts.start(request, work=work, bundle=folder, readable=[Path(image).parent], threads=1) as host:
        host.send(Load(version="own"))
        messages = host.messages()
        assert any(isinstance(message, Loaded) for message in (next(messages), next(messages)))

        def ask(file: str = image, **prompts: object) -> Prediction | Failed:
            params = InferSpec.model_validate(prompts)
            host.send(Predict(id="p", version="own", image=[file], params=params, name="p.nii.gz"))
            answer = next(messages)
            assert isinstance(answer, Prediction | Failed)
            return answer

        # Guide 000's request: every number up to 117, of an experiment that has five labels.
        assert _labels(ask(label_prompt=range(1, 118))) <= {0, *LABELS}
        assert _labels(ask(label_prompt=[3])) <= {0, 3}
        assert _labels(ask(label_prompt=[5], points=[[9, 8, 7]], point_labels=[1])) <= {0, 5}
        refused = ask(label_prompt=[2], points=[[9, 8, 7]], point_labels=[1])
        assert isinstance(refused, Failed)
        assert (refused.code, "kidney is a union" in refused.message) == ("bad_input", True)
        refused = ask(flat)
        assert isinstance(refused, Failed)
        assert (refused.code, "2 axes, and the bundle's network looks at windows of 3" in refused.message) == (
            "unreadable",
            True,
        )


def _labels(answer: Prediction | Failed) -> set[int]:
    assert isinstance(answer, Prediction), answer
    predicted = nib.load(answer.path)
    assert predicted.shape == (18, 17, 16)
    return set(np.unique(np.asarray(predicted.dataobj)).tolist())
