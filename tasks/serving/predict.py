"""Which replica answers a request, and what is asked when it does not."""

import hashlib
from collections.abc import Sequence

from configs.errors import BusyError, InvalidRequestError
from configs.specs.infer import InferSpec
from configs.wire.slot import LabelForm, SlotPredict
from infra.adapters.catalog.tables import Slot
from infra.adapters.slots.client import DrainingSlotError, SlotAnswer, UnreachableSlotError
from infra.wiring import Parts
from tasks.serving.on_demand import used
from tasks.serving.slots import is_wanted, ready_slots

PREDICT_TIMEOUT_S = 300.0
START_RETRY_S = 5
# One may have died a moment ago; if two did, it is not by chance, and somebody waits.
REPLICAS_TRIED = 2


def predict(
    parts: Parts,
    experiment_id: str,
    dataset_id: str,
    image_id: int,
    spec: InferSpec,
    form: LabelForm,
    *,
    address: str = "",
) -> SlotAnswer:
    """Have a realtime slot of the experiment segment an image, or what is behind an address.

    A slot that does not answer, or drains, has begun nothing: the rows are read again and one other slot is asked.
    A request that was begun is never sent twice.

    Raises:
        InvalidRequestError: If realtime inference is switched off, or the image or prompts don't fit the model.
        BusyError: If no slot is ready, or the one asked has too much to do.
        NotFoundError: If the image is not in its store.
        UpstreamError: If the image's store failed.
    """
    request = SlotPredict(dataset_id=dataset_id, image_id=image_id, spec=spec, form=form, address=address)
    tried: set[str] = set()
    for _ in range(REPLICAS_TRIED):
        slot = _choose(parts, experiment_id, address or image_id, tried)
        if slot is None:
            break
        used(parts, slot)
        tried.add(f"{slot.id}:{slot.epoch}")  # one started again since is another
        try:
            return parts.slots.predict(slot.endpoint, slot.token or "", request, PREDICT_TIMEOUT_S)
        # Nothing was begun there, so asking another one predicts once.
        except (UnreachableSlotError, DrainingSlotError):
            continue
    raise _nobody(parts, experiment_id)


def hint(parts: Parts, experiment_id: str, dataset_id: str, image_id: int) -> None:
    """Have the image predicted before somebody asks; nothing happens when no slot is ready."""
    slot = _choose(parts, experiment_id, image_id, set())
    if slot is not None:
        request = SlotPredict(dataset_id=dataset_id, image_id=image_id, background=True)
        parts.slots.hint(slot.endpoint, slot.token or "", request)


def in_order(slots: Sequence[Slot], image: int | str) -> list[Slot]:
    """Return the slots, best first: the newest publication, then by rendezvous hash of the image.

    Each image has its own slot as long as that one lives, so its files and predictions are cached once.
    """
    return sorted(slots, key=lambda slot: (-(slot.serving_seq or 0), _weight(slot.id, image)))


def _choose(parts: Parts, experiment_id: str, image: int | str, tried: set[str]) -> Slot | None:
    with parts.catalog.read() as session:
        ready = ready_slots(session, experiment_id)
    return next((slot for slot in in_order(ready, image) if f"{slot.id}:{slot.epoch}" not in tried), None)


def _nobody(parts: Parts, experiment_id: str) -> InvalidRequestError | BusyError:
    with parts.catalog.read() as session:
        wanted = is_wanted(session, experiment_id)
    if not wanted:
        return InvalidRequestError("realtime inference was switched off: switch it on for this experiment first")
    return BusyError("The realtime server is starting: ask again in a moment", retry_after_s=START_RETRY_S)


def _weight(slot_id: str, image: int | str) -> bytes:
    return hashlib.sha256(f"{slot_id}/{image}".encode()).digest()
