"""Our own routes: status, model versions, keys."""

from sqlalchemy import update

from infra.adapters.catalog.tables import Decision, Experiment, Job, ModelVersion
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.publishing.gate import Verdict
from tasks.rounds.records.result import RoundResult, VersionScores
from tests.integration.api.conftest import Api

OURS = "/api/teachback/v1"


def _second_version(parts: Parts, experiment: str) -> str:
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        version = ModelVersion(experiment_id=experiment, number=1, bundle_id=row.bundle_id, weights="a" * 64)
        session.add(version)
        session.flush()
        return version.id


def test_status_tells_what_runs_and_what_waits(engineer: Api, annotator: Api, dataset: str, experiment: str) -> None:
    loop = engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 3})
    said = annotator.at("GET", f"{OURS}/status").json()
    assert said["counts"]["images"] == said["counts"]["images_waiting"] == 6
    assert [(one["job_id"], one["pending"], one["round_size"]) for one in said["loops"]] == [(loop, 0, 3)]
    assert said["health"]["catalog"]
    assert said["health"]["orchestrator"]
    assert dataset not in str(said["health"])


def test_a_person_publishes_and_goes_back(engineer: Api, experiment: str, parts: Parts) -> None:
    known = engineer.at("GET", f"{OURS}/models?experiment={experiment}").json()
    first, second = known["published_version"], _second_version(parts, experiment)
    body = {"experiment": experiment, "version": second, "compared_with": first, "reason": "looks better"}
    assert engineer.at("POST", f"{OURS}/models:publish", json=body).json()["seq"] == 2
    again = engineer.at("POST", f"{OURS}/models:publish", json=body)
    assert again.status_code == 409
    assert "published since you looked" in again.json()["detail"]
    back = engineer.at("POST", f"{OURS}/models:rollback", json={"experiment": "liver and spleen"}).json()
    assert (back["seq"], back["version_id"], back["previous_id"]) == (3, first, second)
    after = engineer.at("GET", f"{OURS}/models?experiment={experiment}").json()
    assert [publication["seq"] for publication in after["publications"]] == [3, 2, 1]
    assert after["published_version"] == first


def test_a_version_that_waits_for_review_is_declined_or_published_by_its_id(
    engineer: Api, annotator: Api, stranger: Api, experiment: str, parts: Parts
) -> None:
    job = engineer.made(f"/experiments/{experiment}/jobs", action="train")
    version = _second_version(parts, experiment)
    with parts.catalog.write() as session:
        session.get_one(ModelVersion, version).job_id = job
        session.add(Decision(job_id=job, outcome="review", reason="waits for a person"))
    listed = annotator.at("GET", f"{OURS}/models?experiment={experiment}").json()["versions"]
    assert [one["decision"] for one in listed] == ["review", None]
    body = {"version": version, "reason": "misses small lesions"}
    assert stranger.at("POST", f"{OURS}/models:decline", json=body).status_code == 404
    assert annotator.at("POST", f"{OURS}/models:decline", json=body).status_code == 403
    assert engineer.at("POST", f"{OURS}/models:decline", json=body).json()["decision"] == "declined"
    assert engineer.at("POST", f"{OURS}/models:decline", json=body).status_code == 409
    assert engineer.at("POST", f"{OURS}/models:publish", json={"version": version}).json()["version_id"] == version


def test_there_is_nothing_to_go_back_to_at_first(engineer: Api, experiment: str) -> None:
    reply = engineer.at("POST", f"{OURS}/models:rollback", json={"experiment": experiment})
    assert reply.status_code == 400
    assert "nothing to go back to" in reply.json()["detail"]


def test_a_version_of_another_experiment_cannot_be_published(engineer: Api, experiment: str) -> None:
    body = {"experiment": experiment, "version": "11111111-2222-4333-8444-555555555555"}
    assert engineer.at("POST", f"{OURS}/models:publish", json=body).status_code == 404


def test_a_finished_round_shows_both_versions_and_the_verdict(engineer: Api, experiment: str, parts: Parts) -> None:
    job = engineer.made(f"/experiments/{experiment}/jobs", action="train")
    verdict = Verdict(outcome="publish", rule="paired evidence", reason="better", cases=5, mean_difference=0.1)
    result = RoundResult(
        labels=7,
        metric_kind="holdout",
        metric_cases=5,
        key_metric=0.8,
        published=VersionScores(version="old", mean=0.7, per_label={"liver": 0.7, "spleen": None}),
        challenger=VersionScores(version="new", mean=0.8, per_label={"liver": 0.8, "spleen": None}),
        verdict=verdict,
        decision="published",
        train_seconds=12.5,
        start_seconds=1.5,
    )
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job).values(status="Done", result=result.model_dump(mode="json")))
    [shown] = engineer.at("GET", f"{OURS}/rounds?experiment={experiment}").json()["rounds"]
    assert shown["challenger"]["per_label"] == {"liver": 0.8, "spleen": None}
    assert (shown["verdict"]["rule"], shown["decision"]) == ("paired evidence", "published")
    assert (shown["train_seconds"], shown["start_seconds"], shown["labels"]) == (12.5, 1.5, 7)
    cloud = engineer.call("GET", f"/experiments/{experiment}/jobs/{job}").json()["result"]
    assert (cloud["key_metric"], cloud["metric_kind"], cloud["metric_cases"]) == (0.8, "holdout", 5)


def test_a_round_that_evaluated_no_case_has_no_metric(engineer: Api, experiment: str, parts: Parts) -> None:
    job = engineer.made(f"/experiments/{experiment}/jobs", action="train")
    result = RoundResult(labels=1, metric_kind="prequential", metric_cases=0).model_dump(mode="json")
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job).values(status="Done", result=result))

    cloud = engineer.call("GET", f"/experiments/{experiment}/jobs/{job}").json()["result"]

    assert (cloud["key_metric"], cloud["metric_kind"], cloud["metric_cases"]) == (None, "prequential", 0)


def test_an_admin_makes_and_revokes_keys_of_their_own_organisation(people_of: dict[Role, Api], stranger: Api) -> None:
    admin = people_of[Role.ADMIN]
    made = admin.at("POST", f"{OURS}/keys", json={"name": "slicer", "role": "annotator"}).json()
    fresh = Api(admin.client, admin.org, made["secret"])
    assert fresh.call("GET", "/datasets").status_code == 200
    listed = admin.at("GET", f"{OURS}/keys")
    assert made["id"] in {key["id"] for key in listed.json()}
    assert made["secret"] not in listed.text
    assert made["id"] not in stranger.at("GET", f"{OURS}/keys").text
    assert stranger.at("DELETE", f"{OURS}/keys/{made['id']}").status_code == 404
    assert admin.at("DELETE", f"{OURS}/keys/{made['id']}").status_code == 204
    assert fresh.call("GET", "/datasets").status_code == 401


def test_bundles_are_listed_with_what_they_are(annotator: Api) -> None:
    [bundle] = annotator.at("GET", f"{OURS}/bundles").json()
    assert (bundle["name"], bundle["tier"]) == ("small", "A")
