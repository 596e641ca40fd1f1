"""What clients of MONAI Label's dialect wait for at 1,000 and 100,000 images of a folder, and MONAI Label beside it.

The images are tiny and so are the labels: what is measured is what a server has to look up, write down and list. Ours
lie in folders of 200; MONAI Label looks into none, so its images lie beside each other, and are fewer: each
of its calls takes ten times as long at 10,000 as at 1,000.
"""

import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from tasks.images.volume import Volume, write_nifti
from tests.bench import peer
from tests.bench.frame import Bench, Row, at_most, percentile, reported
from tests.bench.installation import begun, memory_at_rest, wait_ready
from tests.fixtures_installation import KEY_FILE
from tests.processes import free_port, wait_until

SIZES, PEER_SIZES = (1_000, 100_000), (1_000, 10_000)
IN_A_FOLDER = 200
CALLS = 20
DROPPED = 20
AFTER_S = 10.0
FLAT = 1.5
_MB, _MS = 10**6, 1000.0
_WAIT_S = 900.0
_SAVE, _NEXT, _COUNT, _ALL, _INFO = (
    "PUT /datastore/label",
    "POST /activelearning/random",
    "GET /datastore/",
    "GET /datastore/?output=all",
    "GET /info/",
)


@dataclass(frozen=True)
class Server:
    """A server that answers, and the images that it has.

    Attributes:
        client: Paths are at its root.
        names: Its images' ids.
        place: Where a file becomes the image of this id.
        start_s: From its beginning to its first answer to GET /info/.
        listed_s: And until it had listed all images.
        memory: What it holds when it rests, in MB.
    """

    client: httpx.Client
    names: list[str] = field(repr=False)
    place: Callable[[str], Path]
    start_s: float
    listed_s: float
    memory: float


def rows(bench: Bench) -> Iterator[Row]:
    """Measure ours, then MONAI Label."""
    tiny = bench.folder / "tiny.nii.gz"
    write_nifti(Volume(np.zeros((8, 8, 8), np.uint8), np.eye(4)), tiny)
    taken: dict[int, dict[str, list[float]]] = {}
    for size in SIZES:
        with _ours(bench.folder / f"ours-{size}", tiny, size) as server:
            taken[size] = yield from _rows(bench, server, tiny, f"{size:,} images: ")
    for what in (_SAVE, _NEXT, _COUNT, _INFO):
        ratios = [many / few for few, many in zip(*(taken[size][what] for size in SIZES), strict=True)]
        yield at_most(f"{what}: {SIZES[1]:,} images ÷ {SIZES[0]:,}", FLAT, "x", ratios)
    if bench.peer is None:
        return
    for size in PEER_SIZES:
        with _theirs(bench.peer, bench.folder / f"peer-{size}", tiny, size) as server:
            yield from _rows(bench, server, tiny, f"MONAI Label, {size:,} images: ")


def _rows(bench: Bench, server: Server, tiny: Path, before: str) -> Generator[Row, None, dict[str, list[float]]]:
    """Measure one server; returns the milliseconds of each call, a value for each repeat."""
    yield reported(f"{before}start to the first answer to GET /info/", "s", [server.start_s])
    yield reported(f"{before}and until all images are listed", "s", [server.listed_s])
    yield reported(f"{before}idle memory of all its processes (PSS)", "MB", [server.memory])
    calls = _calls(server, tiny)
    taken: dict[str, list[float]] = {what: [] for what in calls}
    for _ in range(bench.repeats):
        for what, call in calls.items():
            taken[what].append(median(_timed(call) for _ in range(1 if what == _ALL else CALLS)) * _MS)
    for what, values in taken.items():
        yield reported(before + what, "ms", values)
    waits = [percentile(_meanwhile(server, calls[_ALL]), 0.99) * _MS for _ in range(bench.repeats)]
    yield reported(f"{before}GET /info/ while {_ALL} is answered, p99", "ms", waits)
    seconds, asked, refused = _dropped(server, tiny)
    yield reported(f"{before}{DROPPED} files put into the folder: until they are listed", "s", [seconds])
    note = f"{refused} of {len(asked)} refused" if refused else ""
    what = f"{before}the longest of other requests until {AFTER_S:.0f} s after that"
    yield reported(what, "ms", [max(asked) * _MS], note)
    return taken


def _calls(server: Server, tiny: Path) -> dict[str, Callable[[], httpx.Response]]:
    unlabelled, content = iter(server.names), tiny.read_bytes()
    params = json.dumps({"label_info": [{"name": "spleen", "idx": 1}], "client_id": "bench"})

    def save() -> httpx.Response:
        """Save the label of an image that has none."""
        sent = {"label": ("label.nii.gz", content)}
        return server.client.put(
            "/datastore/label", params={"image": next(unlabelled)}, data={"params": params}, files=sent
        )

    return {
        _SAVE: save,
        _NEXT: lambda: server.client.post("/activelearning/random", json={"client_id": "bench"}),
        _COUNT: lambda: server.client.get("/datastore/"),
        _ALL: lambda: server.client.get("/datastore/", params={"output": "all"}),
        _INFO: lambda: server.client.get("/info/"),
    }


def _meanwhile(server: Server, call: Callable[[], httpx.Response]) -> list[float]:
    """Return the seconds of each GET /info/ while a call is answered."""
    taken: list[float] = []
    with (
        ThreadPoolExecutor(1) as pool,
        httpx.Client(
            base_url=server.client.base_url, headers=server.client.headers, timeout=_WAIT_S, trust_env=False
        ) as other,
    ):
        going_on = pool.submit(call)
        while not going_on.done() or not taken:
            taken.append(_timed(lambda: other.get("/info/")))
            time.sleep(0.01)
        going_on.result().raise_for_status()
    return taken


def _dropped(server: Server, tiny: Path) -> tuple[float, list[float], int]:
    """Put files into the folder; return the seconds until all are listed, those of each question, and the refused."""
    there, taken, refused = _total(server.client), list[float](), 0
    for number in range(DROPPED):
        shutil.copy(tiny, server.place(f"new-{number:02}"))
    began = time.perf_counter()
    listed_s = 0.0
    while not listed_s or time.perf_counter() - began < listed_s + AFTER_S:
        start = time.perf_counter()
        answer = server.client.get("/datastore/")
        taken.append(time.perf_counter() - start)
        refused += not answer.is_success
        if not listed_s and answer.is_success and answer.json()["total"] == there + DROPPED:
            listed_s = time.perf_counter() - began
        time.sleep(0.01)
    return listed_s, taken, refused


@contextmanager
def _ours(folder: Path, tiny: Path, size: int) -> Iterator[Server]:
    studies, home, port = folder / "studies", folder / "home", free_port()
    names = [f"p{number // IN_A_FOLDER:04}/{number:06}" for number in range(size)]
    _fill(studies, tiny, names)
    told = ("--studies", str(studies), "--round-size", "off")
    with begun(home, port, *told) as (process, began):
        key = home / KEY_FILE
        wait_until(lambda: process.poll() is not None or key.exists(), "the home's key", within_s=_WAIT_S)
        address, header = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key.read_text().strip()}"}
        with httpx.Client(base_url=address, headers=header, timeout=_WAIT_S, trust_env=False) as client:
            wait_until(lambda: process.poll() is not None or peer.answers(client), "GET /info/", within_s=_WAIT_S)
            start_s = time.perf_counter() - began
            wait_until(lambda: _total(client) == size, "all images", within_s=_WAIT_S)
            listed_s = time.perf_counter() - began
            wait_ready(process)
            held = sum(memory_at_rest(psutil.Process(process.pid), home).values())
            yield Server(client, names, lambda name: studies / "p0000" / f"{name}.nii.gz", start_s, listed_s, held)


@contextmanager
def _theirs(environment: Path, folder: Path, tiny: Path, size: int) -> Iterator[Server]:
    studies, names = folder / "studies", [f"{number:06}" for number in range(size)]
    _fill(studies, tiny, names)
    began = time.perf_counter()
    with peer.serving(environment, folder / "server", studies) as (client, process):
        start_s = time.perf_counter() - began
        wait_until(lambda: _total(client) == size, "all images", within_s=_WAIT_S)
        listed_s = time.perf_counter() - began
        first = psutil.Process(process.pid)
        family = [first, *first.children(recursive=True)]
        held = sum(one.memory_full_info().pss for one in family) / _MB
        yield Server(client, names, lambda name: studies / f"{name}.nii.gz", start_s, listed_s, held)


def _fill(studies: Path, tiny: Path, names: list[str]) -> None:
    content = tiny.read_bytes()
    for folder in {(studies / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (studies / f"{name}.nii.gz").write_bytes(content)


def _total(client: httpx.Client) -> int:
    return int(client.get("/datastore/").raise_for_status().json()["total"])


def _timed(call: Callable[[], httpx.Response]) -> float:
    start = time.perf_counter()
    answer = call()
    taken = time.perf_counter() - start
    answer.raise_for_status()
    return taken
