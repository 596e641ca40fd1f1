"""Where a batch's predictions lie, and the list beside them: a line is written once its file is whole."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.durable import written
from configs.specs.batch import BatchSpec
from configs.wire.answers import ANSWERS, ClassAnswer
from infra.wiring import Parts


class Line(BaseModel):
    """One line of the list beside the predictions."""

    model_config = ConfigDict(frozen=True)

    image: str
    file: str
    version: str
    labels: dict[str, str]


def folder_of(parts: Parts, job_id: str, spec: BatchSpec) -> Path:
    """Return the folder of a job's predictions; jobs may share one, by name."""
    return parts.settings.home / "predictions" / (spec.output or job_id)


def list_in(folder: Path, job_id: str) -> Path:
    """Return a job's list."""
    return folder / f"{job_id}.jsonl"


def table_in(folder: Path) -> Path:
    """Return the table of answers that are no label maps."""
    return folder / "predictions.csv"


def write_table(folder: Path, lines: Path) -> None:
    """Write the classes of whole images as one table, if there are any: a line of CSV for each."""
    answers = [
        (line.image, ANSWERS.validate_json((folder / line.file).read_bytes()))
        for line in read_lines(lines)
        if line.file.endswith(".json")
    ]
    rows = [answer.row(image) for image, answer in answers if isinstance(answer, ClassAnswer)]
    if rows:
        with written(table_in(folder), mode=0o600) as file:
            file.write("".join(rows).encode())


def read_lines(file: Path) -> list[Line]:
    """Return the lines whose files are whole; one that was cut off counts for nothing."""
    found = []
    for text in file.read_text().splitlines() if file.exists() else ():
        try:
            found.append(Line.model_validate_json(text))
        except ValueError:
            continue
    return found
