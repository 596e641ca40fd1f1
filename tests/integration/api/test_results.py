"""What jobs made, over HTTP: listed, chosen, taken away as an archive."""

import io
import json
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest
from httpx import Response
from typer.testing import CliRunner

from configs.errors import NotFoundError
from configs.specs.batch import BatchResult, BatchSpec
from infra.adapters.catalog.tables import Audit, ModelVersion, Publication
from infra.doors.cli import jobs
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import Api
from tests.integration.api.ended import CURVE, MADE, WEIGHTS, ended_job, trained

ODD = ("../model.safetensors", "/etc/passwd", "..%2f..%2fcatalog.db", "metrics/../../x", "", "a" * 3000, "\0", "🧠")


@pytest.fixture
def path(parts: Parts, experiment: str) -> str:
    """The path of a training that has ended."""
    return f"/experiments/{experiment}/jobs/{trained(parts, experiment)}"


def _unpacked(reply: Response) -> dict[str, bytes]:
    """The files of an archive, which hold nothing of this machine."""
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/gzip"), reply.text
    with tarfile.open(fileobj=io.BytesIO(reply.content), mode="r:gz") as archive:
        members = archive.getmembers()
        assert {(member.uid, member.gid, member.uname, member.gname) for member in members} <= {(0, 0, "", "")}
        opened = {member.name: archive.extractfile(member) for member in members}
        return {name: file.read() for name, file in opened.items() if file is not None}


def test_a_trainings_files_are_listed_and_come_as_an_archive_below_its_id(engineer: Api, path: str) -> None:
    job = path.rpartition("/")[2]

    assert engineer.call("GET", f"{path}:list_files").json() == sorted(MADE)
    reply = engineer.call("GET", f"{path}:download")

    assert reply.headers["content-disposition"] == f'attachment; filename="{job}.tar.gz"'
    assert _unpacked(reply) == {f"{job}/{name}": content for name, content in MADE.items()}


def test_chosen_files_come_packed_and_a_single_one_also_as_it_is(engineer: Api, path: str) -> None:
    job, selective = path.rpartition("/")[2], f"{path}:download_selective_files"

    two = engineer.call("GET", selective, params={"file_lists": ["scores.json"], "best_model": True})
    assert set(_unpacked(two)) == {f"{job}/scores.json", f"{job}/model.safetensors"}
    for asked in ({"latest_model": "True"}, {"file_lists": "model.safetensors"}):
        one = engineer.call("GET", selective, params={**asked, "tar_files": "false"})
        assert (one.content == WEIGHTS, "model.safetensors" in one.headers["content-disposition"]) == (True, True)


def test_nothing_chosen_is_refused_and_so_is_what_the_job_has_not_made(engineer: Api, path: str) -> None:
    selective = f"{path}:download_selective_files"

    nothing = engineer.call("GET", selective)
    assert (nothing.status_code, "No files passed in list format" in nothing.text) == (400, True)
    near = engineer.call("GET", selective, params={"file_lists": "scores.jsn"})
    assert (near.status_code, "Did you mean 'scores.json'" in near.text) == (404, True)
    for name in ODD:
        assert engineer.call("GET", selective, params={"file_lists": [name]}).status_code == 404, name


def test_a_body_on_a_get_says_what_is_wanted_whatever_its_content_type(engineer: Api, path: str) -> None:
    def ask(body: object) -> Response:
        content = body if isinstance(body, str) else json.dumps(body)
        return engineer.call("GET", f"{path}:download", content=content)

    assert len(_unpacked(ask({"export_type": "tao"}))) == len(_unpacked(ask({}))) == len(_unpacked(ask(""))) == 3
    for refused, status in (({"export_type": "onnx"}, 404), ({"export_type": 7}, 400), ([1], 400), ("{", 400)):
        assert ask(refused).status_code == status, refused


def test_a_job_without_results_says_so(engineer: Api, parts: Parts, experiment: str) -> None:
    path = f"/experiments/{experiment}/jobs/{ended_job(parts, experiment, 'annotation')}"

    assert engineer.call("GET", f"{path}:list_files").json() == []
    for body, said in (
        ({}, "The annotation job has no results: it is Done"),
        ({"export_type": "monai_bundle"}, "no model"),
    ):
        reply = engineer.call("GET", f"{path}:download", content=json.dumps(body))
        assert (reply.status_code, said in reply.json()["error_desc"]) == (404, True), reply.text


def test_a_loop_gives_what_its_last_published_round_made(engineer: Api, parts: Parts, experiment: str) -> None:
    loop = ended_job(parts, experiment, "annotation")
    rounds = [trained(parts, experiment, n, parent_id=loop, round_no=n) for n in (1, 2)]
    with parts.catalog.write() as session:
        first = session.query(ModelVersion).filter_by(job_id=rounds[0]).one()
        session.add(Publication(experiment_id=experiment, seq=9, version_id=first.id, by="gate", reason="", verdict={}))
    parts.blobs.attempt_folder(rounds[1], 2).joinpath("events.jsonl").write_bytes(CURVE)

    listed = engineer.call("GET", f"/experiments/{experiment}/jobs/{loop}:list_files").json()

    assert listed == sorted(MADE)


def test_a_batchs_predictions_come_under_their_images_names(
    engineer: Api, parts: Parts, experiment: str, dataset: str
) -> None:
    spec = BatchSpec(dataset_id=dataset, output="tonight").model_dump(mode="json")
    result = BatchResult(predicted=1, left_out=2).model_dump(mode="json")
    job = ended_job(parts, experiment, "batchinfer", spec=spec, result=result)
    folder = parts.settings.home / "predictions" / "tonight"
    (folder / "p1").mkdir(parents=True)
    (folder / "p1" / "a.nii.gz").write_bytes(b"voxels")
    (folder / "somebody-else.nii.gz").write_bytes(b"of another job")
    line = {"image": "p1/a", "file": "p1/a.nii.gz", "version": "v", "labels": {}}
    (folder / f"{job}.jsonl").write_text(json.dumps(line) + "\n")

    shown = engineer.call("GET", f"/experiments/{experiment}/jobs/{job}").json()
    reply = engineer.call("GET", f"/experiments/{experiment}/jobs/{job}:download")

    assert shown["result"]["stats"]["predicted"] == 1
    assert set(_unpacked(reply)) == {f"{job}/{job}.jsonl", f"{job}/p1/a.nii.gz"}


def test_results_are_for_engineers_of_the_same_organisation_and_taking_them_is_noted(
    people_of: dict[Role, Api], stranger: Api, path: str, parts: Parts
) -> None:
    for verb in (":list_files", ":download", ":download_selective_files?best_model=true"):
        assert people_of[Role.ANNOTATOR].call("GET", path + verb).status_code == 403
        assert stranger.call("GET", path + verb).status_code == 404
        assert people_of[Role.ENGINEER].call("GET", path + verb).status_code == 200
    with parts.catalog.read() as session:
        assert session.query(Audit).filter_by(action="job.download", ref=path.rpartition("/")[2]).count() == 2


def test_a_data_set_keeps_no_job_to_ask_for(engineer: Api, dataset: str) -> None:
    path = f"/datasets/{dataset}/jobs/{uuid4()}"
    for method, verb in (("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("POST", ":cancel"), ("GET", ":list_files")):
        assert engineer.call(method, path + verb).status_code == 404, verb
    for verb in (":download", ":download_selective_files"):
        assert engineer.call("GET", path + verb).status_code == 404, verb
    assert engineer.call("GET", f"/datasets/{dataset}/jobs/7:download").status_code == 400


def test_the_command_line_writes_an_archive_as_it_comes_and_over_no_file(
    engineer: Api, path: str, address: str, tmp_path: Path
) -> None:
    job, target = path.rpartition("/")[2], tmp_path / "results.tar.gz"
    asked = ["download", job, "--to", str(target), "--url", address, "--key", engineer.secret]

    assert CliRunner().invoke(jobs.app, asked).exit_code == 0
    with tarfile.open(target) as archive:
        assert archive.getnames() == [f"{job}/{name}" for name in sorted(MADE)]
    refused = CliRunner().invoke(jobs.app, asked)
    assert "exists already" in str(refused.exception)
    missing = CliRunner().invoke(jobs.app, ["download", str(uuid4()), *asked[2:]])
    assert isinstance(missing.exception, NotFoundError)
    assert [each.name for each in tmp_path.glob("*results*")] == [target.name]
