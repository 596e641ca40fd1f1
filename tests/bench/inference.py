"""A prediction from an annotator's call to the NRRD file that comes back."""

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from threading import Event
from typing import TypeVar

import httpx
import torch

from tests.bench import peer, unet
from tests.bench.bare import Bare, dice, naive
from tests.bench.frame import Bench, Row, at_least, at_most, percentile, reported
from tests.bench.served import Served, serving
from tests.processes import wait_until

IMAGES = 20  # for each repeat: none is asked for twice as a fresh one
PAIRS = 3
CALLS_BESIDE = 6
AHEAD = 3
_MS = 1000.0
_T = TypeVar("_T")


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the network alone, then calls to an API with a slot, each in its own process."""
    with serving(bench.folder, IMAGES * bench.repeats) as served, served.client() as client:
        network = unet.loaded(bench.folder / "weights.safetensors")
        bare = Bare(served.bundle, copy.deepcopy(network), served.arrangement())
        yield from _forward(bench, bare, network)
        served.infer(client, served.unseen())
        yield from _fresh(bench, bare, served, client)
        yield from _again(bench, served, client)
        yield from _beside(bench, served, client)
        yield from _two(bench, served)
    if bench.peer is not None:
        yield from peer.rows(bench, bench.peer, bench.folder / "weights.safetensors")


def _forward(bench: Bench, bare: Bare, network: torch.nn.Module) -> Iterator[Row]:
    faster, change = list[float](), list[float]()
    for repeat in range(bench.repeats):
        image, truth = unet.volume(2000 + repeat)
        prepared = unet.scaled(image)
        plain, plain_s = _timed(partial(naive, network, prepared))
        best, best_s = _timed(partial(bare.forward, prepared))
        faster.append(plain_s / best_s)
        change.append(abs(dice(best, truth) - dice(plain, truth)))
    note = f"as the slot runs it: {bare.best}, windows together"
    yield at_least("network at its best, faster than float32 one window at a time", 5, "x", faster, note)
    yield at_most("Dice change by that", 0.002, "", change)


def _fresh(bench: Bench, bare: Bare, served: Served, client: httpx.Client) -> Iterator[Row]:
    ratio, beyond, call_ms, bare_ms = list[float](), list[float](), list[float](), list[float]()
    for _ in range(bench.repeats):
        pairs = [_pair(bare, served, client) for _ in range(PAIRS)]
        ratio.append(median(call / alone for call, alone, _ in pairs))
        beyond.append(median(call - network for call, _, network in pairs) * _MS)
        call_ms.append(median(call for call, _, _ in pairs) * _MS)
        bare_ms.append(median(alone for _, alone, _ in pairs) * _MS)
    yield at_most("fresh inference / bare decode, transforms and network", 1.3, "x", ratio)
    yield at_most("our time beyond the network, same call", 80, "ms", beyond, "MONAI Label 0.8.5: 321 ms")
    yield reported("fresh inference, whole call", "ms", call_ms)
    yield reported("bare decode, transforms and network", "ms", bare_ms)


def _pair(bare: Bare, served: Served, client: httpx.Client) -> tuple[float, float, float]:
    """Return the seconds of a call, of the bare work on the same image, and of the network therein."""
    name = served.unseen()
    _, call_s = _timed(partial(served.infer, client, name))
    alone = bare.run(served.images / f"{name}.nii.gz")
    return call_s, alone.prepare_s + alone.network_s, alone.network_s


def _again(bench: Bench, served: Served, client: httpx.Client) -> Iterator[Row]:
    again, ahead = list[float](), list[float]()
    for _ in range(bench.repeats):
        name = served.unseen()
        served.infer(client, name)
        again.append(median(_timed(partial(served.infer, client, name))[1] for _ in range(PAIRS)) * _MS)
        given = _ahead(served, client)
        ahead.append(_timed(partial(served.infer, client, given))[1] * _MS)
    yield at_most("repeated prediction, transfer included", 100, "ms", again)
    yield at_most("prediction of an image that `nextimage` gave, transfer included", 100, "ms", ahead)


def _ahead(served: Served, client: httpx.Client) -> str:
    """Have an image handed out; returns its id once it and the two after it are predicted."""
    before = len(served.predicted())
    given = served.next_image(client)
    wait_until(lambda: len(served.predicted()) >= before + AHEAD, "predictions ahead")
    return given


def _beside(bench: Bench, served: Served, client: httpx.Client) -> Iterator[Row]:
    during, idle = list[float](), list[float]()
    for _ in range(bench.repeats):
        idle.append(percentile((_other(served, client) for _ in range(100)), 0.99) * _MS)
        done, taken = Event(), list[float]()

        def ask(done: Event = done, taken: list[float] = taken) -> None:
            with served.client() as own:
                while not done.is_set():
                    taken.append(_other(served, own))
                    time.sleep(0.01)

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            for _ in range(CALLS_BESIDE):
                served.infer(client, served.unseen())
            done.set()
            asking.result()
        during.append(percentile(taken, 0.99) * _MS)
    yield at_most(
        "other requests while an inference runs, p99", 50, "ms", during, "MONAI Label 0.8.5: blocked, 1148 ms"
    )
    yield reported("the same requests while none runs, p99", "ms", idle)


def _other(served: Served, client: httpx.Client) -> float:
    return _timed(partial(client.get, f"/experiments/{served.experiment}"))[1]


def _two(bench: Bench, served: Served) -> Iterator[Row]:
    wall, first = list[float](), list[float]()
    for _ in range(bench.repeats):
        alone = [_alone(served) for _ in range(2)]
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(_alone, [served] * 2))
        wall.append((time.perf_counter() - start) / sum(alone))
        first.append(max(both) / sum(both))
    yield at_most("two inferences at once: wall / sum of both alone", 1.1, "x", wall)
    yield reported(
        "the longer one's share of both waits", "x", first, "0.5: both end together; 0.67: one after the other"
    )


def _alone(served: Served) -> float:
    with served.client() as client:
        return _timed(partial(served.infer, client, served.unseen()))[1]


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
