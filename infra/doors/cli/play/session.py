"""One sitting of the annotator: label until the rounds are done, and measure before and after."""

import time
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from configs.errors import TeachbackError
from infra.doors.cli.client import Client
from infra.doors.cli.play.annotator import Annotator, Answer, Job
from infra.doors.cli.play.cases import Cases, Score
from infra.doors.cli.play.report import Comparison
from infra.doors.cli.studies import base_named, make_dataset, make_experiment, start_annotation
from infra.doors.cli.terminal import Terminal

UNSEEN = 5
_POLL_S = 0.5
_SWAP_WITHIN_S = 60.0


@dataclass(frozen=True)
class Plan:
    """How much is labelled."""

    rounds: int = 3
    round_size: int = 8

    @property
    def images(self) -> int:
        """Images that are needed: one per label, and some for the strategy to choose from."""
        return self.rounds * self.round_size + self.round_size


class Session:
    """Plays an annotator against a running installation, and says what happens.

    Args:
        client: With a key that may make experiments.
        cases: The images to label, and their truth.
        unseen: Images of patients that no model trains on: every round is evaluated on them.
        plan: How much is labelled.
        console: Where to say it.
    """

    def __init__(self, client: Client, cases: Cases, unseen: Cases, plan: Plan, console: Terminal) -> None:
        self._client = client
        self._cases = cases
        self._unseen = unseen
        self._plan = plan
        self._console = console

    def open(self, name: str, model: str) -> Annotator:
        """Make data set and experiment; returns once the realtime server is ready."""
        with self._console.status("Making the data set: the server lists the images"):
            dataset = make_dataset(self._client, name, str(self._cases.images))
            self._unseen_dataset = make_dataset(self._client, f"{name} held out", str(self._unseen.images))
        self._say(f"data set {dataset.name!r}: {len(self._cases.ids())} images to label")
        self._say(f"data set {self._unseen_dataset.name!r}: {len(self._unseen.ids())} labelled images to evaluate on")
        with self._console.status("Making the experiment: the realtime server starts and loads the model"):
            base = base_named(self._client, model)
            experiment = make_experiment(self._client, name, base, dataset, held_out=self._unseen_dataset)
        self._say(f"experiment {experiment.name!r} serves the untrained model")
        return Annotator(self._client, self._cases, dataset, experiment)

    def label(self, annotator: Annotator) -> None:
        """Label until the annotation job is done.

        Raises:
            TeachbackError: If the job ends in another way.
        """
        plan = self._plan
        job_id = start_annotation(
            self._client, annotator.experiment, round_size=plan.round_size, train={}, max_rounds=plan.rounds
        )
        self._say(f"annotation job started: a round every {plan.round_size} labels, {plan.rounds} rounds")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        ) as progress:
            bar = progress.add_task("labels", total=plan.rounds * plan.round_size)
            for number in range(1, plan.rounds + 1):
                self._label_some(annotator, progress, bar, number)
                job = self._wait_round(annotator, progress, job_id, number)
                if job.ended:
                    break
        if job.status != "Done":
            raise TeachbackError(f"The annotation job ended as {job.status}: {job.result.message}")

    def compare(self, start: Score, final: Score) -> Comparison:
        """Measure the served model on the held-out images, beside what needs no model."""
        images = self._unseen.ids()
        return Comparison(
            len(images),
            start,
            final,
            Score.over(self._unseen.baseline(image) for image in images),
            Score.over(self._unseen.template(image) for image in images),
        )

    def measure(self, annotator: Annotator) -> dict[str, Answer]:
        """Return the served model's answers on the held-out images, as any client gets them."""
        with self._console.status(f"Asking the served model about {len(self._unseen.ids())} held-out images"):
            return {
                image: annotator.infer_other(image, self._unseen_dataset, self._unseen) for image in self._unseen.ids()
            }

    def _label_some(self, annotator: Annotator, progress: Progress, bar: TaskID, number: int) -> None:
        for _ in range(self._plan.round_size):
            image = annotator.next_image()
            if image is None:
                return
            progress.update(bar, description=f"round {number}: labelling; the model segments the image")
            answer = annotator.infer(image)
            annotator.save(image)
            progress.advance(bar)
            self._say(f"{image}: the model's Dice was {answer.score.mean:.3f}; corrected and saved")

    def _wait_round(self, annotator: Annotator, progress: Progress, job_id: str, number: int) -> Job:
        """Wait until round *number* is done, saying what it does."""
        bar = progress.add_task(f"round {number}: starting", total=None)
        while True:
            job = annotator.job(job_id)
            if job.ended or (job.result.rounds_done or 0) >= number:
                progress.update(bar, description=f"round {number}: the realtime server takes over the model")
                annotator.wait_swapped(within_s=_SWAP_WITHIN_S)
                progress.remove_task(bar)
                self._say(f"round {number} done")
                return job
            open_round = annotator.open_round(job_id)
            if open_round is not None and open_round.result.max_epoch:
                epoch, last = open_round.result.epoch, open_round.result.max_epoch
                doing = "training" if epoch < last else "evaluating on held-out patients"
                progress.update(bar, description=f"round {number}: {doing}", completed=epoch, total=last)
            time.sleep(_POLL_S)

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}", markup=False)
