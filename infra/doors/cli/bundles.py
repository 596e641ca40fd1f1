"""`teachback bundles`: the MONAI bundles that experiments can use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import typer
from pydantic import BaseModel

from configs.errors import InvalidRequestError
from infra.doors.cli.client import Client, HomeOption, JsonOption, KeyOption, UrlOption, settings_of
from infra.doors.cli.terminal import lines, noun, show_json, show_table, terminal
from tasks.bundles.new import write_bundle

app = noun("MONAI bundles that experiments can use.", "teachback bundles add ~/spleen_ct_segmentation_v0.5.9.zip")
PATH = "/api/teachback/v1/bundles"
_DOWNLOAD = "import json, sys; from monai.bundle import download; download(progress=False, **json.loads(sys.argv[1]))"
_WEIGHTS = ("model.safetensors", "model.pt")
_EXAMINED_WITHIN_S = 3600.0  # fetched and run: hundreds of megabytes on a slow line, and a network on a processor
Source = Annotated[str, typer.Argument(metavar="PATH|URL", help="A folder, zip or tar on the server's machine; a URL.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `teachback bundles list` shows it, or its content.")]


class _Found(BaseModel):
    reason: str = ""
    notes: list[str] = []
    missing: list[str] = []
    inputs: list[str] = []
    key_metric: str | None = None
    weights_policy: str = ""
    forward_s: float = 0.0
    peak_mib: float = 0.0


class _Bundle(BaseModel):
    id: str
    name: str
    version: str
    tier: str
    labels: dict[str, str]
    description: str
    source: str
    check: _Found


class _Registered(BaseModel):
    bundle: _Bundle


@app.command("list")
def list_bundles(
    url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List the registered bundles. Tier A trains on Lightning, B by a trainer of its own, C only infers."""
    with Client.of(url, key, home) as client:
        answer = client.request("GET", PATH)
        rows = client.get_as(list[_Bundle], answer)
    show_table(
        "Bundles",
        {
            "name": lambda row: row.name,
            "version": lambda row: row.version,
            "tier": lambda row: row.tier,
            "labels": lambda row: ", ".join(row.labels.values()),
            "content": lambda row: row.id[:12],
            "what": lambda row: row.description,
        },
        rows,
        none="No bundle is registered; see the API's log.",
        as_json=answer.json() if as_json else None,
    )


@app.command()
def show(
    name: Name, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Say what a bundle is, and why it is of its tier."""
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{PATH}/{name}")
        _show(client.get_as(_Bundle, answer), answer.json() if as_json else None)


@app.command()
def add(
    source: Source, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Register a bundle: it is unpacked, examined in a bundle host, and listed as a base experiment.

    For example:

        teachback bundles add ~/spleen_ct_segmentation_v0.5.9.zip

        teachback bundles add https://api.ngc.nvidia.com/…/files/spleen_ct_segmentation_v0.5.9.zip
    """
    with Client.of(url, key, home) as client:
        _add(client, source, as_json=as_json)


@app.command()
def check(
    source: Source, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Say what registering a bundle would find, and register nothing."""
    with Client.of(url, key, home) as client:
        answer = _post(client, f"{PATH}:check", source)
        _show(client.get_as(_Bundle, answer), answer.json() if as_json else None)


@app.command()
def remove(name: Name, url: UrlOption = "", key: KeyOption = "", home: HomeOption = None) -> None:
    """Take a bundle off the list; refused while an experiment uses it."""
    with Client.of(url, key, home) as client:
        row = client.get_as(_Bundle, client.request("DELETE", f"{PATH}/{name}"))
    terminal(stderr=True).print(f"Removed {row.name} {row.version}.", markup=False)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    labels: Annotated[str, typer.Option("--labels", help="What is drawn, with commas.")] = "liver",
    channels: Annotated[int, typer.Option("--channels", min=1, max=64, help="Images of a case.")] = 1,
) -> None:
    """Write a bundle to begin from: a small 3-D U-Net with random weights, trained and served as it is.

    For example:

        teachback bundles new ~/kidneys --labels "left kidney,right kidney"

        teachback bundles add ~/kidneys
    """
    names = [name.strip() for name in labels.split(",") if name.strip()]
    write_bundle(settings_of(None).bundles_dir / "sample", folder.expanduser(), names, channels=channels)
    terminal(stderr=True).print(f"Wrote {folder}. Next: teachback bundles add {folder}", markup=False)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="In MONAI's model zoo, such as spleen_ct_segmentation.")],
    version: Annotated[str, typer.Option("--version", help="Default: the newest.")] = "",
    origin: Annotated[str, typer.Option("--from", help="monaihosting, huggingface_hub, ngc or github.")] = "",
    repo: Annotated[str, typer.Option("--repo", help="OWNER/NAME, where it is huggingface_hub or github.")] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a bundle with MONAI's own downloader, on the server's machine, and register it.

    For example:

        teachback bundles pull spleen_ct_segmentation
    """
    work = settings_of(home).home / "work"
    asked = {"name": name, "version": version, "source": origin, "repo": repo}
    with Client.of(url, key, home) as client:
        work.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=work, prefix="pull-") as folder:
            fetched = download(asked, Path(folder))
            own = settings_of(home).bundles_dir / name
            _add(client, str(with_weights(own, fetched) if own.is_dir() else fetched), as_json=as_json)


def download(asked: dict[str, str], folder: Path) -> Path:
    """Run MONAI's downloader in a process of its own, for it takes PyTorch along; return the bundle's folder.

    Args:
        asked: Its arguments by name; empty ones are left out.
        folder: An empty folder for it.

    Raises:
        InvalidRequestError: If it fails; with the last thing that it said.
    """
    given = {name: value for name, value in asked.items() if value} | {"bundle_dir": str(folder)}
    with terminal(stderr=True).status(f"Downloading {asked['name']}"):
        done = subprocess.run(
            [sys.executable, "-c", _DOWNLOAD, json.dumps(given)], capture_output=True, text=True, check=False
        )
    found = sorted(path.parent.parent for path in folder.rglob("configs/metadata.json"))
    if done.returncode or not found:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it brought no configs/metadata.json"]
        raise InvalidRequestError(
            f"MONAI's downloader could not fetch {asked['name']}: {said[-1]}. Where this machine cannot reach it, fetch"
            " the bundle elsewhere and register it by its path: teachback bundles add PATH; of one that comes with"
            " Teachback a copy of its folder, with what was fetched as models/model.pt"
        )
    return found[0]


def with_weights(own: Path, fetched: Path) -> Path:
    """Return a bundle that comes with the project, with fetched weights and their licence; the licence is shown.

    Args:
        own: The project's bundle.
        fetched: The downloaded one; the folder beside it that is returned must not be there.

    Raises:
        InvalidRequestError: If no weights were fetched.
    """
    weights = [file for name in _WEIGHTS if (file := fetched / "models" / name).is_file()]
    if not weights:
        raise InvalidRequestError(f"What was fetched for {own.name} has no models/model.pt: try another --version")
    whole = fetched.parent / f"{own.name}-with-weights"
    shutil.copytree(own, whole)
    (whole / "models").mkdir(exist_ok=True)
    shutil.move(weights[0], whole / "models" / weights[0].name)
    for licence in sorted(fetched.glob("LICENSE*")):
        shutil.copy(licence, whole / "models" / licence.name)
        terminal(stderr=True).print(f"{licence.name} of what was fetched:\n\n{licence.read_text()}", markup=False)
    return whole


def _add(client: Client, source: str, *, as_json: bool) -> None:
    answer = _post(client, PATH, source)
    _show(client.get_as(_Registered, answer).bundle, answer.json() if as_json else None)


def _post(client: Client, path: str, source: str) -> httpx.Response:
    # A path is the server's; here it is completed, for who types one is usually on that machine.
    place = source if "://" in source else str(Path(source).expanduser().absolute())
    with terminal(stderr=True).status("Fetching and examining the bundle"):
        return client.request("POST", path, json={"source": place}, timeout=_EXAMINED_WITHIN_S)


def _show(row: _Bundle, as_json: object) -> None:
    if as_json is not None:
        show_json(as_json)
        return
    lines(
        [
            ("name", row.name),
            ("version", row.version),
            ("what", row.description),
            ("tier", f"{row.tier}: {row.check.reason}"),
            ("labels", ", ".join(f"{index} {name}" for index, name in row.labels.items())),
            ("inputs", ", ".join(row.check.inputs)),
            ("weights", "its own" if row.check.weights_policy == "file" else row.check.weights_policy),
            ("key metric", row.check.key_metric),
            ("one forward", f"{row.check.forward_s:.2f} s, {row.check.peak_mib:.0f} MiB"),
            *(("note", note) for note in row.check.notes),
            *(("may want", f"pip install {' '.join(row.check.missing)}") for _ in row.check.missing[:1]),
            ("content", row.id),
            ("from", row.source),
        ]
    )
