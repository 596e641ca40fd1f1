"""Label names that a bundle has, that it can learn, and that it cannot; and no guesses before it has learnt any."""

from sqlalchemy import update

from infra.adapters.catalog.tables import Bundle, Experiment, ModelVersion
from infra.wiring import Parts
from tests.integration.api.conftest import Api, make_experiment

KIDNEYS = {"labels": {"1": "left kidney", "2": "right kidney"}}


def _found(parts: Parts, **check: str | bool) -> None:
    """Let registering the bundle have found this."""
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"weights_policy": "file", **check}))


def _infer(annotator: Api, experiment: str, dataset: str) -> tuple[int, str]:
    specs = {"image": "p1/a", "dataset_id": dataset}
    reply = annotator.call("POST", f"/experiments/{experiment}/jobs", json={"action": "inference", "specs": specs})
    return reply.status_code, reply.json()["error_desc"]


def test_names_that_the_bundle_has_keep_its_output_layer(engineer: Api, dataset: str) -> None:
    made = make_experiment(engineer, dataset, model_params={"labels": {"7": "Spleen"}})

    assert made["head"] == "the bundle's own"


def test_other_names_get_an_output_layer_made_anew_and_the_reply_says_so(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    _found(parts, head="conv_final.2.conv")

    made = make_experiment(engineer, dataset, model_params=KIDNEYS)

    assert made["head"] == "made anew for left kidney, right kidney: conv_final.2.conv; every other weight is kept"


def test_a_network_whose_last_layer_cannot_be_found_is_refused_by_name(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    _found(parts, head_refusal="GluNet: its last layer with 3 outputs was not found")
    body = {"network_arch": "monai_segmentation", "train_datasets": [dataset], "model_params": KIDNEYS}
    bases = engineer.call("GET", "/experiments").json()
    base = next(one["id"] for one in bases if one["read_only"])

    refused = engineer.call("POST", "/experiments", json={**body, "base_experiment": [base]})

    assert refused.status_code == 400
    said = refused.json()["error_desc"]
    assert "cannot learn left kidney, right kidney: GluNet: its last layer" in said
    assert "It has liver, spleen" in said
    experiment = make_experiment(engineer, dataset)["id"]
    assert engineer.call("PATCH", f"/experiments/{experiment}", json={"model_params": KIDNEYS}).status_code == 400


def test_labels_do_not_change_under_versions_that_were_trained_for_others(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    experiment = make_experiment(engineer, dataset, model_params=KIDNEYS)["id"]
    with parts.catalog.write() as session:
        bundle = session.get_one(Experiment, experiment).bundle_id
        session.add(ModelVersion(experiment_id=experiment, number=1, bundle_id=bundle, weights="a" * 64))
    swapped = {"labels": {"1": "right kidney", "2": "left kidney"}}

    refused = engineer.call("PATCH", f"/experiments/{experiment}", json={"model_params": swapped})

    assert refused.status_code == 400
    assert "trained for left kidney, right kidney, in this order" in refused.json()["error_desc"]
    renumbered = {"labels": {"3": "left kidney", "9": "right kidney"}}
    assert engineer.call("PATCH", f"/experiments/{experiment}", json={"model_params": renumbered}).status_code == 200


def test_trained_weights_with_a_new_output_layer_predict_nothing_before_their_first_round(
    engineer: Api, annotator: Api, dataset: str, parts: Parts
) -> None:
    _found(parts)
    experiment = make_experiment(engineer, dataset, model_params=KIDNEYS)["id"]
    assert _infer(annotator, experiment, dataset) == (
        400,
        "no model yet: label images and start an annotation job, or train",
    )
    engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 3})
    assert _infer(annotator, experiment, dataset) == (400, "no model yet: label 3 more")

    with parts.catalog.write() as session:
        session.execute(update(ModelVersion).values(weights="a" * 64))

    assert "switched off" in _infer(annotator, experiment, dataset)[1]


def test_a_bundle_that_is_told_what_to_look_for_is_asked_from_the_start(
    engineer: Api, annotator: Api, dataset: str, parts: Parts
) -> None:
    _found(parts, takes_prompts=True)
    experiment = make_experiment(engineer, dataset, model_params=KIDNEYS)["id"]

    assert "switched off" in _infer(annotator, experiment, dataset)[1]


def test_a_bundle_that_says_it_starts_at_random_predicts_from_the_start(
    engineer: Api, annotator: Api, dataset: str, parts: Parts
) -> None:
    _found(parts, weights_policy="random")
    experiment = make_experiment(engineer, dataset, model_params=KIDNEYS)["id"]

    assert "switched off" in _infer(annotator, experiment, dataset)[1]
