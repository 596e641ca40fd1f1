"""A bundle that means harm, in every strong cage: it gets nothing, and what it does is a failure with a code."""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from configs.errors import BundleError, DiskFullError, HostDiedError, OutOfMemoryError
from configs.wire.apps import AppRequest
from configs.wire.host import Failed
from infra.adapters.compute.cage import probe
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tasks.rounds.steps.failures import KNOWN
from tests.contract.test_bundle_hosts import bundle_with
from tests.processes import skip_or_fail, wait_until

# Run when the bundle's code is read, when its network is made, and when that predicts.
SPY = """
import json, os, socket, sys
import torch
from monai.networks.nets import UNet

def tried(attempt):
    try:
        return bool(attempt())
    except OSError:
        return False

def connects(kind, address):
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)
    return True

def environments():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield open(f"/proc/{name}/environ").read()
        except OSError:
            pass

def look(where):
    print(json.dumps({"where": where,
        **{f"reads {name}": tried(lambda: open(path).read()) for name, path in READ.items()},
        **{f"lists {name}": tried(lambda: os.listdir(path)) for name, path in LIST.items()},
        **{f"writes {name}": tried(lambda: open(path, "w").write("x")) for name, path in WRITE.items()},
        "the kernel": tried(lambda: open("/proc/sys/kernel/core_pattern", "r+")),
        "an environment": any(PLANTED in each for each in environments()),
        "TCP": tried(lambda: connects(socket.AF_INET, ("127.0.0.1", PORT))),
        "a socket by path": tried(lambda: connects(socket.AF_UNIX, SOCKET)),
        "an abstract socket": tried(lambda: connects(socket.AF_UNIX, ABSTRACT)),
        "a signal": tried(lambda: os.kill(PID, 0) is None),
        "another root": tried(lambda: os.listdir(f"/proc/{PID}/root")),
        "a mount": os.system("mount -t tmpfs none /mnt 2>/dev/null") == 0,
        "a user namespace": os.system("unshare -U true 2>/dev/null") == 0,
        "root's device": os.system("mknod /dev/disk b 254 0 2>/dev/null && head -c1 /dev/disk >/dev/null 2>&1") == 0,
    }), file=sys.stderr, flush=True)

class Net(UNet):
    def __init__(self, **known):
        super().__init__(**known)
        look("made")

    def forward(self, x):
        look("predicts")
        return super().forward(x)

look("read")
"""

# Run when the network predicts: the configuration's reader forgives what fails when it is read.
PREDICTING = """
import os
from monai.networks.nets import UNet

class Net(UNet):
    def forward(self, x):
        attack()
        return super().forward(x)
"""

SPYING_APP = """
from tasks.compute.apps.interfaces import App

class Spying(App):
    def init_infers(self):
        look("asked")
        raise RuntimeError

app = Spying
"""

CHILDREN = """
def attack():
    while True:
        os.posix_spawn("/bin/sleep", ["sleep", MARK], {})
"""

FORKS_ON = """
import os
for _ in range(100):
    os.posix_spawn("/bin/sleep", ["sleep", MARK], {})
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execv("/bin/sleep", ["sleep", MARK])
os._exit(3)
"""

MEMORY = """
def attack():
    filled = []
    while True:
        filled.append(bytearray(256 * 2**20))
"""

DISK = """
import os, time
file = os.open("filled", os.O_WRONLY | os.O_CREAT)
os.posix_fallocate(file, 0, BYTES)
time.sleep(600)
"""


@dataclass(frozen=True)
class Place:
    """What there is to steal, harm or reach."""

    secrets: dict[str, str]
    folders: dict[str, str]
    outside: dict[str, str]
    port: int
    path: str
    abstract: str


@pytest.fixture(params=["bubblewrap", "warm"])
def warm(request: pytest.FixtureRequest) -> Path | None:
    """Both strong cages: bubblewrap's, for a host that is started, and the forked host's own."""
    if probe() != "bubblewrap":
        skip_or_fail("bubblewrap does not work here")
    if request.param == "bubblewrap":
        return None
    address: Path | None = request.getfixturevalue("warm_host")
    if address is None:
        pytest.skip("No warm host here.")
    return address


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A home with what no bundle may touch, and servers that no bundle may reach."""
    home = tmp_path / "home"
    (home / "work" / "another-job").mkdir(parents=True)
    secrets = {"the keys": str(home / "keys.json"), "the catalog": str(home / "catalog.db"), "shadow": "/etc/shadow"}
    for name in ("keys.json", "catalog.db"):
        (home / name).write_text("secret")
    folders = {"another job": str(home / "work" / "another-job"), "the home": str(home)}
    (home / "work" / "another-job" / "label.nii.gz").touch()
    outside = {
        "the home": str(home / "planted"),
        "its bundle": str(tmp_path / "bundle" / "planted"),
        "our code": str(Path(__file__).parents[2] / "tasks" / "planted.py"),
        "the system": "/usr/planted",
    }
    abstract = f"\0{uuid4().hex}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as by_path:
        by_path.bind(str(home / "a.sock"))
        by_path.listen()
        with socket.socket(socket.AF_UNIX) as by_name:
            by_name.bind(abstract)
            by_name.listen()
            yield Place(secrets, folders, outside, tcp.getsockname()[1], str(home / "a.sock"), abstract)


def test_it_sees_nothing_reaches_nothing_and_changes_nothing(
    tmp_path: Path, place: Place, warm: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHBACK_PLANTED", "a-planted-secret")
    bundle = bundle_with(tmp_path, _spy_on(place))
    _use_net(bundle)
    assert examine(ProcessHosts(warm=warm), bundle, tmp_path / "work").tier == "A"
    seen = _said(tmp_path / "work")
    assert {each.pop("where") for each in seen} == {"read", "made", "predicts"}
    assert {name for each in seen for name, got in each.items() if got} == set()
    assert not any(Path(path).exists() for path in place.outside.values())


def test_an_apps_code_sees_as_little(
    tmp_path: Path, place: Place, warm: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHBACK_PLANTED", "a-planted-secret")
    app = tmp_path / "bundle"
    app.mkdir()
    (app / "app.py").write_text(_spy_on(place) + SPYING_APP)
    request = AppRequest(app=str(app), name="spy", out=str(tmp_path / "work" / "out"))
    with ProcessHosts(warm=warm).start(request, work=tmp_path / "work", bundle=app) as host:
        *_, failed = host.messages()
    assert isinstance(failed, Failed)
    seen = _said(tmp_path / "work")
    assert {each.pop("where") for each in seen} == {"read", "asked"}
    assert {name for each in seen for name, got in each.items() if got} == set()
    assert not any(Path(path).exists() for path in place.outside.values())


def test_its_processes_end_with_it_wherever_they_hide(tmp_path: Path, warm: Path | None) -> None:
    mark = f"98{uuid4().int % 10**8}"
    bundle = bundle_with(tmp_path, f"MARK = {mark!r}\n{FORKS_ON}")
    with pytest.raises(HostDiedError, match="status 3") as died:
        examine(ProcessHosts(warm=warm), bundle, tmp_path / "work")
    wait_until(lambda: not _running(mark), "the end of what it started")
    assert _code(died.value) == "host_died"


def test_it_cannot_have_more_processes_than_it_is_given(tmp_path: Path, warm: Path | None) -> None:
    if not (warm and _kernel_counts()) and os.geteuid() == 0:
        pytest.skip("The kernel does not bound the processes of root here: `doctor` says so.")
    mark = f"98{uuid4().int % 10**8}"
    bundle = _predicting(tmp_path, f"MARK = {mark!r}\n{CHILDREN}")
    with pytest.raises(BundleError, match="BlockingIOError") as failed:
        examine(ProcessHosts(warm=warm, processes=600), bundle, tmp_path / "work")
    assert not _running(mark)
    assert _code(failed.value) == "bundle_error"


def test_it_cannot_fill_the_memory(tmp_path: Path, warm: Path | None) -> None:
    bundle = _predicting(tmp_path, MEMORY)
    with pytest.raises(OutOfMemoryError) as failed:
        examine(ProcessHosts(warm=warm, memory_mib=3000), bundle, tmp_path / "work")
    assert _code(failed.value) == "out_of_memory"


def test_it_cannot_fill_the_disk(tmp_path: Path, warm: Path | None) -> None:
    free_mib = _free(tmp_path) // 2**20
    # The second takes more than the first, whose space may become free only meanwhile.
    bundle = bundle_with(tmp_path, f"BYTES = {(5 if warm else 2) * 2**30}\n{DISK}")
    hosts = ProcessHosts(warm=warm, keep_free_mib=free_mib - 1024)
    with pytest.raises(DiskFullError) as failed:
        examine(hosts, bundle, tmp_path / "work")
    assert not (tmp_path / "work" / "tmp").exists()
    assert _code(failed.value) == "disk_full"


def _spy_on(place: Place) -> str:
    return (
        f"READ, LIST, WRITE = {place.secrets!r}, {place.folders!r}, {place.outside!r}\n"
        f"PORT, SOCKET, ABSTRACT, PID = {place.port}, {place.path!r}, {place.abstract!r}, {os.getpid()}\n"
        f"PLANTED = 'a-planted-secret'\n{SPY}"
    )


def _predicting(tmp_path: Path, attack: str) -> Path:
    bundle = bundle_with(tmp_path, PREDICTING + attack)
    _use_net(bundle)
    return bundle


def _use_net(bundle: Path) -> None:
    """Make the bundle's own class its network."""
    file = bundle / "configs" / "inference.json"
    config = json.loads(file.read_text())
    config["network_def"]["_target_"] = "scripts.Net"
    file.write_text(json.dumps(config))


def _said(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "log.txt").read_text().splitlines() if line.startswith('{"where"')]


def _code(error: Exception) -> str:
    return next(known.code for known in KNOWN if isinstance(error, known.kind))


def _running(mark: str) -> bool:
    return any(mark in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


def _kernel_counts() -> bool:
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 14)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
