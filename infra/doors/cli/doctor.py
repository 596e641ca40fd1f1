"""`teachback doctor`: what works on this machine and in this installation, and what to do where it does not."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated, Literal

import typer
from packaging.requirements import Requirement
from sqlalchemy.exc import SQLAlchemyError

from configs.settings import Settings
from infra.adapters.catalog.session import Catalog
from infra.adapters.compute.process import ProcessHosts
from infra.doors.cli.client import HomeOption, settings_of
from infra.doors.cli.supervisor.addresses import read_ports
from infra.doors.cli.supervisor.lifelines import adopts_orphans
from infra.doors.cli.supervisor.lock import holder
from infra.doors.cli.supervisor.part import answers
from infra.doors.cli.supervisor.parts import api_address, with_embedded
from infra.doors.cli.terminal import noun, show_json, terminal

app = noun("Check this machine and this installation.")

_LOWEST, _ABOVE = (3, 11), (3, 14)
_LEAST_FREE = 5 * 2**30
_CAGES = {
    "bubblewrap": "a security boundary: bundle code sees its own files alone and no network, no other process and no "
    "secret, all that it starts ends with it, and memory per process and disk are bounded; processor time is not",
    "limits": "NOT a security boundary: bundle code runs as this user and can read what this user can; memory per "
    "process and disk are bounded. Install bubblewrap; bundles from elsewhere need TEACHBACK_UNCAGED_BUNDLES=true",
}
_UNCOUNTED = ". As root, the number of processes of a host that starts cold is not bounded: run as another user"
_STRONG = "bubblewrap"


@dataclass(frozen=True)
class Finding:
    """One check: `bad` keeps things from working, `weak` does not."""

    what: str
    state: Literal["good", "weak", "bad"]
    said: str


@app.command()
def doctor(
    home: HomeOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Check Python, packages, cage, home folder, parts, catalog and disk. Exits with 1 when something is bad.

    For example:

        teachback doctor --home ~/teachback-home
    """
    settings = settings_of(home)
    findings = [finding for check in CHECKS for finding in check(settings)]
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            colour = {"good": "green", "weak": "yellow", "bad": "red"}[finding.state]
            terminal().print(f"[{colour}]{finding.state:<4}[/{colour}] [bold]{finding.what}[/bold]: ", end="")
            terminal().print(finding.said, markup=False)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def _python(_: Settings) -> Iterator[Finding]:
    good = _LOWEST <= sys.version_info[:2] < _ABOVE
    yield Finding("Python", "good" if good else "bad", f"{platform.python_version()}; 3.11 to 3.13 are tested")
    said = "what a killed supervisor leaves is found and ended"
    if adopts_orphans():
        yield Finding("kill -9", "good", said)
    else:
        yield Finding("kill -9", "weak", f"on {platform.system()} {said} only at the next `up`: Linux does it at once")


def _packages(_: Settings) -> Iterator[Finding]:
    wrong = []
    try:
        needed = [Requirement(line) for line in requires("teachback") or []]
    except PackageNotFoundError:
        yield Finding("packages", "weak", "Teachback itself is not installed here: `make setup`")
        return
    for requirement in needed:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            if not requirement.specifier.contains(version(requirement.name), prereleases=True):
                wrong.append(f"{requirement.name} {version(requirement.name)} is not {requirement.specifier}")
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
    yield Finding("packages", "bad" if wrong else "good", "; ".join(wrong) or f"{len(needed)} as required")


def _cage(settings: Settings) -> Iterator[Finding]:
    level = ProcessHosts(silence_s=settings.host_silence_s).level
    said = f"{level}: {_CAGES[level]}"
    if level == _STRONG and os.geteuid() == 0:
        said += _UNCOUNTED
    yield Finding("cage", "good" if level == _STRONG else "weak", said)
    socket = settings.warm_socket
    if socket is None:
        yield Finding("warm host", "weak", "off: every bundle host starts cold, which takes seconds")
    elif level == _STRONG:
        said = f"at {socket}" if socket.exists() else "does not run; bundle hosts start cold until `up`"
        yield Finding("warm host", "good", said)


def _home(settings: Settings) -> Iterator[Finding]:
    if not settings.home.exists():
        yield Finding("home", "good", f"{settings.home} is made at the first `up`")
        return
    mode = settings.home.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(
            "home", "bad", f"{settings.home} has mode {mode:o}, others can read it: chmod 700 {settings.home}"
        )
    elif not os.access(settings.home, os.W_OK):
        yield Finding("home", "bad", f"{settings.home} cannot be written by this user")
    else:
        yield Finding("home", "good", f"{settings.home}, mode {mode:o}")


def _parts(settings: Settings) -> Iterator[Finding]:
    ports = read_ports(settings.home)
    pid = holder(settings.home)
    yield Finding("up", "good", f"runs as process {pid}" if pid else "does not run")
    embedded = with_embedded(settings, ports) if pid else settings
    addresses = {
        "API": f"{api_address(settings.host, ports.api)}/api/v1/health" if pid else "",
        "Prefect": f"{embedded.prefect_api_url}/health" if embedded.prefect_api_url else "",
        "MLflow": f"{embedded.tracking_url}/health" if embedded.tracking_url else "",
    }
    for name, url in addresses.items():
        if url:
            works = answers(url)
            yield Finding(name, "good" if works else "bad", f"{url} {'answers' if works else 'does not answer'}")


def _catalog(settings: Settings) -> Iterator[Finding]:
    catalog = Catalog(settings.catalog_url)
    shown = catalog.url.render_as_string()
    if catalog.is_sqlite and not os.path.exists(catalog.url.database or ""):  # noqa: PTH110 - a URL's part, not a path of ours
        yield Finding("catalog", "good", f"{shown} is made at the first `up`")
        return
    try:
        with catalog.read() as session:
            session.connection()
        yield Finding("catalog", "good", f"{shown} answers")
    except SQLAlchemyError as error:
        yield Finding("catalog", "bad", f"{shown} does not answer: {str(error).splitlines()[0]}")
    finally:
        catalog.close()


def _disk(settings: Settings) -> Iterator[Finding]:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    said = f"{free / 2**30:.1f} GiB free in {place}"
    yield Finding("disk", "good" if free >= _LEAST_FREE else "weak", said)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _cage,
    _home,
    _parts,
    _catalog,
    _disk,
)
