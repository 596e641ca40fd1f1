"""`teachback sample`: sample cases made from real anatomy, to a folder or a DICOMweb server."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import httpx
import typer

from configs.errors import InvalidRequestError, StoreError
from infra.doors.cli.terminal import noun, terminal
from tasks.images.sample import SampleCase, SampleSet, write_cases
from tasks.images.sample.templates import Source
from tasks.images.sample.write import Form

app = noun("Write sample cases made from real anatomy.")

_STOW_S = 120.0


@app.command()
def sample(
    place: Annotated[str, typer.Argument(metavar="DIR|URL", help="A folder, or the root of a DICOMweb server.")],
    form: Annotated[Form | None, typer.Option("--form", help="Default: nifti to a folder, dicom to a server.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="Cases, one patient each.")] = 10,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same cases.")] = 0,
    source: Annotated[
        Source, typer.Option("--source", help="The head that is warped; colin27 needs Debian's mricron-data.")
    ] = "mni152",
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="DIR", help="Write the true labels there, apart from the images.")
    ] = None,
) -> None:
    """Write cases: random smooth warps of one real head, with its labels warped alike.

    They show that a model learns; they say nothing about patients, since all of them are one or two heads.

    For example:

        teachback sample ~/cases --count 20 --truth ~/truth

        teachback sample http://localhost:8042/dicom-web --count 5
    """
    is_server = "://" in place
    chosen: Form = form or ("dicom" if is_server else "nifti")
    if is_server and chosen != "dicom":
        raise InvalidRequestError("A DICOMweb server takes DICOM: leave --form out, or give a folder.")
    console = terminal(stderr=True)
    with console.status(f"Making {count} cases of {source}"), tempfile.TemporaryDirectory(prefix="teachback-") as spare:
        folder = Path(spare) if is_server else Path(place).expanduser()
        made = write_cases(folder, truth, count=count, seed=seed, source=source, form=chosen)
        if is_server:
            for case in made.cases:
                _stow(place.rstrip("/"), case)
                shutil.rmtree(case.image)
    _say(made, place, truth)


def _stow(url: str, case: SampleCase) -> None:
    """Store one series by STOW-RS: its instances as one multipart request."""
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    files = sorted(case.image.glob("*.dcm"))
    body = b"".join(head + file.read_bytes() + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    try:
        answer = httpx.post(f"{url}/studies", content=body, headers=headers, timeout=_STOW_S)
    except httpx.HTTPError as error:
        raise StoreError(f"{url} does not answer: {error}") from error
    if answer.is_error:
        raise StoreError(f"{url} refused a series of {len(files)} instances: {answer.status_code} {answer.text[:200]}")


def _say(made: SampleSet, place: str, truth: Path | None) -> None:
    names = ", ".join(f"{value} {name}" for value, name in made.labels.items())
    line = f"{len(made.cases)} cases in {place}; labels: {names}"
    terminal(stderr=True).print(f"{line}; truth in {truth}" if truth else line, markup=False)
