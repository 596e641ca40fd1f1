"""A batch of predictions: predict the images → finish."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from configs.specs.batch import OUTPUT, BatchSpec, Which
from tasks.batch.tasks import adopt_batch, finish_batch, predict_images
from tasks.rounds.tasks import holding


@flow(name="batch-inference", retries=0, persist_result=False, validate_parameters=True)
def batch_inference(
    experiment: str = "",
    dataset: str = "",
    images: Which = "all",
    write_predictions: bool = False,
    output: Annotated[str, Field(pattern=OUTPUT)] = "",
    reason: str = "",
    job_id: str = "",
    attempt: Annotated[int, Field(ge=1)] = 1,
) -> None:
    """Predict many images with the published model, and write the predictions as files.

    Give an experiment to start a batch by hand; the system itself gives `job_id` and `attempt`. Single images are
    named in a job over HTTP: what is named here, Prefect keeps, and image ids are nobody's business there.

    Args:
        experiment: Name or id of the experiment whose published model predicts.
        dataset: Name or id; left out, the experiment's for inference, else the one that it trains on.
        images: Which of the data set's images.
        write_predictions: Whether the predictions are also added to the images' store, as DICOM SEG or in a folder as
            NIfTI, also where its data set does not say so. They are marked as made by a program and train nothing.
        output: Name of a folder below `predictions` in the installation's home; left out, the job's id.
        reason: Why, for the record; shown as the job's name.
        job_id: Set by the system; leave it empty.
        attempt: Set by the system; leave it at 1.
    """
    spec = BatchSpec(which=images, write_predictions=write_predictions or None, output=output)
    with holding(job_id or adopt_batch(experiment, dataset, spec, reason), attempt) as work:
        if work is None:
            return
        held, lease = work
        finish_batch(held, predict_images(held, lease))
