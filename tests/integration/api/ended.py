"""Jobs that have ended, with what such jobs leave: written as their flows would have."""

from typing import Any

from configs.states import JobStatus
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion
from infra.wiring import Parts

WEIGHTS, SCORES, CURVE = b"weights" * 100_000, b'{"held_out": []}', b'{"name": "train_loss"}\n'
MADE = {"metrics/1.jsonl": CURVE, "model.safetensors": WEIGHTS, "scores.json": SCORES}


def ended_job(parts: Parts, experiment: str, action: str = "train", **more: Any) -> str:
    """A job that has ended and left nothing."""
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        job = Job(org=row.org, experiment_id=experiment, action=action, status=JobStatus.DONE, **more)
        session.add(job)
        session.flush()
        return job.id


def trained(parts: Parts, experiment: str, number: int = 1, **more: Any) -> str:
    """A training that has ended, with all that one leaves."""
    job = ended_job(parts, experiment, **more)
    weights, results = parts.blobs.put_bytes(WEIGHTS), parts.blobs.put_bytes(SCORES)
    with parts.catalog.write() as session:
        bundle = session.get_one(Experiment, experiment).bundle_id
        made = {"weights": weights, "results": results, "bundle_id": bundle, "job_id": job}
        session.add(ModelVersion(experiment_id=experiment, number=number, **made))
    (parts.blobs.attempt_folder(job, 1) / "events.jsonl").write_bytes(CURVE)
    return job
