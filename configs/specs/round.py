"""What one round, or one train job, is asked to do: complete, so that it can be run again."""

from pydantic import BaseModel, ConfigDict

from configs.specs.annotation import AnnotationSpec, GateSpec, PublishPolicy
from configs.specs.train import TrainSpec


class RoundSpec(BaseModel):
    """How to train, how to judge, and what to do with the result; `rerun_of`: the job that is done again.

    `uploaded`: the blob of weights that somebody brought: they are the challenger, and nothing is trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: TrainSpec = TrainSpec()
    publish: PublishPolicy = "gate"
    gate: GateSpec = GateSpec()
    max_retries: int = 1
    rerun_of: str | None = None
    uploaded: str | None = None

    @classmethod
    def of(cls, loop: AnnotationSpec) -> "RoundSpec":
        """Return what each round of this loop is asked to do."""
        return cls(train=loop.train_spec, publish=loop.publish, gate=loop.gate, max_retries=loop.max_retries)


class SpecChange(BaseModel):
    """What a training is to do otherwise: fields that were set, and overrides by name; the others stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: TrainSpec = TrainSpec()
    publish: PublishPolicy | None = None

    def over(self, known: RoundSpec) -> RoundSpec:
        """Return a spec with this changed.

        Raises:
            ValidationError: If what comes together does not fit.
        """
        said = self.train.model_dump(mode="json", include=self.train.model_fields_set - {"overrides"})
        overrides = {**known.train.overrides, **self.train.overrides}
        train = {**known.train.model_dump(mode="json"), **said, "overrides": overrides}
        changed = {"train": train, "publish": self.publish or known.publish}
        return RoundSpec.model_validate({**known.model_dump(mode="json"), **changed})
