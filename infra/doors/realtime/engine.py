"""One serving bundle host: asked from many threads, answering each."""

import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread

from configs.errors import (
    BundleError,
    HostDiedError,
    HostError,
    InvalidRequestError,
    TeachbackError,
)
from configs.specs.infer import InferSpec
from configs.wire.host import (
    Drop,
    Failed,
    HostCommand,
    HostMessage,
    Hurry,
    Load,
    Loaded,
    Predict,
    Prediction,
    Ready,
    Shrink,
)
from infra.adapters.compute.base import BundleHost
from infra.adapters.compute.failures import error_of

# A first load may choose kernels and read gigabytes of weights from a cold disk.
LOAD_TIMEOUT_S = 600.0
# A whole-body volume on a slow processor takes minutes; a host that hangs is ended by it.
PREDICT_TIMEOUT_S = 600.0
CACHE = "cache"
_READY = "ready"
_END_S = 10.0


class Engine:
    """A bundle host that serves, and who waits for its answers. Safe to use from several threads.

    Args:
        host: Just started on a `ServeRequest`; owned by this engine from now on.
        work: The host's work folder, removed at the end.
    """

    def __init__(self, host: BundleHost, work: Path) -> None:
        self._host = host
        self._work = work
        self._waiting: dict[str, Future[HostMessage]] = {_READY: Future()}
        self._ended: TeachbackError | None = None
        self._closed = False
        self._lock = Lock()
        self._listener = Thread(target=self._listen, name="host-messages", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The host's process."""
        return self._host.pid

    @property
    def cache(self) -> Path:
        """Where the host keeps preprocessed images; it only adds to it."""
        return self._work / CACHE

    @property
    def alive(self) -> bool:
        """Whether the host still answers."""
        return self._ended is None

    def wait_ready(self) -> None:
        """Wait until the host has done its imports.

        Raises:
            HostError: If it ends instead.
        """
        self._result(_READY, LOAD_TIMEOUT_S)

    def load(self, name: str, weights: Path | None) -> str:
        """Load a version beside the others and run one forward with it; return how it is run, in words.

        Args:
            name: What `predict` and `drop` call it; never used twice, so that a version can be loaded again while
                an earlier copy of it ends.
            weights: safetensors, copied to where the host may read; None = the bundle's own.

        Raises:
            HostError: If it cannot be loaded or run; the other versions are as before.
        """
        copy = ""
        if weights is not None:
            target = self._work / "in" / f"{uuid.uuid4().hex}.safetensors"
            # A copy, for the host's cage shows it this folder alone; it is gone once the network is built.
            shutil.copyfile(weights, target)
            copy = str(target)
        try:
            answer = self._ask(name, Load(version=name, weights=copy), LOAD_TIMEOUT_S)
            return answer.arrangement if isinstance(answer, Loaded) else ""
        except InvalidRequestError as error:  # nobody's request: the version itself does not fit
            raise BundleError(str(error)) from None
        finally:
            if copy:
                Path(copy).unlink(missing_ok=True)

    def predict(
        self, name: str, image: Sequence[Path], spec: InferSpec, *, request: str, background: bool
    ) -> Prediction:
        """Segment one image; the file that is named is the caller's to remove.

        Args:
            name: Of the version.
            image: One file, or one per channel.
            spec: Prompts and parameters.
            request: The caller's name for this prediction, unique, of letters and digits.
            background: Whether it gives way to others.

        Raises:
            InvalidRequestError: If the image or the prompts don't fit.
            HostDiedError: If the host died meanwhile.
            HostError: If the bundle failed.
        """
        command = Predict(
            id=request,
            version=name,
            image=[str(path) for path in image],
            params=spec,
            name=f"{request}.nii",
            background=background,
        )
        answer = self._ask(request, command, PREDICT_TIMEOUT_S)
        if not isinstance(answer, Prediction):
            raise HostDiedError("The bundle host answered a prediction with something else")
        return answer

    def hurry(self, request: str) -> None:
        """Have a background prediction give way to nobody any more; one that is not there is no error."""
        self._host.send(Hurry(id=request))

    def shrink(self, memory_mib: float) -> None:
        """Have the host do with less of the accelerator's memory."""
        self._host.send(Shrink(memory_mib=memory_mib))

    def drop(self, name: str) -> None:
        """Have the host forget a version."""
        self._host.send(Drop(version=name))

    def close(self) -> None:
        """End the host at once and remove its files; again, nothing happens."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        # Killed before the socket is closed: a closed number may be given to another file while the listener reads from
        # it.
        with self._host:
            self._host.kill()
            self._listener.join(_END_S)  # it hears that the host is gone; then the socket may be closed
        shutil.rmtree(self._work, ignore_errors=True)

    def _ask(self, key: str, command: HostCommand, timeout_s: float) -> HostMessage:
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._waiting[key] = Future()
        self._host.send(command)
        return self._result(key, timeout_s)

    def _result(self, key: str, timeout_s: float) -> HostMessage:
        try:
            return self._waiting[key].result(timeout_s)
        except TimeoutError:
            raise HostDiedError(f"The bundle host did not answer within {timeout_s:.0f} s") from None
        finally:
            with self._lock:
                self._waiting.pop(key, None)

    def _listen(self) -> None:
        ended: TeachbackError = HostDiedError("The bundle host has ended")
        try:
            for message in self._host.messages():
                if isinstance(message, Failed) and message.id is None:
                    ended = error_of(message)
                else:
                    self._hand_over(message)
        except HostError as error:
            ended = error
        with self._lock:
            self._ended = ended
            # Under the lock with `_ended`: whoever asks from now on is told at once, and nobody in between is
            # forgotten.
            left = list(self._waiting.values())
        for future in left:
            if not future.done():
                future.set_exception(ended)

    def _hand_over(self, message: HostMessage) -> None:
        match message:
            case Ready():
                key = _READY
            case Loaded(version=name):
                key = name
            case Prediction(id=name) | Failed(id=str(name)):
                key = name
            case _:
                return
        with self._lock:
            future = self._waiting.get(key)
        if future is None or future.done():
            return
        if isinstance(message, Failed):
            future.set_exception(error_of(message))
        else:
            future.set_result(message)
