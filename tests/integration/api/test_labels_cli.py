"""`teachback labels` and `teachback purge`, against the application over a real port."""

from pathlib import Path

from typer.testing import CliRunner, Result

from infra.doors.cli import datasets, images, labels, purge
from infra.services.callers import Role
from tests.integration.api.conftest import Api, write_label


def test_labels_are_listed_fetched_reviewed_hidden_and_purged(
    address: str, people_of: dict[Role, Api], annotator: Api, experiment: str, folder: Path, tmp_path: Path
) -> None:
    assert experiment
    content = write_label(tmp_path / "l.nii").read_bytes()
    annotator.at("PUT", "/label/set/datastore/label?image=p1/a", files={"label": ("l.nii", content)})
    label = annotator.at("GET", "/api/teachback/v1/datasets/set/labels").json()["labels"][0]["id"]

    def run(app: object, *words: str, role: Role = Role.ADMIN, answer: str = "") -> Result:
        key = ["--url", address, "--key", people_of[role].secret]
        return CliRunner().invoke(app, [*words, *key], input=answer)  # type: ignore[arg-type]  # Typer applications

    listed = run(labels.app, "set")
    assert label in listed.output
    assert "p1/a" in listed.output
    assert run(labels.app, "list", "set", "--state", "quarantined").output.startswith("No such label")
    assert run(labels.app, "fetch", label, "--to", str(tmp_path / "back.nii")).exit_code == 0
    assert (tmp_path / "back.nii").read_bytes() == content
    assert label in run(labels.app, "queue", "set", role=Role.REVIEWER).output
    assert "approved" in run(labels.app, "approve", label, role=Role.REVIEWER).output
    assert run(labels.app, "queue", "set", role=Role.REVIEWER).output.startswith("No such label")
    assert run(labels.app, "approve", label, role=Role.ANNOTATOR).exit_code != 0
    assert "sent_back" in run(labels.app, "send-back", label, "--reason", "tail", role=Role.REVIEWER).output
    assert run(labels.app, "release", label).exit_code != 0
    made = {"client_url": str(folder), "type": "semantic_segmentation", "format": "monai"}
    theirs = folder / "labels" / "p1" / "a.nii"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"no mask")
    people_of[Role.ENGINEER].made("/datasets", name="set?1", **made)
    assert "1 labels: neither mask, class nor boxes" in run(datasets.app).output
    assert "p1/b is skipped" in run(images.app, "skip", "set?1", "p1/b", "--reason", "blurred").output
    assert "blurred" in run(images.app, "skipped", "set?1").output
    assert run(labels.app, "list", "set?1").output.startswith("No such label")
    assert run(labels.app, "agreement", "set?1").output.startswith("No image has masks of two")
    assert "hidden" in run(labels.app, "delete", label).output
    assert label in run(labels.app, "set", "--deleted").output

    assert "Nothing was deleted" in run(purge.app).output
    assert run(purge.app, "--older-than", "0", answer="n\n").exit_code != 0
    assert "labels removed" in run(purge.app, "--older-than", "0", answer="y\n").output
    assert "Nothing was deleted" in run(purge.app, "--older-than", "0", "--yes").output
