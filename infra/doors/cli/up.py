"""`teachback up`: start and supervise every part of an installation on this machine."""

import os
from typing import Annotated, Any

import typer
import yaml
from typer.core import TyperCommand

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.doors.cli.client import HomeOption
from infra.doors.cli.idle import duration_s, is_idle, look_every_s
from infra.doors.cli.installation import Installation, running, settings_for
from infra.doors.cli.studies import DEFAULT_MODEL, Studies, place_of, register, round_size_of
from infra.doors.cli.terminal import noun, terminal

app = noun("Start every part on this machine and keep it running.")

StudiesOption = Annotated[
    str, typer.Option("--studies", metavar="DIR|URL", help="Images: a folder or DICOMweb server.")
]


class _Up(TyperCommand):
    """Reads `--conf KEY VALUE`: Typer knows no repeated option of two values."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer's Context is click's
        """Join what follows `--conf`, then parse."""
        joined: list[str] = []
        words = iter(args)
        for word in words:
            if word != "--conf":
                joined.append(word)
                continue
            key, value = next(words, ""), next(words, None)
            if value is None:
                raise typer.BadParameter("--conf takes a key and a value.")
            joined.append(f"--conf={key}={value}")
        return super().parse_args(ctx, joined)


@app.command(cls=_Up)
def up(  # noqa: PLR0913, PLR0917 - each is an option of the command
    home: HomeOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port of the API; 0 = a free one.", min=0, max=65535)] = 8000,
    studies: StudiesOption = "",
    models: Annotated[str, typer.Option("--models", metavar="A,B", help="An experiment for each.")] = DEFAULT_MODEL,
    labels: Annotated[str, typer.Option("--labels", metavar="X,Y", help="Label names; default: the model's.")] = "",
    round_size: Annotated[str, typer.Option("--round-size", metavar="N|off", help="Labels per round.")] = "5",
    conf: Annotated[
        list[str] | None,
        typer.Option(
            "--conf", metavar="KEY VALUE", help="A setting, or a field or bundle override of the rounds' training."
        ),
    ] = None,
    exit_when_idle: Annotated[
        str,
        typer.Option("--exit-when-idle", metavar="30m", help="End when nobody called and no job ran for that long."),
    ] = "",
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
    """
    ours, train = _sorted_conf(conf or [])
    idle_s = duration_s(exit_when_idle) if exit_when_idle else None
    place = place_of(studies) if studies else ""
    settings = settings_for(home, host, port, insecure_network=insecure_network, changes=_opened(ours, place))
    wanted = Studies(place, _names(models), _names(labels), round_size_of(round_size), train) if place else None
    try:
        with running(settings) as installation:
            if wanted:
                _register(installation, wanted)
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
    with installation.client() as client:
        installation.front.wait_end(lambda: is_idle(client, idle_s), look_every_s(idle_s))
    terminal().print(f"Nobody called and no job ran for {idle_s} s.", markup=False)


def _register(installation: Installation, studies: Studies) -> None:
    console = terminal(stderr=True)
    with installation.client() as client, console.status("Registering the studies and starting their models"):
        for line in register(client, studies):
            console.print(f"  {line}", markup=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _sorted_conf(given: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Part the `--conf` pairs into settings and what the rounds' training is told; values are read as YAML."""
    pairs = [(key, value) for key, _, value in (pair.partition("=") for pair in given)]
    ours = {key: value for key, value in pairs if key in Settings.model_fields}
    refused = {"home", "host", "port"} & set(ours)
    if refused:
        raise InvalidRequestError(f"--conf {min(refused)} is refused; use --{min(refused)}.")
    return ours, {key: yaml.safe_load(value) for key, value in pairs if key not in ours}
