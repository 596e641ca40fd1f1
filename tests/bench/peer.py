"""MONAI Label answering the same call about the same images with the same network, from an environment that has it.

Its server is started as its documentation says, with the radiology app's spleen model, whose network the bench's is.
That app resamples what it is given to 1 mm and looks at it in windows of 160 voxels each way: its images have our
voxels at 1 mm, which is one window. At our 1.5 mm it would compute four, and take three seconds instead of one.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch
from safetensors.torch import load_file

from tests.bench import unet
from tests.bench.frame import Bench, Row, percentile, reported
from tests.processes import end, free_port, wait_until

_MODEL = "segmentation_spleen"
_SPACING_MM = (1.0, 1.0, 1.0)
_CALL_S = 300.0
_PARAMS = re.compile(rb"\r\n\r\n(\{.*?\})\r\n--", re.DOTALL)


def rows(bench: Bench, peer: Path, weights: Path) -> Iterator[Row]:
    """Measure whole calls, their time beyond the network, and what others wait meanwhile."""
    studies = bench.folder / "studies"  # it writes beside the images
    studies.mkdir()
    names = [f"case-{number:03}" for number in range(2 * bench.repeats + 1)]
    for number, name in enumerate(names):
        unet.write_image(studies / f"{name}.nii.gz", number, _SPACING_MM)
    with serving(peer, bench.folder / "peer", studies, weights) as (client, _):
        _infer(client, names.pop())
        pairs = [_infer(client, names.pop()) for _ in range(bench.repeats)]
        others = [_other_meanwhile(client, names.pop()) for _ in range(bench.repeats)]
    yield reported("MONAI Label: whole call", "ms", [whole * 1000 for whole, _ in pairs])
    yield reported("MONAI Label: time beyond its network", "ms", [(whole - network) * 1000 for whole, network in pairs])
    yield reported(
        "MONAI Label: other requests while an inference runs, p99", "ms", [waited * 1000 for waited in others]
    )


def _infer(client: httpx.Client, image: str) -> tuple[float, float]:
    """Return the seconds of a call, and of the network in it as the server says them."""
    asked = json.dumps({"device": "cpu", "result_extension": ".nrrd", "result_dtype": "uint8"})
    start = time.perf_counter()
    reply = client.post(f"/infer/{_MODEL}", params={"image": image, "output": "all"}, data={"params": asked})
    whole = time.perf_counter() - start
    reply.raise_for_status()
    said = _PARAMS.search(reply.content)
    if said is None:
        raise ValueError("MONAI Label's answer has no part with its parameters")
    return whole, float(json.loads(said[1])["latencies"]["infer"])


def _other_meanwhile(client: httpx.Client, image: str) -> float:
    taken: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        inference = pool.submit(_infer, client, image)
        while not inference.done():
            start = time.perf_counter()
            client.get("/datastore/").raise_for_status()
            taken.append(time.perf_counter() - start)
            time.sleep(0.01)
        inference.result()
    return percentile(taken, 0.99)


@contextmanager
def serving(
    peer: Path, folder: Path, images: Path, weights: Path | None = None
) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """Run its server on a copy of its radiology app, with our weights or with none, until the block ends.

    Yields:
        A client of it, once it answers, and its process.
    """
    # How many threads we run with, and how they wait, is our choice and not its.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment = {**plain, "PATH": f"{peer / 'bin'}:{os.environ['PATH']}", "MLFLOW_ALLOW_FILE_STORE": "true"}
    python, port, app = peer / "bin" / "python", free_port(), folder / "radiology"
    if not app.exists():
        folder.mkdir(exist_ok=True)
        making = [str(python), "-m", "monailabel.main", "apps", "-d", "-n", "radiology", "-o", str(folder)]
        subprocess.run(making, env=environment, check=True, capture_output=True)
    (app / "model").mkdir(exist_ok=True)
    if weights is not None:
        torch.save(load_file(weights), app / "model" / f"{_MODEL}.pt")
    asked = {"models": _MODEL, "use_pretrained_model": "false", "skip_scoring": "true", "skip_strategies": "true"}
    told = [word for name, value in asked.items() for word in ("--conf", name, value)]
    command = [str(python), "-m", "monailabel.main", "start_server", "-a", str(app), "-s", str(images)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-i", "127.0.0.1", "-p", str(port), *told],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_CALL_S, trust_env=False) as client:
            wait_until(lambda: process.poll() is not None or answers(client), "MONAI Label", within_s=300)
            if process.poll() is not None:
                raise ValueError(f"MONAI Label ended at once: {(folder / 'log.txt').read_text()[-300:]}")
            yield client, process
    finally:
        end(process)


def answers(client: httpx.Client) -> bool:
    """Say whether a server answers what clients ask first."""
    try:
        return client.get("/info/").is_success
    except httpx.TransportError:
        return False
