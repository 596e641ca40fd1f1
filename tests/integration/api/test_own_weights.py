"""An experiment that starts from weights of one's own: an experiment as its base, and a job."""

import pytest
from sqlalchemy import update

from configs.states import JobStatus
from infra.adapters.catalog.tables import Job
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, Api
from tests.integration.api.ended import ended_job, trained

BODY = {"name": "mine", "network_arch": "monai_segmentation"}


@pytest.fixture
def job(parts: Parts, experiment: str) -> str:
    """A training that has ended."""
    return trained(parts, experiment, 1)


def test_it_begins_with_the_jobs_weights(engineer: Api, experiment: str, job: str) -> None:
    made = engineer.made("/experiments", **BODY, base_experiment=[experiment], additional_id_info=job)

    assert made["base_experiment"] == [experiment]
    listed = [
        engineer.at("GET", f"/api/teachback/v1/models?experiment={each}").json()["versions"]
        for each in (experiment, made["id"])
    ]
    theirs, ours = (next(version for version in versions if version["weights"]) for versions in listed)
    assert ours["weights"] == theirs["weights"]
    assert (ours["published"], made["published_version"]) == (True, ours["id"])


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.ERROR, JobStatus.CANCELED])
def test_a_job_that_is_not_done_has_no_weights_to_give(
    engineer: Api, parts: Parts, experiment: str, job: str, status: JobStatus
) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job).values(status=status))

    body = {**BODY, "base_experiment": [experiment], "additional_id_info": job}
    refused = engineer.call("POST", "/experiments", json=body)

    assert (refused.status_code, f"is {status} and has made no model" in refused.text) == (400, True), refused.text


def test_a_job_that_is_no_training_of_that_experiment_is_refused_by_name(
    engineer: Api, parts: Parts, experiment: str, job: str
) -> None:
    loop, other = (
        ended_job(parts, experiment, "annotation"),
        engineer.made("/experiments", **BODY, base_experiment=[BASE_ID]),
    )
    asked = {
        "has no weights of its own: name a train job": ([experiment], loop),
        "No job of the experiment is named": ([other["id"]], job),
        "leave it out, or name the job's experiment": ([BASE_ID], job),
        "needs job_id in the request for path location": ([experiment], None),
        "Job ID passed is not a valid UUID": ([experiment], "../../jobs"),
    }
    for said, (base, job_id) in asked.items():
        refused = engineer.call(
            "POST", "/experiments", json={**BODY, "base_experiment": base, "additional_id_info": job_id}
        )
        assert (refused.status_code, said in refused.json()["error_desc"]) == (400, True), refused.text


def test_another_organisations_experiment_is_as_if_it_were_not_there(stranger: Api, experiment: str, job: str) -> None:
    body = {**BODY, "base_experiment": [experiment], "additional_id_info": job}
    refused = stranger.call("POST", "/experiments", json=body)

    assert (refused.status_code, "No experiment is named" in refused.text) == (400, True), refused.text


@pytest.mark.parametrize("arch", ["monai_segmentation", "monai_classification", "monai_detection", "monai_custom"])
def test_without_base_or_address_an_architecture_of_any_bundle_asks_for_one(engineer: Api, arch: str) -> None:
    refused = engineer.call("POST", "/experiments", json={"network_arch": arch})

    assert (refused.status_code, "Either `bundle_url` or" in refused.json()["error_desc"]) == (400, True)
