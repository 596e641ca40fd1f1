"""The command line itself: help that loads nothing, errors in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.doors.cli.main import NOUNS, app
from infra.doors.cli.terminal import show_table

ROOT = Path(__file__).resolve().parents[5]


def teachback(*words: str) -> "subprocess.CompletedProcess[str]":
    program = "from infra.doors.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_names_every_noun_and_loads_none_of_them() -> None:
    program = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from infra.doors.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'sqlalchemy', 'httpx', 'prefect', 'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(noun in done.stdout for noun in NOUNS)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_help_with_an_example(noun: str) -> None:
    done = CliRunner().invoke(app, [noun, "--help"])
    assert done.exit_code == 0, done.output
    assert f"teachback {noun}" in done.output


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["keys", "create"], 2, "Missing option '--name'"),
        (["up", "--conf", "alone"], 2, "--conf takes a key and a value"),
        (["up", "--host", "0.0.0.0"], 1, "--insecure-network"),  # noqa: S104 - refused
        (["up", "--studies", "/nowhere"], 1, "No folder is named '/nowhere'"),
        (["up", "--conf", "home", "/x"], 1, "use --home"),
        (["status", "--home", "/nowhere"], 1, "teachback up"),
        (["datasets", "--url", "http://127.0.0.1:1", "--key", "x"], 1, "does not answer"),
        (["tracking", "rebuild", "--url", "http://127.0.0.1:1", "--key", "x"], 1, "does not answer"),
        (["sample", "http://127.0.0.1:1", "--form", "nifti"], 1, "takes DICOM"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(words: list[str], status: int, said: str) -> None:
    done = teachback(*words)
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = teachback("up", "--home", str(tmp_path / "home"), "--port", port)
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "home" / "catalog.db").exists()


def test_a_row_is_one_line_whatever_a_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("Images", {"image": str, "state": lambda _: "open"}, ["p/\x1b[31mé\nb  c.nii"], none="None.")
    [_, _, row] = capsys.readouterr().out.splitlines()
    assert row.split("open")[0].rstrip() == "p/ [31mé b  c.nii"
