"""The process that hosts are forked from: when it is not there, when it dies, and what a fork does not share."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.errors import HostDiedError
from configs.specs.train import TrainSpec
from configs.wire.check import CheckRequest
from configs.wire.host import Case, HostRequest, ServeRequest, TrainRequest
from infra.adapters.compute import warm as warm_process
from infra.adapters.compute.base import BundleHost
from infra.adapters.compute.cage import probe
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tests.contract.test_bundle_hosts import SAMPLE, bundle_with
from tests.fixtures_warm import running_warm_host
from tests.processes import skip_or_fail, wait_until

TELLS = """
import json, os, random, sys, tempfile
import numpy, torch
print(json.dumps({"random": [random.random(), float(numpy.random.rand()), float(torch.rand(1))],
    "threads": torch.get_num_threads(), "cuda": torch.cuda.is_initialized(), "tmp": tempfile.gettempdir(),
    "here": os.getcwd(), "umask": os.umask(0o022), "descriptors": len(os.listdir("/proc/self/fd"))}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A warm process that a test may kill: the session's own is not touched."""
    if probe() != "bubblewrap":
        skip_or_fail("bubblewrap does not work here")
    with running_warm_host(tmp_path_factory.mktemp("a-folder-with-a-name-" + "so-long-" * 12)) as address:
        assert address.exists()
        yield address


def serving(tmp_path: Path) -> ServeRequest:
    out, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    return ServeRequest(bundle=str(SAMPLE), labels={1: "a"}, out=out, cache=cache)


def forker(host: BundleHost) -> psutil.Process:
    """Return the warm process, never this one: it is about to be stopped or killed."""
    parent = psutil.Process(host.pid).parent()
    assert parent is not None
    assert parent.pid != os.getpid()
    return parent


def told(bundle: Path, hosts: ProcessHosts, work: Path) -> dict[str, Any]:
    examine(hosts, bundle, work)
    line = next(line for line in (work / "log.txt").read_text().splitlines() if '"descriptors"' in line)
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_fork_is_like_a_process_that_was_started(tmp_path: Path, warm: Path) -> None:
    bundle = bundle_with(tmp_path, TELLS)
    hosts = ProcessHosts(warm=warm)
    first, second = (told(bundle, hosts, tmp_path / name) for name in ("first", "second"))
    started = told(bundle, ProcessHosts(), tmp_path / "third")
    drawn = [found.pop("random") for found in (first, second, started)]
    assert not set(drawn[0]) & set(drawn[1])
    assert (first.pop("tmp"), first.pop("here")) == (str(tmp_path / "first/tmp"),) * 2
    assert (started.pop("tmp"), started.pop("here")) == (str(tmp_path / "third/tmp"),) * 2
    assert first == started


def test_the_process_list_shows_what_a_fork_works_on(tmp_path: Path, warm: Path) -> None:
    with ProcessHosts(warm=warm).start(serving(tmp_path), work=tmp_path / "work", bundle=SAMPLE) as host:
        shown = psutil.Process(host.pid).cmdline()
        assert shown[1:4] == ["-m", "tasks.compute", str(tmp_path / "work/in/request.json")]
        assert psutil.Process(host.pid).ppid() != os.getpid()


@pytest.mark.parametrize(
    ("spec", "forked"), [(TrainSpec(), True), (TrainSpec(num_gpu=2), False)], ids=["one device", "two devices"]
)
def test_a_training_on_several_devices_starts_cold(
    tmp_path: Path, warm: Path, spec: TrainSpec, *, forked: bool
) -> None:
    image = tmp_path / "image.nii.gz"
    image.touch()
    request: HostRequest = TrainRequest(
        bundle=str(SAMPLE),
        cases=[Case(id="a", image=[str(image)])],
        labels={1: "a"},
        spec=spec,
        out=str(tmp_path / "out"),
        cache=str(tmp_path / "cache"),
    )
    with ProcessHosts(warm=warm).start(request, work=tmp_path / "work", bundle=SAMPLE) as host:
        assert (psutil.Process(host.pid).ppid() != os.getpid()) == forked


def test_without_a_warm_process_a_host_starts_cold_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        ProcessHosts(warm=tmp_path / "run" / "warm.sock", level="bubblewrap").start(
            CheckRequest(bundle=str(SAMPLE)), work=tmp_path / "work", bundle=SAMPLE
        ) as host,
    ):
        assert psutil.Process(host.pid).ppid() == os.getpid()
    assert [record.message for record in caplog.records] == [
        "the check's bundle host starts cold: no warm one, it does not answer (FileNotFoundError)"
    ]


def test_a_stopped_warm_process_does_not_keep_a_host_alive(tmp_path: Path, warm: Path) -> None:
    with ProcessHosts(warm=warm).start(serving(tmp_path), work=tmp_path / "work", bundle=SAMPLE) as host:
        parent = forker(host)
        next(host.messages())
        inside = psutil.Process(host.pid).children(recursive=True)
        parent.suspend()
        try:
            host.kill()
            assert not any(process.is_running() for process in inside)
        finally:
            parent.resume()


def test_a_killed_warm_process_takes_its_hosts_with_it(tmp_path: Path) -> None:
    with running_warm_host(tmp_path) as warm:
        host = ProcessHosts(warm=warm).start(serving(tmp_path), work=tmp_path / "work", bundle=SAMPLE)
        messages = host.messages()
        next(messages)
        parent = forker(host)
        everything = [psutil.Process(host.pid), *psutil.Process(host.pid).children(recursive=True)]
        os.kill(parent.pid, signal.SIGKILL)
        with pytest.raises(HostDiedError, match="status -9"):
            list(messages)
        wait_until(lambda: not any(process.is_running() for process in everything), "the hosts' end")
        host.kill()


def test_it_rests_until_hosts_will_be_wanted_and_again_when_they_are_not(tmp_path: Path) -> None:
    with running_warm_host(tmp_path, woken=False, rest_s=0.1) as warm:
        assert warm.exists()
        log = tmp_path / "log.txt"
        (process,) = [one for one in psutil.Process().children() if str(warm) in one.cmdline()]
        clean = process.environ()
        assert "imports are done" not in log.read_text()
        warm_process.wake(warm)
        wait_until(lambda: log.read_text().count("at rest") == 2, "it to rest again")
        assert log.read_text().count("imports are done") == 1
        assert not [file for file in process.memory_maps() if "torch" in file.path]
        assert process.environ() == clean
        with ProcessHosts(warm=warm).start(serving(tmp_path), work=tmp_path / "work", bundle=SAMPLE) as host:
            assert forker(host) == process
            next(host.messages())
            assert log.read_text().count("at rest") == 2


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    starter = (
        "import subprocess, sys; from infra.adapters.compute.processes import warm_command, warm_environment;"
        " from pathlib import Path; print(subprocess.Popen(warm_command(Path(sys.argv[1])),"
        " env=warm_environment()).pid, flush=True); input()"
    )
    root = SAMPLE.parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", starter, str(tmp_path / "run" / "warm.sock")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        wait_until((tmp_path / "run" / "warm.sock").exists, "the socket")
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
        parent.kill()
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "its end")
