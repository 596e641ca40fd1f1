"""Whatever starts bundle hosts: what a host may see, how it dies, and what is not believed of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from configs.errors import HostDiedError, InvalidRequestError
from configs.wire.check import CheckRequest
from configs.wire.host import ServeRequest
from infra.adapters.compute.base import CageLevel
from infra.adapters.compute.cage import probe
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tests.processes import skip_or_fail, wait_until

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "bundles" / "sample"

STARTER = """
import sys
from pathlib import Path
from configs.wire.check import CheckRequest
from infra.adapters.compute.process import ProcessHosts
bundle, work, level, *warm = sys.argv[1:]
hosts = ProcessHosts(level=level, warm=Path(warm[0]) if warm else None)
host = hosts.start(CheckRequest(bundle=bundle), work=Path(work), bundle=Path(bundle))
print(host.pid, flush=True)
for message in host.messages():
    pass
"""

HOSTILE = """
import os, subprocess, time
subprocess.Popen(["sleep", "98765.4"])
for name in os.listdir("/proc/self/fd"):
    try:
        if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
            os.write(int(name), b'\\x00\\x00\\x00\\x10{"kind": "shell"}')
    except OSError:
        pass
time.sleep(600)
"""

CURIOUS = """
import json, os, socket, sys
def seen(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path).read())
    except OSError:
        return False
def connects():
    try:
        socket.create_connection(("127.0.0.1", PORT), 2).close()
    except OSError:
        return False
    return True
def writes(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
print(json.dumps({"environment": sorted(os.environ), "secret": seen(SECRET), "own": seen(OWN + "/configs"),
    "writes": writes(OWN + "/evil"), "connects": connects(),
    "processes": len([n for n in os.listdir("/proc") if n.isdigit()])}),
    file=sys.stderr)
"""


@dataclass(frozen=True)
class Way:
    """One way to come by a host."""

    level: CageLevel
    warm: Path | None = None

    @property
    def strong(self) -> bool:
        return self.level == "bubblewrap"

    def hosts(self) -> ProcessHosts:
        return ProcessHosts(level=self.level, warm=self.warm)


@pytest.fixture(params=["limits", "bubblewrap", "warm"])
def way(request: pytest.FixtureRequest) -> Way:
    """Every way to come by a host; the strong ones only where there is a strong cage."""
    if request.param == "limits":
        return Way("limits")
    if probe() != "bubblewrap":
        skip_or_fail("bubblewrap does not work here")
    if request.param == "bubblewrap":
        return Way("bubblewrap")
    address: Path | None = request.getfixturevalue("warm_host")
    if address is None:
        pytest.skip("TEACHBACK_WARM_HOST says that every host starts cold.")
    return Way("bubblewrap", address)


def bundle_with(tmp_path: Path, script: str) -> Path:
    """Return a copy of the sample that runs a script of its own when it is resolved."""
    folder = tmp_path / "bundle"
    shutil.copytree(SAMPLE, folder)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text(script)
    file = folder / "configs" / "inference.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "imports": ["$import scripts"]}))
    return folder


def test_the_sample_is_a_tier_a_bundle_that_starts_from_random_weights(tmp_path: Path) -> None:
    found = examine(ProcessHosts(), SAMPLE, tmp_path)
    assert (found.tier, found.weights_policy, found.seed, found.missing) == ("A", "random", 0, [])
    assert found.labels == {1: "grey matter", 2: "white matter", 3: "cerebellar grey matter"}
    assert (found.inputs, found.key_metric) == (["image"], "val_mean_dice")
    assert found.forward_s > 0
    assert found.peak_mib > 0


def test_a_host_dies_with_its_parent(tmp_path: Path, way: Way) -> None:
    warm = [str(way.warm)] if way.warm else []
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(SAMPLE), str(tmp_path / "work"), way.level, *warm],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    host = psutil.Process(int(parent.stdout.readline()))
    wait_until(lambda: "tasks.compute" in " ".join(host.cmdline()), "the host's start")
    everything = [host, *host.children(recursive=True)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(_lives(process) for process in everything), "the host's death")


def test_a_host_whose_parent_hangs_up_ends(tmp_path: Path, way: Way) -> None:
    request = ServeRequest(
        bundle=str(SAMPLE), labels={1: "a"}, out=str(tmp_path / "out"), cache=str(tmp_path / "cache")
    )
    host = way.hosts().start(request, work=tmp_path / "work", bundle=SAMPLE)
    process = psutil.Process(host.pid)
    host._control.close()
    wait_until(lambda: not _lives(process), "the host's end")
    host.kill()


def test_a_host_that_breaks_the_protocol_is_killed_with_all_it_started(tmp_path: Path, way: Way) -> None:
    bundle = bundle_with(tmp_path, HOSTILE)
    with pytest.raises(HostDiedError, match="broke the protocol"):
        examine(way.hosts(), bundle, tmp_path / "work")
    wait_until(lambda: not _running("98765.4"), "the end of what it started")


def test_a_host_sees_its_bundle_and_nothing_of_its_parent(
    tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHBACK_PLANTED", "secret")
    secret = tmp_path / "secret"
    secret.write_text("password")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        bundle = bundle_with(
            tmp_path, f"PORT, SECRET, OWN = {port}, {str(secret)!r}, {str(tmp_path / 'bundle')!r}\n{CURIOUS}"
        )
        assert examine(way.hosts(), bundle, tmp_path / "work").tier == "A"
    line = next(line for line in (tmp_path / "work" / "log.txt").read_text().splitlines() if '"environment"' in line)
    found = json.loads(line)
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "OMP_NUM_THREADS", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "PWD"}
    allowed |= {"OMP_WAIT_POLICY", "CUBLAS_WORKSPACE_CONFIG", "GDCM_RESOURCES_PATH"}  # libraries set the last two
    # As this process began: what libraries set since in ours, they set in the host too.
    ours = set(psutil.Process().environ()) - allowed | {"TEACHBACK_PLANTED"}
    assert not ours & set(found["environment"])
    assert found["own"]
    if way.strong:
        assert not found["secret"]
        assert not found["connects"]
        assert not found["writes"]
        assert found["processes"] <= 3


def test_a_silent_host_is_killed(tmp_path: Path) -> None:
    with (
        ProcessHosts(silence_s=0.05).start(CheckRequest(bundle=str(SAMPLE)), work=tmp_path, bundle=SAMPLE) as host,
        pytest.raises(HostDiedError, match="said nothing"),
    ):
        list(host.messages())
    assert not _lives_pid(host.pid)


def test_what_is_not_there_is_refused_before_a_host_starts(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"1 file"):
        ProcessHosts().start(CheckRequest(bundle="b"), work=tmp_path, bundle=tmp_path / "missing")


def _running(argument: str) -> bool:
    return any(argument in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _lives_pid(pid: int) -> bool:
    return psutil.pid_exists(pid) and _lives(psutil.Process(pid))
