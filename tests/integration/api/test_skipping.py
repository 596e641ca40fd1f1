"""Images that nobody is to label, leases, and scores, over HTTP."""

from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Experiment, Image, Lease
from infra.wiring import Parts
from tasks.selection.scores import keep_score
from tests.integration.api.conftest import Api


def _next(api: Api, dataset: str, **specs: str) -> str:
    return str(api.made(f"/datasets/{dataset}/jobs", action="nextimage", specs=specs)["image"])


def _skipped(api: Api, dataset: str) -> dict[str, str]:
    reply = api.at("GET", f"/api/teachback/v1/datasets/{dataset}/skipped")
    assert reply.status_code == 200, reply.text
    return {row["image"]: row["reason"] for row in reply.json()["images"]}


def test_a_skipped_image_is_shown_with_its_reason_and_given_to_nobody_until_an_engineer_clears_it(
    annotator: Api, engineer: Api, dataset: str
) -> None:
    image = _next(annotator, dataset)
    ours = f"/api/teachback/v1/datasets/{dataset}"
    reply = annotator.at("POST", f"{ours}/images:skip", json={"image": image, "reason": "cut off"})
    assert (reply.status_code, reply.json().get("reason")) == (200, "cut off"), reply.text

    others = {_next(engineer, dataset) for _ in range(5)}
    assert image not in others
    assert engineer.call("POST", f"/datasets/{dataset}/jobs", json={"action": "nextimage"}).status_code == 404
    assert _skipped(annotator, dataset) == {image: "cut off"}

    assert annotator.at("POST", f"{ours}/images:clear", json={"image": image}).status_code == 403
    assert engineer.at("POST", f"{ours}/images:clear", json={"image": image}).status_code == 200
    assert _next(engineer, dataset) == image


def test_both_dialects_skip_too(annotator: Api, engineer: Api, dataset: str) -> None:
    specs = {"image": "p1/a", "reason": "no contrast"}
    assert annotator.made(f"/datasets/{dataset}/jobs", action="skip", specs=specs) == {}
    path = f"/label/{dataset}/datastore/image/info"
    for form in ({"info": '{"skip": "a phantom"}'}, {"info": '{"skip": "another reason"}'}):
        assert annotator.at("PUT", f"{path}?image=p2/a", data=form).status_code == 200
    assert _skipped(annotator, dataset) == {"p1/a": "no contrast", "p2/a": "a phantom"}
    assert annotator.at("PUT", f"{path}?image=p2/a", data={"info": '{"skip": null}'}).status_code == 403
    assert engineer.at("PUT", f"{path}?image=p2/a", data={"info": '{"skip": ""}'}).status_code == 200
    assert _skipped(annotator, dataset) == {"p1/a": "no contrast"}


def test_a_skip_without_a_reason_or_of_an_unknown_image_is_refused(annotator: Api, stranger: Api, dataset: str) -> None:
    path = f"/api/teachback/v1/datasets/{dataset}/images:skip"
    assert annotator.at("POST", path, json={"image": "p1/a", "reason": ""}).status_code == 422
    assert annotator.at("POST", path, json={"image": "p9/z", "reason": "x"}).status_code == 404
    assert stranger.at("POST", path, json={"image": "p1/a", "reason": "x"}).status_code == 404
    job = {"action": "skip", "specs": {"image": "p1/a"}}
    assert annotator.call("POST", f"/datasets/{dataset}/jobs", json=job).status_code == 400


def test_each_request_about_an_image_keeps_its_lease_alive(
    annotator: Api, dataset: str, parts: Parts, settings: Settings
) -> None:
    image = _next(annotator, dataset, client_id="anna")
    calls = (
        ("GET", f"/label/{dataset}/datastore/image?image={image}&client_id=anna", None),
        (
            "POST",
            f"/api/v1/orgs/clinic/datasets/{dataset}/jobs",
            {"action": "cacheimage", "specs": {"image": image, "client_id": "anna"}},
        ),
    )
    for method, path, body in calls:
        with parts.catalog.write() as session:
            lease = session.scalars(select(Lease)).one()
            lease.until -= settings.image_lease_s / 2
            before = lease.until
        assert annotator.at(method, path, json=body).status_code in {200, 201}
        with parts.catalog.read() as session:
            assert session.scalars(select(Lease)).one().until > before + settings.image_lease_s / 4


def test_scores_are_listed_in_the_order_in_which_images_would_be_given(
    annotator: Api, dataset: str, experiment: str, parts: Parts
) -> None:
    with parts.catalog.write() as session:
        version = session.get_one(Experiment, experiment).published_version or ""
        rows = {image.key: image.id for image in session.scalars(select(Image))}
        for key, score in (("p1/a", 0.1), ("p2/a", 0.7)):
            keep_score(session, version, rows[key], "epistemic", score, by="flips")
    reply = annotator.at("GET", "/api/teachback/v1/scores?experiment=liver%20and%20spleen&method=epistemic")
    assert reply.status_code == 200, reply.text
    said = [(row["image"], row["score"], row["by"], row["published"]) for row in reply.json()["scores"]]
    assert said == [("p2/a", 0.7, "flips", True), ("p1/a", 0.1, "flips", True)]
    assert _next(annotator, dataset, experiment=experiment, strategy="epistemic") == "p2/a"
    assert annotator.at("GET", f"/api/teachback/v1/scores?experiment={experiment}").json()["scores"] == []
