"""`teachback apps`: models written in Python."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from configs.errors import InvalidRequestError
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption, settings_of
from infra.doors.cli.conf import ConfCommand, ConfOption, pairs_of
from infra.doors.cli.terminal import noun, show_table, terminal

app = noun("Models written in Python.", "teachback apps new --template radiology ~/liver")
_WITH_BUNDLES = "bundle"
_EXAMINED_WITHIN_S = 3600.0  # each model's network is run, which may take long on a processor


class AppModel(BaseModel):
    """A model of an app, as far as it is shown."""

    name: str
    tier: str
    labels: dict[str, str]
    description: str


class Registered(BaseModel):
    """A model that was registered."""

    base_experiment: str
    bundle: AppModel


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The app's folder, which is not there yet.")],
    template: Annotated[
        str, typer.Option("--template", metavar="radiology|endoscopy|bundle", help="What to begin from.")
    ] = "radiology",
) -> None:
    """Write an app to begin from: volumes, pictures of an endoscope, or MONAI bundles as they are.

    For example:

        teachback apps new --template radiology ~/liver

        teachback up --app ~/liver --studies ~/scans --conf labels liver,tumour
    """
    shipped, folder = settings_of(None).bundles_dir, folder.expanduser()
    templates = sorted(path.parent.name for path in shipped.glob("apps/*/app.py"))
    if template not in templates:
        raise InvalidRequestError(f"No template is named {template!r}: there are {', '.join(templates)}")
    if folder.exists():
        raise InvalidRequestError(f"{folder} is there already: name a folder that is not")
    shutil.copytree(shipped / "apps" / template, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if template == _WITH_BUNDLES:
        shutil.copytree(shipped / "sample", folder / "bundles" / "sample")
    terminal(stderr=True).print(f"Wrote {folder}. Next: teachback up --app {folder} --studies DIR", markup=False)


@app.command(cls=ConfCommand)
def add(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The app's folder, on the server's machine.")],
    conf: ConfOption = None,
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an app's models, each as a base experiment; `up --app` makes experiments of them, too."""
    with Client.of(url, key, home) as client, terminal(stderr=True).status("Examining the app"):
        models = register_app(client, folder, pairs_of(conf))
    show_table(
        "Models",
        {
            "name": lambda row: row.bundle.name,
            "tier": lambda row: row.bundle.tier,
            "labels": lambda row: ", ".join(row.bundle.labels.values()),
            "what": lambda row: row.bundle.description,
        },
        models,
        none="The app has no model.",
        as_json=[row.model_dump() for row in models] if as_json else None,
    )


def register_app(client: Client, folder: str, conf: Mapping[str, str]) -> Sequence[Registered]:
    """Have the server register an app's models.

    Raises:
        TeachbackError: With what the server refused.
    """
    body = {"source": str(Path(folder).expanduser().absolute()), "conf": dict(conf)}
    return client.get_as(
        list[Registered], client.request("POST", f"{OURS}/apps", json=body, timeout=_EXAMINED_WITHIN_S)
    )
