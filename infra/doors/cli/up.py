"""`teachback up`: start and supervise every part of an installation on this machine."""

import os
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import typer
import yaml
from pydantic import TypeAdapter

from configs.errors import ForbiddenError, InvalidRequestError, UnauthorizedError
from configs.settings import Settings
from configs.specs.train import TrainSpec
from infra.doors.cli.apps import register_app
from infra.doors.cli.client import HomeOption
from infra.doors.cli.conf import ConfCommand, ConfOption, pairs_of
from infra.doors.cli.idle import duration_s, is_idle, look_every_s
from infra.doors.cli.installation import Installation, running, settings_for
from infra.doors.cli.studies import DEFAULT_MODEL, Studies, place_of, register, round_size_of
from infra.doors.cli.terminal import noun, terminal

app = noun("Start every part on this machine and keep it running.")

StudiesOption = Annotated[
    str, typer.Option("--studies", metavar="DIR|URL", help="Images: a folder or DICOMweb server.")
]


@app.command(cls=ConfCommand)
def up(  # noqa: PLR0913, PLR0917 - each is an option of the command
    home: HomeOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port of the API; 0 = a free one.", min=0, max=65535)] = 8000,
    studies: StudiesOption = "",
    models: Annotated[str, typer.Option("--models", metavar="A,B", help="An experiment for each.")] = DEFAULT_MODEL,
    labels: Annotated[str, typer.Option("--labels", metavar="X,Y", help="Label names; default: the model's.")] = "",
    round_size: Annotated[str, typer.Option("--round-size", metavar="N|off", help="Labels per round.")] = "5",
    app_dir: Annotated[str, typer.Option("--app", metavar="DIR", help="An app, whose models are meant.")] = "",
    conf: ConfOption = None,
    exit_when_idle: Annotated[
        str,
        typer.Option("--exit-when-idle", metavar="30m", help="End when nobody called and no job ran for that long."),
    ] = "",
    no_auth: Annotated[
        bool,
        typer.Option("--no-auth", help="Ask nobody on this machine for a key; not with a --host others reach."),
    ] = False,
    insecure_network: Annotated[
        bool, typer.Option("--insecure-network", help="Allow a --host that others reach, without TLS.")
    ] = False,
) -> None:
    """Start every part, restart what dies, and stop all of it on Ctrl-C.

    Everything is kept in the home folder; a second `up` goes on where the first one stopped. Parts that exist already
    are used instead when TEACHBACK_PREFECT_API_URL, TEACHBACK_MLFLOW_TRACKING_URI or TEACHBACK_CATALOG_URL name them.

    For example:

        teachback up

        teachback up --studies ~/scans --labels liver,spleen --round-size 10

        teachback up --studies http://localhost:8042/dicom-web --conf epochs 20 --conf realtime_quota 4

        teachback up --app ~/liver --studies ~/scans --conf labels liver,tumour
    """
    ours, train, theirs = _sorted_conf(pairs_of(conf), to_app=bool(app_dir))
    if app_dir and models != DEFAULT_MODEL:
        raise InvalidRequestError(f"With --app say --conf models {models} in place of --models.")
    idle_s = duration_s(exit_when_idle) if exit_when_idle else None
    if no_auth:
        ours["auth"] = "false"
    place = place_of(studies) if studies else ""
    settings = settings_for(home, host, port, insecure_network=insecure_network, changes=_opened(ours, place))
    wanted = Studies(place, _names(models), _names(labels), round_size_of(round_size), train) if place else None
    try:
        with running(settings) as installation:
            of_app = _app_models(installation, app_dir, theirs) if app_dir else ()
            if wanted:
                _register(installation, replace(wanted, models=of_app or wanted.models, strategy=_strategy_of(theirs)))
            terminal().print(f"Teachback is ready at {installation.address}", markup=False)
            _wait_end(installation, idle_s)
    except KeyboardInterrupt:
        return


def _opened(ours: dict[str, str], place: str) -> dict[str, str]:
    """Return the settings with a folder of images among those that may be named, whoever reaches this server."""
    if not place or "://" in place:
        return ours
    named = ours.get("folders", Settings().folders)
    return {**ours, "folders": os.pathsep.join(filter(None, (named, place)))}


def _wait_end(installation: Installation, idle_s: int | None) -> None:
    """Wait for ever, or until the installation was idle for so long."""
    if idle_s is None:
        installation.front.wait_end()
        return
    try:
        with installation.client() as client:
            installation.front.wait_end(lambda: is_idle(client, idle_s), look_every_s(idle_s))
    except (UnauthorizedError, ForbiddenError) as error:
        # Its key was revoked: what costs money by the hour must not go on without a word.
        terminal().print(f"--exit-when-idle cannot ask any more; end this yourself. {error}", markup=False)
        installation.front.wait_end()
        return
    terminal().print(f"Nobody called and no job ran for {idle_s} s.", markup=False)


def _app_models(installation: Installation, folder: str, conf: dict[str, str]) -> tuple[str, ...]:
    """Register an app; return its models."""
    with installation.client() as client, terminal(stderr=True).status("Examining the app"):
        return tuple(each.bundle.name for each in register_app(client, folder, conf))


def _strategy_of(conf: dict[str, str]) -> str:
    return "epistemic" if TypeAdapter(bool).validate_python(conf.get("epistemic_enabled", "false")) else ""


def _register(installation: Installation, studies: Studies) -> None:
    console = terminal(stderr=True)
    with installation.client() as client, console.status("Registering the studies and starting their models"):
        for line in register(client, studies):
            console.print(f"  {line}", markup=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


class _Conf(NamedTuple):
    """What `--conf` says: settings, what the rounds' training is told, and what the app is."""

    settings: dict[str, str]
    train: dict[str, Any]
    app: dict[str, str]


def _sorted_conf(said: dict[str, str], *, to_app: bool) -> _Conf:
    """Part the `--conf` pairs; the values of a training are read as YAML.

    To an app goes what is no setting, no field of a training and, without a `#`, no override of a bundle.
    """
    ours = {key: value for key, value in said.items() if key in Settings.model_fields}
    refused = {"home", "host", "port"} & set(ours)
    if refused:
        raise InvalidRequestError(f"--conf {min(refused)} is refused; use --{min(refused)}.")
    rest = {key: value for key, value in said.items() if key not in ours}
    theirs = {
        key: value for key, value in rest.items() if to_app and key not in TrainSpec.model_fields and "#" not in key
    }
    return _Conf(ours, {key: yaml.safe_load(value) for key, value in rest.items() if key not in theirs}, theirs)
