"""Whether what an experiment publishes has learnt its labels: else nobody is shown its guesses."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.states import JobStatus
from infra.adapters.catalog.tables import Bundle, Experiment, Job, ModelVersion
from tasks.bundles.heads import covers, takes_prompts

RANDOM = "random"


def is_usable(session: Session, experiment: Experiment) -> bool:
    """Say whether the published version may predict.

    It may if it was trained, here or where its weights come from; if the bundle's own weights name all of its labels;
    or if the bundle says of itself that it starts at random (`weights: random(seed)`): that is its author's word that
    a guess is wanted. A bundle's trained network with an output layer made anew may not before its first round.
    """
    version = session.get(ModelVersion, experiment.published_version or "")
    if version is None:
        return False
    bundle = session.get_one(Bundle, experiment.bundle_id)
    return (
        version.weights is not None or bundle.check.get("weights_policy") == RANDOM or covers(bundle, experiment.labels)
    )


def may_be_asked(session: Session, experiment: Experiment) -> bool:
    """Say whether a person's question about an image goes to the published version.

    Also where it knows but some of the labels, or none, if it takes prompts: it answers about those, and looks for the
    others around clicks. It does not order images by what it makes of them: that needs all of its labels.
    """
    if is_usable(session, experiment):
        return True
    bundle = session.get_one(Bundle, experiment.bundle_id)
    return experiment.published_version is not None and takes_prompts(bundle)


def no_model_yet(session: Session, experiment: Experiment) -> str:
    """Return what to do until there is a model."""
    query = select(Job).where(
        Job.experiment_id == experiment.id, Job.action == "annotation", Job.status == JobStatus.RUNNING
    )
    loop = session.scalar(query)
    if loop is None or loop.round_size is None:
        return "no model yet: label images and start an annotation job, or train"
    missing = max(loop.round_size - loop.pending, 0)
    return f"no model yet: label {missing} more" if missing else "no model yet: its first round is under way"
