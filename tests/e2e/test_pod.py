"""`infra/deploy/pod.sh` on a bare folder in a volume's place, with the environment that these tests run in."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from configs.settings import Settings
from infra.services import people
from infra.services.callers import Role
from infra.wiring import open_parts
from tests.fixtures_installation import ROOT

SCRIPT = ROOT / "infra" / "deploy" / "pod.sh"
VENV = ("--venv", sys.prefix)
UNCHANGED = "nothing was changed"


def _run(*command: str, more: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    # As an image would have them: what tools keep would end with the machine.
    outside = {"HF_HOME": "/image/hf", "PIP_CACHE_DIR": "/image/pip", "TEACHBACK_HOME": "/image/teachback-home"}
    return subprocess.run(
        command, env={**os.environ, **outside, **(more or {})}, capture_output=True, text=True, check=False
    )


def _set_up(volume: Path, *options: str) -> str:
    made = _run(str(SCRIPT), "--volume", str(volume), *VENV, *options)
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume on which everything was set up, once; its name has a blank, which scripts like to trip over."""
    made = tmp_path_factory.mktemp("pod") / "the volume"
    made.mkdir()
    said = _set_up(made, "--studies", "http://pacs.example/dicom-web", "--", "--exit-when-idle", "30m")
    assert UNCHANGED not in said
    return made


def _content(volume: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in volume.rglob("*") if path.is_file()}


def test_a_second_run_changes_nothing_and_says_so_and_one_after_an_interruption_goes_on(volume: Path) -> None:
    options = ("--studies", "http://pacs.example/dicom-web", "--", "--exit-when-idle", "30m")
    before = _content(volume)
    assert UNCHANGED in _set_up(volume, *options)
    assert _content(volume) == before

    start, environment = volume / "start_teachback.sh", volume / "teachback.env"
    start.unlink()
    environment.rename(f"{environment}.partial")
    said = _set_up(volume, *options)
    assert UNCHANGED not in said
    assert "Made: a key" not in said
    assert _content(volume) == before


def test_the_key_that_is_printed_is_an_engineers_and_only_this_user_may_read_it(volume: Path) -> None:
    key = volume / "teachback-home" / "pod.key"
    assert key.read_text().strip() in _set_up(volume, "--port", "8001").splitlines()[-1]
    assert key.stat().st_mode & 0o077 == key.parent.stat().st_mode & 0o077 == 0
    parts = open_parts(Settings(home=key.parent))
    assert people.identify(parts, key.read_text().strip()).role == Role.ENGINEER
    parts.close()


def test_every_tool_keeps_what_it_keeps_on_the_volume(volume: Path) -> None:
    said = _run("bash", "-c", f'. "{volume}/teachback.env"; env')
    kept = dict(line.partition("=")[::2] for line in said.stdout.splitlines())
    tools = ("HF_HOME", "TORCH_HOME", "PIP_CACHE_DIR", "PREFECT_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    for name in ("HOME", "TMPDIR", "TEACHBACK_HOME", *tools):
        assert Path(kept[name]).is_relative_to(volume), name


def test_the_start_script_starts_up_with_what_was_said_and_the_names_of_the_pod(volume: Path) -> None:
    scans = volume / "my scans"
    scans.mkdir()
    _set_up(volume, "--port", "8002", "--studies", str(scans), "--name", "gpu.example", "--", "--labels", "a,b")
    said = _run(str(volume / "start_teachback.sh"), "--help")
    assert said.returncode == 0, said.stderr
    assert "Start every part" in said.stdout

    teachback = volume / "teachback"  # in its place, what it would have been started with
    teachback.write_text('#!/bin/sh\necho "$TEACHBACK_ALLOWED_HOSTS"; for word in "$@"; do echo "$word"; done\n')
    teachback.chmod(0o700)
    script = (volume / "start_teachback.sh").read_text().replace("exec teachback", 'exec "$TEACHBACK"')
    pod = {"RUNPOD_PUBLIC_IP": "203.0.113.7", "RUNPOD_POD_ID": "abc", "TEACHBACK": str(teachback)}
    hosts, *words = _run("bash", "-c", script, "start", "--exit-when-idle", "1h", more=pod).stdout.splitlines()
    assert hosts == "gpu.example,203.0.113.7,abc-8002.proxy.runpod.net"
    assert words[:6] == ["up", "--host", "0.0.0.0", "--port", "8002", "--insecure-network"]  # noqa: S104 - only read
    assert words[6:] == ["--studies", str(scans), "--labels", "a,b", "--exit-when-idle", "1h"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--volume", "/nowhere", *VENV), "/nowhere"),
        (("--port", "http", *VENV), "--port was http"),
        (("--studies",), "--studies takes a value"),
        (("--models", "a"), "--models is no option"),
        ((), "clone it into"),
        (("--venv", "/nowhere"), "no teachback in /nowhere/bin"),
    ],
)
def test_what_is_wrong_is_refused_in_a_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    volume = () if "--volume" in options else ("--volume", str(tmp_path))
    refused = _run(str(SCRIPT), *volume, *options)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_folder_of_images_is_kept_by_its_whole_path_and_one_that_is_not_there_refused(tmp_path: Path) -> None:
    (tmp_path / "v" / "scans").mkdir(parents=True)
    script = f"cd '{tmp_path}/v' && '{SCRIPT}' --volume . --venv '{sys.prefix}' --studies"
    assert _run("bash", "-c", f"{script} scans").returncode == 0
    assert f"--studies {tmp_path}/v/scans" in (tmp_path / "v" / "start_teachback.sh").read_text(encoding="utf-8")
    refused = _run("bash", "-c", f"{script} scnas")
    assert refused.returncode == 1
    assert "there is no such folder" in refused.stderr
